"""A time is due once a day by the wall clock: what the clock skips after the gap, what it shows twice the first time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import cron

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(at_ms: int, timezone: str = "UTC") -> str:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone)).isoformat(timespec="minutes")


def series(expression: str, timezone: str, after: str, count: int) -> list[str]:
    at, found = ms(after), []
    for _ in range(count):
        at = cron.next_ms(expression, timezone, at)
        found.append(shown(at, timezone))
    return found


def test_plain_times() -> None:
    assert series("0 2 * * *", "UTC", "2026-03-01T02:00+00:00", 2) == [
        "2026-03-02T02:00+00:00", "2026-03-03T02:00+00:00",
    ]  # fmt: skip
    assert series("30 9 1 * 1", "UTC", "2026-03-01T00:00+00:00", 3) == [  # day of month or of week, as cron has it
        "2026-03-01T09:30+00:00", "2026-03-02T09:30+00:00", "2026-03-09T09:30+00:00",
    ]  # fmt: skip
    assert series("0 2 * * *", BERLIN, "2026-07-01T00:00+00:00", 1) == ["2026-07-02T02:00+02:00"]


def test_a_skipped_hour_fires_once_after_the_gap() -> None:
    assert series("30 2 * * *", BERLIN, "2026-03-28T00:00+01:00", 3) == [
        "2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00",
    ]  # fmt: skip
    assert series("*/20 2 * * *", BERLIN, "2026-03-29T00:00+01:00", 2) == [
        "2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00",
    ]  # fmt: skip


def test_a_doubled_hour_fires_once() -> None:
    assert series("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00",
    ]  # fmt: skip
    assert cron.missed_ms("30 2 * * *", BERLIN, ms("2026-10-25T02:30+02:00"), ms("2026-10-25T02:30+01:00")) is None


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [
        ("2026-03-01T02:00+00:00", "2026-03-02T01:59+00:00", None),
        ("2026-03-01T02:00+00:00", "2026-03-02T02:00+00:00", "2026-03-02T02:00+00:00"),
        ("2026-03-01T02:00+00:00", "2026-03-09T12:00+00:00", "2026-03-09T02:00+00:00"),  # eight were missed: one
        ("2026-03-09T02:00+00:00", "2026-03-09T12:00+00:00", None),
        ("2026-03-09T12:00+00:00", "2026-03-09T01:00+00:00", None),  # a clock that was set back
    ],
)
def test_what_was_missed_is_one_firing(since: str, now: str, due: str | None) -> None:
    assert cron.missed_ms("0 2 * * *", "UTC", ms(since), ms(now)) == (ms(due) if due else None)


TURNS = [
    ("Europe/Berlin", "2026-03-29T01:00+00:00"), ("Europe/Berlin", "2026-10-25T01:00+00:00"),
    ("America/New_York", "2026-03-08T07:00+00:00"), ("America/New_York", "2026-11-01T06:00+00:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00+00:00"), ("Australia/Lord_Howe", "2026-10-03T15:30+00:00"),
    ("America/Havana", "2026-03-08T05:00+00:00"), ("America/Havana", "2026-11-01T05:00+00:00"),
    ("Pacific/Apia", "2011-12-30T10:00+00:00"), ("UTC", "2026-03-01T00:00+00:00"),
]  # fmt: skip
"""Half hours, midnights, and a whole day that a country left out."""


@given(
    turn=st.sampled_from(TURNS),
    expression=st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 0 * * *", "15 0-3 * * *", "45 1 * * 0", "0 3 1 * *"]),
    offset_s=st.integers(-30 * 3600, 30 * 3600),
)
def test_next_and_latest_agree_around_every_turn(turn: tuple[str, str], expression: str, offset_s: int) -> None:
    timezone, at = turn[0], ms(turn[1]) + offset_s * 1000
    after = cron.next_ms(expression, timezone, at)
    before = cron.latest_ms(expression, timezone, at)
    assert before is not None and before <= at < after
    assert cron.latest_ms(expression, timezone, after) == after
    assert cron.latest_ms(expression, timezone, after - 1) == before, "nothing is due in between"
    assert cron.next_ms(expression, timezone, before) == after


@pytest.mark.parametrize(
    "expression", ["0 2 * * *", "*/5 1-3 * jan,feb mon-fri", "0 0 29 2 *", "0 0 l * *", " 0  2 * * 7 "]
)
def test_good_expressions(expression: str) -> None:
    assert cron.checked(expression) == " ".join(expression.split())


@pytest.mark.parametrize(
    "expression",
    ["", "daily", "@daily", "0 2 * *", "0 0 2 * * *", "61 * * * *", "0 0 30 2 *", "a b c d e", "r 2 * * *", "H/5 * * * *",
     "0 2 * * mon;rm", "0 25 * * *", "*/0 * * * *"],
)  # fmt: skip
def test_bad_expressions(expression: str) -> None:
    with pytest.raises(ValueError, match=r"five cron fields|does not know|never|ever comes"):
        cron.checked(expression)


def test_the_same_everywhere() -> None:
    """Whoever asks, and however often, hears the same time."""
    at = round(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
    assert len({cron.next_ms("*/7 * * * *", BERLIN, at) for _ in range(5)}) == 1
