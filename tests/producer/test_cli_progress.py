"""The display: honest rates and remaining times, and both forms name what matters."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from producer.cli.progress import Rate, display, eta_s, line, panel
from producer.runs import LaneView, RunView

RUN = RunView(
    run_id="20260301-080000-abc123", status="in_progress", prepared=True, rows=1000, ok=600, duplicate=100, invalid=3,
    failed=2, rows_local=500, rows_cloud=102, cost_pusd=12_345_000_000, avoided_pusd=5 * 10**12,
)  # fmt: skip
LANES = [
    LaneView("gpu", "local", True, "", 16, 15, 74.0),
    LaneView("mini", "cloud", False, "connection [refused]", 64, 0, 0.0),
]


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate(window_s=10)
    assert rate.add(0, 0.0) == 0.0
    assert rate.add(100, 1.0) == 100.0
    for second in range(2, 30):
        now = rate.add(100 + second, float(second))
    assert now == pytest.approx(1.0)


def test_rows_done_before_the_display_began_are_no_speed() -> None:
    rate = Rate()
    rate.add(5_000, 100.0)
    assert rate.add(5_010, 101.0) == 10.0


def test_a_retry_that_takes_rows_back_is_no_negative_speed() -> None:
    rate = Rate()
    rate.add(100, 0.0)
    assert rate.add(40, 1.0) == 0.0


def test_the_remaining_time_is_unknown_without_a_rate() -> None:
    assert eta_s(RUN, 0.0) is None
    assert eta_s(RUN, 10.0) == pytest.approx(29.5)


def test_a_line_names_lanes_money_speed_and_trouble() -> None:
    text = line(RUN, 59.0)
    for part in ("705/1,000 rows", "local 500", "cloud 102", "duplicates 100", "invalid 3", "failed 2", "$0.0123 spent",
                 "$5.00 avoided", "59 rows/s", "5 s to go"):  # fmt: skip
        assert part in text
    assert "refused" not in text
    assert "\n" not in text


def test_an_estimate_is_marked_as_one() -> None:
    assert "0/~500 rows" in line(RunView("x", "in_progress", rows_estimate=500), 0.0)


def test_reading_is_shown_while_it_goes_on() -> None:
    assert "40 read" in line(RunView("x", "in_progress", rows_estimate=500, rows=40), 0.0)
    assert "40 read" in drawn(RunView("x", "in_progress", rows_estimate=500, rows=40), [])
    assert " read" not in line(RUN, 0.0)


def test_a_line_says_what_the_run_waits_for() -> None:
    assert line(RunView("x", "in_progress", blocked="budget"), 0.0).endswith("waiting: budget")


def test_an_infeasible_run_says_what_it_lacks_until_it_has_ended() -> None:
    lacks = {"usd": "1.2", "seconds": 12_000.0, "text": "+$1.20 or +3.4 h"}
    for said in (
        line(RunView("x", "in_progress", lacks=lacks), 0.0),
        drawn(RunView("x", "in_progress", lacks=lacks), []),
    ):
        assert "infeasible: needs +$1.20 or +3.4 h" in said
    assert "infeasible" not in line(RunView("x", "completed", lacks=lacks), 0.0)
    assert RunView("x", "in_progress", lacks={"text": ""}).needs == "infeasible: needs another lane"


def drawn(run: RunView, lanes: list[LaneView], width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(panel(run, lanes, 59.0, 12.0))
    return out.getvalue()


def test_the_panel_shows_targets_and_their_state() -> None:
    text = drawn(RUN, LANES)
    for part in (
        "705 of 1,000 rows",
        "15/16 in flight",
        "down connection [refused]",
        "local 500",
        "spent $0.0123",
        "to go",
    ):
        assert part in text


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_panel_of_a_large_run_shows_every_figure_whole(width: int) -> None:
    run = RunView(
        "x", "in_progress", rows_estimate=2_000_000, rows=1_000_000, ok=600_123, duplicate=100_456, invalid=3_123, failed=2_456,
        refused=1_234, rows_local=500_789, rows_cloud=102_345, rows_provider_batch=123_456, cost_pusd=12 * 10**12,
    )  # fmt: skip
    text = drawn(run, LANES, width)
    for part in ("local 500,789", "cloud 102,345", "provider batch 123,456", "duplicates 100,456", "1,000,000 read",
                 "invalid 3,123", "failed 2,456", "refused 1,234", "spent $12.00", "59.0 rows/s", "12 s so far"):  # fmt: skip
        assert part in text
    assert "…" not in text


def test_the_panel_survives_a_run_that_has_not_begun() -> None:
    assert "0 of ~0 rows" in drawn(RunView("x", "in_progress"), [])


def test_a_line_names_a_target_that_is_down_until_that_blocks_the_run() -> None:
    text = line(RUN, 1.0, LANES)
    assert text.endswith("; mini is down: connection [refused]") and "gpu" not in text
    assert "is down" not in line(RunView("x", "in_progress", blocked="no target is up: cloud: gone"), 1.0, LANES)
    assert "is down" not in line(RunView("x", "completed"), 1.0, LANES)


def test_a_target_that_goes_down_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    up, down = (LaneView("gpu", "local", is_up, "asleep") for is_up in (True, False))
    with display(quiet=False) as shown:
        for lane in (up, up, down, down, up, up):
            shown.show(RUN, [lane])
    lines = capsys.readouterr().err.splitlines()
    assert ["gpu is down: asleep" in each for each in lines] == [False, True, False]


def test_quiet_shows_nothing_and_lines_come_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with display(quiet=True) as shown:
        shown.show(RUN, LANES)
    assert capsys.readouterr().err == ""
    with display(quiet=False) as shown:
        for _ in range(20):
            shown.show(RUN, LANES)
        shown.show(RunView("x", "completed", prepared=True, rows=1, ok=1), [])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("completed: 1/1 rows")
