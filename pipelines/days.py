"""Days and months as a time zone counts them: which one a moment is in, and when the next begins. It reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def zone(name: str) -> tzinfo:
    """The zone of that name; UTC needs no database."""
    return UTC if name == "UTC" else ZoneInfo(name)


def local(ms: int, timezone: str) -> datetime:
    """A moment (unix ms) on the clocks of a zone."""
    return datetime.fromtimestamp(ms / 1000, zone(timezone))


def day(ms: int, timezone: str) -> str:
    """The day of a moment, YYYY-MM-DD."""
    return local(ms, timezone).date().isoformat()


def next_day_ms(ms: int, timezone: str) -> int:
    """When the day after the moment's begins."""
    return _begin_ms(local(ms, timezone).date() + timedelta(days=1), timezone)


def next_month_ms(ms: int, timezone: str) -> int:
    """When the month after the moment's begins."""
    return _begin_ms(_next_month(local(ms, timezone).date()), timezone)


def month_span(text: str, timezone: str) -> tuple[datetime, datetime]:
    """The first moment of a month written YYYY-MM and that of the next; ValueError for anything else."""
    found = _MONTH.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= 9998:
        raise ValueError("should be a month such as 2026-03")
    first = date(int(found[1]), int(found[2]), 1)
    return _begin(first, timezone), _begin(_next_month(first), timezone)


def _next_month(of: date) -> date:
    return (of.replace(day=1) + timedelta(days=32)).replace(day=1)


def _begin(of: date, timezone: str) -> datetime:
    """A day's first moment in UTC; where midnight is skipped, the first one after the gap."""
    at = datetime.combine(of, time(), zone(timezone)).astimezone(UTC)
    while at.astimezone(zone(timezone)).date() < of:  # clocks that jump at midnight: the gap is read as the day before
        at += timedelta(minutes=15)
    return at


def _begin_ms(of: date, timezone: str) -> int:
    return round(_begin(of, timezone).timestamp() * 1000)
