"""What must hold of a finished run's files (docs/results.md), checked over frames; it finds and says, and repairs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from pipelines import crosscheck, priced, schemas
from pipelines.money import Price
from pipelines.violation import Violation, say

STATUSES = ("ok", "duplicate", "invalid", "failed", "refused", "expired", "cancelled")
CAUSES = ("duplicate", "local", "provider_batch", "cheaper_model")

_MONEY = pl.Decimal(38, 12)


class Frames(NamedTuple):
    """A run's results, its ledger rows, how many rows went in, what results and ledger were made of, if it is kept, and the
    prices beside the ledger."""

    results: pl.LazyFrame
    costs: pl.LazyFrame
    rows_in: int
    chunks: pl.LazyFrame | None = None
    parts: pl.LazyFrame | None = None
    prices: Sequence[Price] | None = None


def check(
    results: pl.LazyFrame,
    costs: pl.LazyFrame,
    rows_in: int,
    chunks: pl.LazyFrame | None = None,
    parts: pl.LazyFrame | None = None,
    prices: Sequence[Price] | None = None,
) -> list[Violation]:
    """Everything that is wrong with one run; an empty list means that every invariant holds.

    `costs` holds the run's ledger rows only; `chunks` and `parts` are its chunk and part files, `prices` what the ledger's files
    say of their prices: without these, what a call costs is taken as it is. Each check names at most MOST_PER_CHECK rows and
    counts the rest.
    """
    broken = [*_schema("results", results, schemas.RESULTS), *_schema("costs", costs, schemas.COSTS)]
    if broken:
        return broken  # the other checks would only fail to run
    frames = Frames(results, costs, rows_in, chunks, parts, prices)
    return [violation for one in CHECKS for violation in one(frames)]


def _schema(name: str, frame: pl.LazyFrame, wanted: pa.Schema) -> Iterator[Violation]:
    empty = pl.from_arrow(wanted.empty_table())
    assert isinstance(empty, pl.DataFrame)
    have, want = frame.collect_schema(), empty.schema
    for column, dtype in want.items():
        if column not in have:
            yield Violation(None, f"{name}: column {column} is missing")
        elif have[column] != dtype:
            yield Violation(None, f"{name}: column {column} is {have[column]}, should be {dtype}")
    yield from (Violation(None, f"{name}: column {column} is unknown") for column in have if column not in want)
    if not [c for c in want if c not in have] and list(have) != list(want) and len(have) == len(want):
        yield Violation(None, f"{name}: the columns are not in the order of the schema")


def _rows_in_are_rows_out(frames: Frames) -> Iterator[Violation]:
    seen = frames.results.select(
        pl.len().alias("rows"), pl.col("row").n_unique().alias("different"), pl.col("run_id").n_unique().alias("runs")
    ).collect()
    rows, different, runs = seen.row(0)
    if rows != frames.rows_in:
        yield Violation(None, f"{frames.rows_in} rows in, {rows} rows out")
    if rows and runs != 1:
        yield Violation(None, f"rows of {runs} runs in one file")
    if rows != different:
        twice = frames.results.group_by("row").len().filter(pl.col("len") > 1).sort("row").select("row", pl.col("len"))
        yield from say(twice, lambda row, times: f"is there {times} times")
    if rows == frames.rows_in == different:
        span = frames.results.filter((pl.col("row") < 0) | (pl.col("row") >= rows)).select(
            "row", pl.col("row").alias("_")
        )
        yield from say(span, lambda row, _: f"is not one of the {rows} input rows")


def _rows_are_in_input_order(frames: Frames) -> Iterator[Violation]:
    before = pl.col("row").shift(1)
    late = frames.results.select("row", before.alias("before")).filter(pl.col("row") < pl.col("before"))
    yield from say(late, lambda row, previous: f"comes after row {previous}: not in input order")


def _statuses_are_known(frames: Frames) -> Iterator[Violation]:
    odd = frames.results.filter(~pl.col("status").is_in(STATUSES).fill_null(False)).select("row", "status")
    yield from say(odd, lambda row, status: f"has the unknown status {status!r}")


def _costs_are_the_ledgers(frames: Frames) -> Iterator[Violation]:
    yield from _compare(frames, "cost_usd", pl.lit(True), "costs {0} by the results, {1} by the ledger")


def _avoided_is_the_ledgers(frames: Frames) -> Iterator[Violation]:
    """A duplicate's saving has no call; every other one stands beside its call, with a cause."""
    asked = pl.col("status") != "duplicate"
    yield from _compare(frames, "avoided_usd", asked, "avoided {0} by the results, {1} by the ledger")
    named = pl.col("avoided_cause").is_in(CAUSES).fill_null(False)
    nameless = frames.costs.filter((pl.col("avoided_usd") != 0) & ~named).select("row", "call_id")
    yield from say(nameless, lambda row, call: f"call {call} avoided money without a known cause")


def _compare(frames: Frames, column: str, where: pl.Expr, text: str) -> Iterator[Violation]:
    zero = pl.lit(0).cast(_MONEY)
    ledger = (
        frames.costs.filter(pl.col("purpose") == "answer").group_by("row").agg(pl.col(column).sum().alias("ledger"))
    )
    both = (
        frames.results.filter(where)
        .select("row", pl.col(column).alias("said"))
        .join(ledger, on="row", how="left")
        .with_columns(pl.col("ledger").fill_null(zero), pl.col("said").fill_null(zero))
        .filter(pl.col("said") != pl.col("ledger"))
        .select("row", "said", "ledger")
    )
    yield from say(both, lambda row, said, ledger: text.format(f"{said:f}", f"{ledger:f}"))


def _calls_belong_to_rows(frames: Frames) -> Iterator[Violation]:
    answers = frames.costs.filter(pl.col("purpose") == "answer")
    lost = answers.join(frames.results, on="row", how="anti", nulls_equal=False).select("row", "call_id")
    yield from say(lost, lambda row, call: f"call {call} was paid for a row that is not in the results")
    runs = frames.results.select("run_id").unique()
    others = frames.costs.join(runs, on="run_id", how="anti").select("row", "call_id", "run_id")
    yield from say(others, lambda row, call, run: f"call {call} belongs to run {run}")


def _call_ids_are_unique(frames: Frames) -> Iterator[Violation]:
    twice = frames.costs.group_by("call_id").agg(pl.col("row").first(), pl.len()).filter(pl.col("len") > 1)
    yield from say(
        twice.select("row", "call_id", "len").sort("call_id"),
        lambda row, call, times: f"call {call} is booked {times} times",
    )


def _duplicates_are_free_and_point_to_answers(frames: Frames) -> Iterator[Violation]:
    links = frames.results.filter(pl.col("status") == "duplicate")
    paid = links.filter(pl.col("cost_usd") != 0).select("row", "cost_usd")
    yield from say(paid, lambda row, cost: f"is a duplicate but costs {cost:f}")
    yield from say(
        links.filter(pl.col("duplicate_of").is_null()).select("row", "status"),
        lambda row, _: "is a duplicate of nothing",
    )
    leaders = frames.results.select(pl.col("row").alias("duplicate_of"), pl.col("status").alias("leader"))
    here = links.filter(pl.col("duplicate_run").is_null() & pl.col("duplicate_of").is_not_null())
    wrong = here.join(leaders, on="duplicate_of", how="left").filter(pl.col("leader").fill_null("missing") != "ok")
    yield from say(
        wrong.select("row", "duplicate_of", pl.col("leader").fill_null("missing")),
        lambda row, of, status: f"is a duplicate of row {of}, which is {status}",
    )
    stray = frames.results.filter((pl.col("status") != "duplicate") & pl.col("duplicate_of").is_not_null())
    yield from say(stray.select("row", "duplicate_of"), lambda row, of: f"points to row {of} but is no duplicate")


def check_across(results: pl.LazyFrame, others: pl.LazyFrame) -> list[Violation]:
    """Duplicates of other runs: the same client's row, answered, with the same words. `others` are those runs' results, as
    far as they have ended and are kept; a run that is not there is not judged."""
    links = results.filter((pl.col("status") == "duplicate") & pl.col("duplicate_run").is_not_null()).select(
        "row", "client", "output", pl.col("duplicate_of").alias("of"), pl.col("duplicate_run").alias("run")
    )
    leaders = others.select(
        pl.col("run_id").alias("run"), pl.col("row").alias("of"), pl.col("client").alias("whose"),
        pl.col("status").alias("ended"), pl.col("output").alias("said"),
    )  # fmt: skip
    both = links.join(others.select(pl.col("run_id").alias("run")).unique(), on="run", how="semi").join(
        leaders, on=["run", "of"], how="left"
    )
    wrong = both.with_columns(
        pl.when(pl.col("ended").is_null())
        .then(pl.lit("is not there"))
        .when(pl.col("whose") != pl.col("client"))
        .then(pl.lit("is another client's"))
        .when(pl.col("ended") != "ok")
        .then(pl.lit("is ") + pl.col("ended"))
        .when(~pl.col("said").eq_missing(pl.col("output")))
        .then(pl.lit("says something else"))
        .alias("wrong")
    ).filter(pl.col("wrong").is_not_null())
    return list(
        say(
            wrong.select("row", "run", "of", "wrong"),
            lambda row, run, of, text: f"is a duplicate of run {run} row {of}, which {text}",
        )
    )


def _files_agree(frames: Frames) -> Iterator[Violation]:
    """Texts are compared by their hashes: a million answers are not held at once."""
    yield from crosscheck.alone(frames.results, frames.costs)
    yield from crosscheck.against_ledger(frames.results, frames.costs)
    results = crosscheck.slim(frames.results)
    yield from crosscheck.duplicates(results, frames.costs)
    if frames.chunks is not None:
        yield from crosscheck.against_chunks(results, frames.costs, crosscheck.slim(frames.chunks))
    if frames.parts is not None:
        yield from crosscheck.against_parts(results, crosscheck.slim(frames.parts))


def _calls_cost_what_their_tokens_do(frames: Frames) -> Iterator[Violation]:
    if frames.prices is not None:
        yield from priced.check(frames.costs, frames.prices)


CHECKS: tuple[Callable[[Frames], Iterator[Violation]], ...] = (
    _rows_in_are_rows_out,
    _rows_are_in_input_order,
    _statuses_are_known,
    _costs_are_the_ledgers,
    _avoided_is_the_ledgers,
    _calls_belong_to_rows,
    _call_ids_are_unique,
    _duplicates_are_free_and_point_to_answers,
    _files_agree,
    _calls_cost_what_their_tokens_do,
)
