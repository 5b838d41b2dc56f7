"""Reports are found by file name, described by their first line, and refuse what they cannot group by."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from pipelines import reports
from pipelines.errors import UsageError
from pipelines.reports.shared import format as cells
from pipelines.reports.shared import html
from pipelines.reports.shared.frames import narrow
from tests.support_frames import T0, call, costs_frame, duplicate, result, results_frame


def test_every_file_is_a_report_with_a_help_line() -> None:
    assert {"cost", "savings", "lanes", "dedupe"} <= set(reports.names())
    for name in reports.names():
        assert len(reports.help_of(name)) > 20
        report = reports.load(name)
        assert set(report.BY) <= set(report.DIMENSIONS)


def test_unknown_report_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean savings"):
        reports.load("saving")
    with pytest.raises(UsageError, match=r"there are .*cost"):
        reports.load("zzz")


def test_shared_code_is_not_a_report() -> None:
    with pytest.raises(UsageError):
        reports.load("shared")


def test_by_is_checked_and_defaults_to_the_reports_own() -> None:
    assert reports.grouping("cost", []) == ["day", "lane", "target", "model"]
    assert reports.grouping("cost", ["client", "client"]) == ["client"]
    with pytest.raises(UsageError, match=r"cannot go by 'colour'; --by takes day"):
        reports.grouping("cost", ["colour"])


@pytest.mark.parametrize("name", reports.names())
@pytest.mark.parametrize("grouped", [True, False])
def test_every_report_works_on_nothing_and_with_every_dimension(name: str, grouped: bool) -> None:
    report = reports.load(name)
    empty = report.build(results_frame([]), costs_frame([]), list(report.DIMENSIONS) if grouped else [])
    assert empty.collect().height <= 1
    results, costs = results_frame([result(0), duplicate(1, 0)]), costs_frame([call(0, 0)])
    full = report.build(results, costs, list(report.DIMENSIONS) if grouped else []).collect()
    assert full.height >= 1
    assert set(report.TOTALS) <= set(full.columns)


def test_narrow_keeps_one_client_one_run_and_a_span_of_time() -> None:
    results = results_frame(
        [result(0), result(1, client="acme", run_id="other"), result(2, finished_at=T0 + timedelta(days=3))]
    )
    costs = costs_frame(
        [call(0, 0), call(1, 1, client="acme", run_id="other"), call(2, 2, started_at=T0 + timedelta(days=3))]
    )

    def rows(**options: object) -> tuple[list[int], list[int]]:
        kept, paid = narrow(results, costs, **options)  # type: ignore[arg-type]
        return kept.collect()["row"].to_list(), paid.collect()["row"].to_list()

    assert rows(client="acme") == ([1], [1])
    assert rows(run="other") == ([1], [1])
    assert rows(since=T0 + timedelta(days=1)) == ([2], [2])
    assert rows(until=T0 + timedelta(days=1)) == ([0, 1], [0, 1])


def test_rows_that_never_ran_belong_to_the_day_of_their_run() -> None:
    invalid = result(0, status="invalid", started_at=None, finished_at=None, run_id="20260228-235959-abc123")
    kept, _ = narrow(results_frame([invalid]), costs_frame([]))
    assert kept.collect()["day"].to_list() == ["2026-02-28"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0"), ("12.345", "$12.34"), ("1234.5", "$1,234.50"), ("0.5", "$0.500"), ("0.00012345", "$0.000123"),
        ("0.000000000001", "$0.000000000001"), ("-0.02", "-$0.0200"), ("-3", "-$3.00"),
    ],
)  # fmt: skip
def test_dollars_show_the_digits_that_matter(amount: str, text: str) -> None:
    assert cells.dollars(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("cost_usd", Decimal("1.5"), "$1.50"), ("lost_share", 0.1234, "12.3%"), ("busy_s", 187.0, "3 m 07 s"),
        ("busy_s", 7500.0, "2 h 05 m"), ("median_s", 0.4123, "0.412 s"), ("tokens_per_s", 1234.5, "1,234"),
        ("calls", 12345, "12,345"), ("lane", None, "-"), ("lane", "local", "local"), ("busy_s", 59.7, "60 s"),
    ],
)  # fmt: skip
def test_cells_follow_the_columns_unit(column: str, value: object, text: str) -> None:
    assert cells.cell(column, value) == text


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("avoided_local_usd", "avoided local"),
        ("busy_s", "busy time"),
        ("tokens_per_s", "tokens/s"),
        ("row_share", "row share"),
    ],
)
def test_headings_are_words(column: str, text: str) -> None:
    assert cells.heading(column) == text


def test_totals_add_what_may_be_added() -> None:
    rows = [
        {"day": "a", "calls": 2, "cost_usd": Decimal("0.1"), "lost_share": 0.5},
        {"day": "b", "calls": 3, "cost_usd": Decimal("0.2"), "lost_share": 0.1},
    ]
    assert reports.totals("cost", rows) == {"calls": 5, "cost_usd": Decimal("0.3")}
    assert reports.totals("cost", rows[:1]) is None


def test_html_page_escapes_and_draws() -> None:
    page = html.page(
        "t <1>", "about & more", [{"lane": "<b>", "rows": 3}], ["lane", "rows"], {"rows": 3}, [("a&b", "3", 3.0)]
    )
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "a&amp;b" in page
    assert page.count("<rect") == 1
    assert "http" not in page.replace("http-equiv", "")
    assert "<tfoot>" in page


def test_html_page_without_anything_to_compare_has_no_chart() -> None:
    assert "<svg" not in html.page("t", "a", [], ["lane"], None, [("a", "0", 0.0)])
