from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipelines.reports import dedupe
from tests.support_frames import costs_frame, duplicate, result, results_frame


def _rows() -> pl.LazyFrame:
    return results_frame(
        [
            result(0),
            duplicate(1, 0, similarity=1.0, avoided_usd=Decimal("0.01")),
            duplicate(2, 0, similarity=0.97, avoided_usd=Decimal("0.02"), custom_id="mine"),
            duplicate(3, 7, duplicate_run="20260201-000000-ffffff", similarity=0.96, avoided_usd=Decimal("0.04")),
        ]
    )


def test_links_by_kind_with_money() -> None:
    table = dedupe.build(_rows(), costs_frame([]), ["kind"]).collect()
    assert table["kind"].to_list() == ["same", "similar"]
    assert table["links"].to_list() == [1, 2]
    assert table["avoided_usd"].to_list() == [Decimal("0.01"), Decimal("0.06")]


def test_the_stages_own_kind_wins_where_it_is_known() -> None:
    known = _rows().with_columns(
        link_kind=pl.Series(["", "exact", "semantic", None], dtype=pl.String).replace("", None)
    )
    table = dedupe.build(known, costs_frame([]), ["kind"]).collect()
    assert table["kind"].to_list() == ["exact", "semantic", "similar"]


def test_examples_are_the_least_similar_by_the_callers_names() -> None:
    table = dedupe.build(_rows(), costs_frame([]), []).collect()
    assert table["examples"].item() == "3 -> 20260201-000000-ffffff row 7; mine -> row 0; 1 -> row 0"


def test_scope_tells_this_run_from_earlier_ones() -> None:
    table = dedupe.build(_rows(), costs_frame([]), ["scope"]).collect()
    assert dict(zip(table["scope"], table["links"], strict=True)) == {"this run": 2, "earlier run": 1}
