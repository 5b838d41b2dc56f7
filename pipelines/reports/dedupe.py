"""Which rows were answered by another row's answer: by kind and guard, how similar, and what it saved.

Kinds and guards come from the duplicate stage's chunk parts where they are still there, else from the similarity: same or
similar. Tables and pages go on with what the guards refused, the nearest misses, the audits, and pairs side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines import audit
from pipelines.pauses import WINDOW, Judged, standing
from pipelines.reports.shared.frames import CALENDAR, dated, grouped, usd
from pipelines.reports.shared.pairs import Pair
from pipelines.reports.shared.sections import Extra, Section

BY = ("kind", "guard")
DIMENSIONS = ("kind", "guard", "route", "scope", "client", "run", *CALENDAR)
TOTALS = ("links", "avoided_usd")
LINKS = True

GROUNDS = pl.col("link_kind").replace_strict(audit.GROUNDS, default="proof", return_dtype=pl.String)
TALLY = ("wrong", "audited", "baseline_wrong", "baseline")

EXAMPLES = 3
SHOWN_MISSES, SHOWN_PAIRS = 10, 20


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    results, _ = dated(results, costs)
    known = results.collect_schema()
    guessed = pl.when(pl.col("similarity").fill_null(1.0) >= 1.0).then(pl.lit("same")).otherwise(pl.lit("similar"))
    kind = pl.coalesce("link_kind", guessed) if "link_kind" in known else guessed
    guard = pl.col("guard") if "guard" in known else pl.lit(None, pl.String)
    links = results.filter(pl.col("status") == "duplicate").with_columns(
        kind.alias("kind"),
        guard.alias("guard"),
        pl.when(pl.col("duplicate_run").is_null())
        .then(pl.lit("this run"))
        .otherwise(pl.lit("another run"))
        .alias("scope"),
    )
    similarity = pl.col("similarity")
    values = [
        pl.len().cast(pl.Int64).alias("links"),
        similarity.min().alias("least_similar"),
        similarity.quantile(0.1).alias("p10_similarity"),
        similarity.median().alias("median_similarity"),
        usd("avoided_usd").alias("avoided_usd"),
        _examples().alias("examples"),
    ]
    return grouped(links, by, values)


def _examples() -> pl.Expr:
    """The least similar links, the ones worth looking at, by the callers' own names where rows have them."""
    own = pl.coalesce(pl.col("custom_id"), pl.col("row").cast(pl.String))
    leader = (
        pl.when(pl.col("duplicate_run").is_null()).then(pl.lit("row ")).otherwise(pl.col("duplicate_run") + " row ")
    )
    text = own + " -> " + leader + pl.col("duplicate_of").cast(pl.String)
    return (
        text.sort_by(pl.col("similarity").fill_null(1.0), "run_id", "row")
        .unique(maintain_order=True)
        .head(EXAMPLES)
        .str.join("; ")
    )


def sections(extra: Extra, *, pairs: bool) -> list[Section]:
    """What stands below the table; `pairs` for pages, where texts can stand side by side."""
    shown = extra.chunks.join(extra.results.select("run_id", "row"), on=["run_id", "row"], how="semi")
    misses = shown.filter(pl.col("miss_guard").is_not_null())
    nearest = _nearest(misses)
    found = [
        Section("refused by a guard, nearest miss of each row", _refused(misses)),
        Section(
            "nearest misses", [{name: row[name] for name in ("row", "near", "cosine", "guard")} for row in nearest]
        ),
        Section(
            "audits: reuses that were really asked, beside leaders asked twice; the verdict is of the last 7 days",
            _audits(extra),
        ),
    ]
    if pairs:
        reuses = _least_similar(shown, extra.results)
        texts = extra.texts([key for row in (*reuses, *nearest) for key in (row["key"], row["near_key"])])
        found.append(Section("reused, least similar first", [], [_pair(row, texts) for row in reuses]))
        found.append(Section("refused, nearest first", [], [_pair(row, texts) for row in nearest]))
    return [section for section in found if section.rows or section.pairs]


def _refused(misses: pl.LazyFrame) -> list[dict[str, Any]]:
    own = pl.coalesce("custom_id", pl.col("row").cast(pl.String))
    text = (own + " ~ row " + pl.col("miss_row").cast(pl.String)).sort_by(
        "miss_cosine", "run_id", "row", descending=[True, False, False]
    )
    text = text.unique(maintain_order=True)
    table = misses.group_by(pl.col("miss_guard").alias("guard")).agg(
        pl.len().cast(pl.Int64).alias("refused"),
        pl.col("miss_cosine").max().alias("nearest"),
        text.head(EXAMPLES).str.join("; ").alias("examples"),
    )
    return table.sort(["refused", "guard"], descending=[True, False]).collect().rows(named=True)


def _nearest(misses: pl.LazyFrame) -> list[dict[str, Any]]:
    columns = ["run_id", "row", "custom_id", "miss_row", "miss_run", "miss_cosine", "miss_guard"]
    rows = misses.select(columns).sort(["miss_cosine", "run_id", "row"], descending=[True, False, False])
    return [
        _shown(row, row["miss_run"], row["miss_row"], row["miss_cosine"], row["miss_guard"])
        for row in rows.head(SHOWN_MISSES).collect().iter_rows(named=True)
    ]


def _least_similar(chunks: pl.LazyFrame, results: pl.LazyFrame) -> list[dict[str, Any]]:
    """Of the rows that were really served by the leader that the stage found: others were asked after all, or never."""
    place = ["run_id", "row", "leader_row", "leader_run"]
    served = results.filter(pl.col("status") == "duplicate").select(
        "run_id", "row", pl.col("duplicate_of").alias("leader_row"), pl.col("duplicate_run").alias("leader_run")
    )
    links = chunks.filter(pl.col("link_kind").is_not_null() & (pl.col("link_kind") != "exact"))
    links = links.join(served, on=place, how="semi", nulls_equal=True)
    links = links.select(*place, "custom_id", "similarity", "guard", "link_kind")
    rows = links.sort(["similarity", "run_id", "row"], nulls_last=True).head(SHOWN_PAIRS).collect()
    return [
        _shown(row, row["leader_run"], row["leader_row"], row["similarity"], f"{row['link_kind']}: {row['guard']}")
        for row in rows.iter_rows(named=True)
    ]


def _shown(row: Mapping[str, Any], run: str | None, near: int, cosine: float, guard: str) -> dict[str, Any]:
    return {
        "row": row["custom_id"] or str(row["row"]), "near": f"row {near}" if run is None else f"{run} row {near}",
        "cosine": cosine, "guard": guard, "key": (row["run_id"], row["row"]), "near_key": (run or row["run_id"], near),
    }  # fmt: skip


def _pair(row: Mapping[str, Any], texts: Mapping[tuple[str, int], str]) -> Pair:
    said = f"{row['guard']}, similarity {row['cosine'] or 0:.3f}"
    gone = "(its text is not kept)"
    return Pair(said, str(row["near"]), texts.get(row["near_key"], gone), row["row"], texts.get(row["key"], gone))


def _audits(extra: Extra) -> list[dict[str, Any]]:
    """Of the runs that are shown; the verdict is everybody's."""
    mine = extra.audits.join(extra.results.select("run_id").unique(), on="run_id", how="semi")
    table = mine.group_by("route", GROUNDS.alias("grounds")).agg(_tally())
    verdicts, rows = _verdicts(extra), []
    for row in table.sort("route", "grounds").collect().iter_rows(named=True):
        found, most = audit.excess(*(row[name] for name in TALLY)), _allowed(extra, row["route"])
        rows.append({
            "route": row["route"], "reuse_by": row["grounds"],
            "verdict": verdicts.get((row["route"], row["grounds"]), "undecided"), "audited": row["audited"], "disagree": row["wrong"],
            "asked_twice": row["baseline"], "disagree_with_itself": row["baseline_wrong"], "excess_share": found.value,
            "low_share": found.low, "high_share": found.high, "allowed_share": most,
        })  # fmt: skip
    return rows


def _verdicts(extra: Extra) -> Mapping[tuple[str, str], str]:
    """What holds now of each route, by what its reuses rest on: workers judge by what ended of late, not by what is shown."""
    recent = extra.audits.filter(pl.col("day") >= (extra.now - 2 * WINDOW).date())
    apart = (each for grounds in audit.AUDITED for each in _tally(grounds == GROUNDS, grounds))
    table = recent.group_by("route", "run_id", "day").agg(pl.col("at").max(), *apart).collect()
    found = {}
    for (route,), runs in table.group_by("route"):
        for grounds in audit.AUDITED:
            ended = runs.select("day", "at", *(f"{grounds}{name}" for name in TALLY)).iter_rows()
            judged = [Judged(day, at, (wrong, audited, *twice)) for day, at, wrong, audited, *twice in ended]
            found[route, grounds] = standing(judged, extra.now, _allowed(extra, route))
    return found


def _allowed(extra: Extra, route: str) -> float:
    return extra.allowed.get(route, audit.MOST_FALSE)


def _tally(where: pl.Expr | bool = True, prefix: str = "") -> list[pl.Expr]:
    """audit.Tally as columns."""
    reuse, wrong = pl.col("part") == "reuse", ~pl.col("agrees")
    parts = zip(TALLY, (reuse & wrong, reuse, ~reuse & wrong, ~reuse), strict=True)
    return [(part & where).sum().cast(pl.Int64).alias(f"{prefix}{name}") for name, part in parts]
