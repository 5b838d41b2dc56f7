"""What a finished run's files say of the same thing, against each other: results, ledger, and the chunk and part files that
both were made of. It finds and says, and repairs nothing (docs/results.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from pipelines.violation import Violation, say

TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
WHO = ("lane", "target", "provider", "model")
TEXTS = ("output", "parsed", "response", "error_message", "tags")
"""Long: compared by their hashes, and not shown."""
ANSWER = (
    "output", "parsed", "finish_reason", *WHO, "quality", *TOKENS, "http_status", "response", "started_at", "finished_at",
)  # fmt: skip
PURPOSES = ("answer", "audit", "probe", "late")
OUTCOMES = ("ok", "rejected", "error", "lost")
BASES = ("billed", "reported", "amortised", "upper_bound")
LANES = ("local", "cloud", "provider_batch")

_THEIRS = "\0theirs"
_row, _status = pl.col("row"), pl.col("status")


def alone(results: pl.LazyFrame, costs: pl.LazyFrame) -> Iterator[Violation]:
    """What each row says, taken by itself."""
    yield from _states(results, _RESULT_RULES, "")
    yield from _states(costs, _CALL_RULES, "has a call that ")
    clients = results.select(pl.lit(None, pl.Int64).alias("row"), pl.col("client").n_unique().alias("clients"))
    yield from say(clients.filter(pl.col("clients") > 1), lambda _, number: f"rows of {number} clients in one file")
    twice = (
        results.filter(_status != "invalid").group_by("custom_id").agg(_row.min(), pl.len()).filter(pl.col("len") > 1)
    )
    yield from say(
        twice.select("row", "custom_id"), lambda row, name: f"shares its custom_id {name!r} with another row"
    )
    lane = pl.col("lane").replace("provider_batch", "cloud")
    several = costs.group_by("target").agg(_row.min(), pl.struct(lane, "provider").n_unique().alias("kinds"))
    yield from say(
        several.filter(pl.col("kinds") > 1).select("row", "target"),
        lambda row, target: f"target {target} has several lanes or providers in the ledger",
    )
    batch = pl.col("call_id").str.split(":").list.first().alias("batch")
    on_time = pl.col("attempt").filter(pl.col("purpose") != "late")  # a worker that lost its batch numbered on its own
    tries = costs.group_by(batch, "row").agg(
        pl.len().alias("calls"), pl.col("attempt").max().alias("last"), pl.col("attempt").min().alias("first"),
        (on_time.n_unique() != on_time.len()).alias("twice"),
    )  # fmt: skip
    odd = tries.filter(pl.col("twice") | (pl.col("last") > pl.col("calls")) | (pl.col("first") < 1))
    yield from say(odd.select("row", "calls"), lambda row, calls: f"has {calls} calls, not numbered 1 to {calls}")


def against_ledger(results: pl.LazyFrame, costs: pl.LazyFrame) -> Iterator[Violation]:
    """Every figure of a row that one of its calls knows too."""
    asked = costs.group_by("row").agg(
        (pl.col("purpose") == "answer").sum().alias("least"),
        pl.col("purpose").is_in(["answer", "late"]).sum().alias("most"),
    )  # a late call may have been counted, or have come too late even for that
    tried = (
        results.select("row", "attempts")
        .join(asked, on="row", how="left")
        .with_columns(pl.col("least", "most").fill_null(0))
    )
    odd = tried.filter(~pl.col("attempts").is_between(pl.col("least"), pl.col("most"))).select(
        "row", "attempts", "most"
    )
    yield from say(odd, lambda row, mine, theirs: _said("attempts", mine, theirs, "the ledger"))
    calls = costs.select("row", "client", "route", "custom_id", "purpose")
    named = results.select("row", "client", "route", "custom_id").join(calls, on="row", suffix=_THEIRS)
    theirs, number = pl.col("custom_id" + _THEIRS), _row.cast(pl.String)  # what the ledger calls a row without an id
    for column, wrong in (
        ("client", pl.col("client").ne_missing(pl.col("client" + _THEIRS))),
        ("route", ~pl.col("purpose").is_in(["audit", "late"]) & pl.col("route").ne_missing(pl.col("route" + _THEIRS))),
        ("custom_id", theirs.ne_missing(pl.col("custom_id")) & theirs.ne_missing(number)),
    ):
        found = named.filter(wrong).unique("row").select("row", column, column + _THEIRS)
        yield from say(found, lambda row, mine, theirs, of=column: _said(of, mine, theirs, "a call of the ledger"))
    published = _published(costs)
    answered = results.filter(_status.is_in(["ok", "refused"]))
    yield from _differ(answered, published, (*WHO, *TOKENS, "http_status", "finished_at"), "the ledger")
    early = answered.join(published.select("row", pl.col("started_at").alias("sent")), on="row")
    yield from say(
        early.filter(pl.col("started_at") > pl.col("sent")).select("row", "started_at"),
        lambda row, at: f"started_at is {at}, after its call was sent",
    )
    silent = answered.join(published, on="row", how="anti").filter((_status == "refused") | (pl.col("attempts") == 0))
    yield from say(silent.select("row", "status"), _unheard)


def duplicates(results: pl.LazyFrame, costs: pl.LazyFrame) -> Iterator[Violation]:
    """A duplicate says what its leader says, and avoided what the leader's answer was worth."""
    here = results.filter((_status == "duplicate") & pl.col("duplicate_run").is_null())
    links = here.select(_row.alias("follower"), pl.col("duplicate_of").alias("row"))
    copied = links.join(results.filter(_status == "ok").select("row", *ANSWER), on="row").drop("row")
    yield from _differ(here, copied.rename({"follower": "row"}), ANSWER, "its leader")
    less = pl.when(pl.col("lane") != "provider_batch").then(pl.col("avoided_usd")).otherwise(0)
    worth = _published(costs).select("row", (pl.col("cost_usd") + less).alias("avoided_usd"))
    worths = links.join(worth, on="row").drop("row").rename({"follower": "row"})
    yield from _differ(here, worths, ("avoided_usd",), "its leader's call")


def _unheard(row: int, status: str) -> str:
    return f"is {status}, but no call of it was answered"


def against_chunks(results: pl.LazyFrame, costs: pl.LazyFrame, chunks: pl.LazyFrame) -> Iterator[Violation]:
    """What was decided of a row when it was prepared."""
    yield from _differ(results, chunks, ("route", "tags"), "its chunk part")
    yield from _differ(results, chunks.filter(pl.col("custom_id").is_not_null()), ("custom_id",), "its chunk part")
    invalid = chunks.filter(pl.col("kind") == "invalid")
    yield from _differ(results.filter(_status == "invalid"), invalid, ("error_code", "error_message"), "its chunk part")
    yield from _differ(results.filter(_status == "duplicate"), chunks, ("similarity",), "its chunk part")
    led = chunks.select("row", pl.col("leader_run").alias("duplicate_run"), pl.col("leader_row").alias("duplicate_of"))
    elsewhere = results.filter(pl.col("duplicate_run").is_not_null())
    yield from _differ(elsewhere, led, ("duplicate_run", "duplicate_of"), "its chunk part")
    asked = results.filter(_status == "ok").join(chunks.filter(pl.col("kind") == "asked"), on="row", how="semi")
    yield from say(asked.join(_published(costs), on="row", how="anti").select("row", "status"), _unheard)
    both = results.select("row", "status").join(chunks.select("row", "kind"), on="row", how="left")
    wrong = both.filter(
        pl.col("kind").is_null()
        | ((pl.col("kind") == "invalid") != (_status == "invalid"))
        | ((_status == "duplicate") & (pl.col("kind") != "link"))
    )
    yield from say(wrong, lambda row, status, kind: f"is {status}, but its chunk part says {kind or 'nothing of it'}")


def against_parts(results: pl.LazyFrame, parts: pl.LazyFrame) -> Iterator[Violation]:
    """What was settled of a row that was asked: the last answer, or the last failure; and what all of it came to."""
    sums = parts.group_by("row").agg(pl.col("cost_usd").sum(), pl.col("attempts").sum().cast(pl.Int32))
    yield from _differ(results, sums, ("cost_usd", "attempts"), "its parts")
    nothing = results.filter((pl.col("attempts") != 0) | (pl.col("cost_usd") != 0)).join(parts, on="row", how="anti")
    yield from say(
        nothing.select("row", "status"), lambda row, status: f"is {status}, but no part has what was settled of it"
    )
    last = parts.with_columns((_status == "ok").alias("good")).sort("good", "generation").group_by("row").last()
    own = results.filter(_status != "duplicate").join(last.select("row", _status.alias("settled")), on="row")
    served = (pl.col("settled") != "ok") & (_status == "ok")  # by another row's answer
    yield from _differ(
        own.filter(~served), last, ("status", *ANSWER, "route", "error_code", "error_message"), "its part"
    )


def slim(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with short hashes in place of long texts: enough to tell whether two are the same."""
    names = set(frame.collect_schema().names())
    return frame.with_columns(pl.col(name).hash() for name in TEXTS if name in names)


def _published(costs: pl.LazyFrame) -> pl.LazyFrame:
    """The call whose answer a row shows: the last one that was good."""
    good = (pl.col("purpose") == "answer") & (pl.col("outcome") == "ok") & pl.col("error_code").is_null()
    return costs.filter(good).sort("finished_at").group_by("row").last()


def _differ(mine: pl.LazyFrame, theirs: pl.LazyFrame, columns: Sequence[str], whose: str) -> Iterator[Violation]:
    """One violation for each row that is in both and not the same in all columns; it names the first of them."""
    both = mine.select("row", *columns).join(theirs.select("row", *columns), on="row", suffix=_THEIRS)
    same = [pl.col(column).eq_missing(pl.col(column + _THEIRS)) for column in columns]

    def text(row: int, *cells: Any) -> str:
        first = next(i for i in range(len(columns)) if cells[2 * i] != cells[2 * i + 1])
        return _said(columns[first], cells[2 * first], cells[2 * first + 1], whose)

    pairs = [name for column in columns for name in (column, column + _THEIRS)]
    yield from say(both.filter(~pl.all_horizontal(same)).select("row", *pairs), text)


def _said(column: str, mine: Any, theirs: Any, whose: str) -> str:
    if column in TEXTS:
        return f"{column} is not what {whose} says"
    return f"{column} is {str(mine)[:60]} by the results, {str(theirs)[:60]} by {whose}"


def _states(frame: pl.LazyFrame, rules: Sequence[tuple[pl.Expr, str]], head: str) -> Iterator[Violation]:
    """What the rules find, in one pass; each row is named with the first rule that it breaks."""
    named = pl.coalesce(*[pl.when(broken).then(pl.lit(text)) for broken, text in rules]).alias("wrong")
    yield from say(frame.select("row", named).filter(pl.col("wrong").is_not_null()), lambda row, text: head + text)


def _unless_one_of(column: str, known: Sequence[str]) -> pl.Expr:
    return ~pl.col(column).is_in(known).fill_null(False)


_OF_THE_DAY = pl.col("price_id").str.starts_with("genai-prices-") | pl.col("price_id").str.starts_with("local:")
"""A stated price may have a date of its own."""


def _lacks(*columns: str, every: bool = False) -> pl.Expr:
    """Whether one of them is empty, or every one."""
    empty = [pl.col(column).is_null() for column in columns]
    return pl.all_horizontal(empty) if every else pl.any_horizontal(empty)


_ADD_UP = [
    (pl.min_horizontal(*TOKENS) < 0, "has a negative number of tokens"),
    (pl.col("cached_input_tokens") + pl.col("cache_write_tokens") > pl.col("input_tokens"), "has more tokens in the cache than in all"),
    (pl.col("reasoning_tokens") > pl.col("output_tokens"), "has more tokens for reasoning than in all"),
    (pl.col("started_at") > pl.col("finished_at"), "finished before it started"),
    ((pl.col("cost_usd") < 0) | (pl.col("avoided_usd") < 0), "has a negative amount of money"),
]  # fmt: skip
_RESULT_RULES = [
    (_lacks("row", "custom_id", "client", "status", "cost_usd", "avoided_usd", "attempts", "tags"), "lacks what every row has"),
    (_status.is_in(["ok", "duplicate"]) & (pl.col("error_code").is_not_null() | pl.col("error_message").is_not_null()), "is answered, but has an error"),
    (_status.is_in(["ok", "duplicate"]) & (pl.col("output").is_null() | pl.col("finish_reason").is_null()), "is answered, but has no answer"),
    (_status.is_in(["invalid", "refused"]) & pl.col("error_code").is_null(), "has no answer, and no reason"),
    ((_status == "invalid") & ~_lacks(*ANSWER, every=True), "was never asked, but has an answer"),
    (_status.is_in(["expired", "cancelled"]) & pl.col("output").is_not_null(), "has an answer, though it has none"),
    (_status.is_in(["invalid", "duplicate"]) & (pl.col("attempts") != 0), "was never to be asked, but was"),
    ((_status != "duplicate") & (pl.col("similarity").is_not_null() | pl.col("duplicate_run").is_not_null()), "is like another row, but no duplicate"),
    (~pl.col("similarity").is_between(-0.001, 1.001), "has a similarity beyond 0 to 1"),
    (~pl.col("quality").is_between(0, 1), "has a quality beyond 0 to 1"),
    *_ADD_UP,
]  # fmt: skip
_CALL_RULES = [
    (_lacks("call_id", "purpose", "client", "attempt", *WHO, "route", "outcome", *TOKENS, "price_id", "price_as_of", "cost_usd", "cost_basis", "avoided_usd", "started_at", "finished_at"), "lacks what every call has"),
    (_unless_one_of("purpose", PURPOSES), "has an unknown purpose"),
    (_unless_one_of("outcome", OUTCOMES), "has an unknown outcome"),
    (_unless_one_of("cost_basis", BASES), "has an unknown cost_basis"),
    (_unless_one_of("lane", LANES), "has an unknown lane"),
    (~pl.col("call_id").str.starts_with(pl.col("run_id") + "."), "has another run's id"),
    (~pl.col("call_id").str.contains(r"^[^:]+:\d+:\d+$"), "has an id that is none"),
    (_OF_THE_DAY & ((pl.col("price_as_of") - pl.col("started_at").dt.date()).abs() > pl.duration(days=1)), "has the price of another day"),
    ((pl.col("outcome") == "ok") & (pl.col("http_status") != 200).fill_null(True), "was answered without an HTTP 200"),
    ((pl.col("outcome") != "ok") & pl.col("error_code").is_null(), "failed without an error_code"),
    ((pl.col("outcome") == "lost") & (pl.col("cost_basis") != "upper_bound"), "is lost, but not booked at its upper bound"),
    (pl.col("outcome").is_in(["rejected", "error"]) & (pl.col("cost_usd") != 0), "was not answered, but costs money"),
    ((pl.col("outcome") != "ok") & (pl.max_horizontal(*TOKENS) != 0), "was not answered, but has tokens"),
    ((pl.col("avoided_usd") != 0) != pl.col("avoided_cause").is_not_null(), "avoided money without a cause, or none with one"),
    ((pl.col("purpose") != "answer") & (pl.col("avoided_usd") != 0), "avoided money without being asked for"),
    *_ADD_UP,
]  # fmt: skip
