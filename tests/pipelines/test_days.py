"""Days and months turn where the clocks of the zone say so."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pipelines import days


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_day_is_that_of_the_zone() -> None:
    late = ms("2026-03-01T23:30+00:00")
    assert (days.day(late, "UTC"), days.day(late, "Europe/Berlin")) == ("2026-03-01", "2026-03-02")


@pytest.mark.parametrize(
    ("timezone", "at", "turn"),
    [
        ("UTC", "2026-03-01T12:00+00:00", "2026-03-02T00:00+00:00"),
        ("UTC", "2026-03-01T00:00+00:00", "2026-03-02T00:00+00:00"),
        ("Europe/Berlin", "2026-03-29T00:30+01:00", "2026-03-30T00:00+02:00"),  # 23 hours
        ("Europe/Berlin", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),  # 25 hours
        ("America/Havana", "2026-03-07T12:00-05:00", "2026-03-08T01:00-04:00"),  # midnight itself is skipped
    ],
)
def test_the_next_day_begins_at_its_first_moment(timezone: str, at: str, turn: str) -> None:
    assert days.next_day_ms(ms(at), timezone) == ms(turn)
    assert days.day(ms(turn), timezone) != days.day(ms(turn) - 1, timezone)


@pytest.mark.parametrize(
    ("timezone", "at", "turn"),
    [
        ("UTC", "2026-12-31T23:59:59+00:00", "2027-01-01T00:00+00:00"),
        ("Europe/Berlin", "2026-03-31T21:59:59+00:00", "2026-04-01T00:00+02:00"),
        ("Europe/Berlin", "2026-03-31T22:00+00:00", "2026-05-01T00:00+02:00"),
        ("UTC", "2028-01-31T00:00+00:00", "2028-02-01T00:00+00:00"),
    ],
)
def test_the_next_month_too(timezone: str, at: str, turn: str) -> None:
    assert days.next_month_ms(ms(at), timezone) == ms(turn)


def test_months_join_without_gap_or_overlap() -> None:
    spans = [days.month_span(f"2026-{month:02d}", "Europe/Berlin") for month in range(1, 13)]
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert spans[2] == (datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-3", "2026-03-01", "march", "", "0000-01", "0001-01", "9999-12"]
)
def test_nonsense_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="2026-03"):
        days.month_span(text, "Europe/Berlin")
