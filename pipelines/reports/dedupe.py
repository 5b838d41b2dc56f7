"""Which rows were answered by another row's answer: by kind and route, how similar, and what it saved.

Kinds come from the duplicate stage (`link_kind`) where it is known, else from the similarity: same or similar. What the
guards refused is not in the results and not here.
"""

from __future__ import annotations

import polars as pl

from pipelines.reports.shared.frames import CALENDAR, dated, grouped, usd

BY = ("kind", "route")
DIMENSIONS = ("kind", "route", "scope", "client", "run", *CALENDAR)
TOTALS = ("links", "avoided_usd")
LINKS = True

EXAMPLES = 3


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    results, _ = dated(results, costs)
    guessed = pl.when(pl.col("similarity").fill_null(1.0) >= 1.0).then(pl.lit("same")).otherwise(pl.lit("similar"))
    kind = pl.coalesce("link_kind", guessed) if "link_kind" in results.collect_schema() else guessed
    links = results.filter(pl.col("status") == "duplicate").with_columns(
        kind.alias("kind"),
        pl.when(pl.col("duplicate_run").is_null())
        .then(pl.lit("this run"))
        .otherwise(pl.lit("earlier run"))
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
    return text.sort_by(pl.col("similarity").fill_null(1.0), "row").head(EXAMPLES).str.join("; ")
