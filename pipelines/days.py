"""Days and months as a time zone counts them: which one a moment is in, when the next begins, and when a
clock shows a time. It reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTH = re.compile(r"([12][0-9]{3})-(0[1-9]|1[0-2])")


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
    """The first moment of a month written YYYY-MM and that of the next, in UTC; ValueError for anything else."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise ValueError("should be a month such as 2026-03")
    first = date(int(found[1]), int(found[2]), 1)
    begin, end = (datetime.fromtimestamp(_begin_ms(of, timezone) / 1000, UTC) for of in (first, _next_month(first)))
    return begin, end


def shown_ms(clock: datetime, of: tzinfo) -> int:
    """The moment (unix ms) at which the clocks of a zone first show a time, which has no zone, or jump over it."""
    at = clock.replace(tzinfo=of, fold=0)
    if at.astimezone(UTC).astimezone(of).replace(tzinfo=None) == clock:
        return round(at.timestamp() * 1000)
    return _after_gap_ms(at)


def _after_gap_ms(skipped: datetime) -> int:
    """Read with the offset of before, a skipped time lies after the gap; with that of after, before it."""
    later = skipped.replace(fold=1)
    after, before = round(skipped.timestamp() * 1000), round(later.timestamp() * 1000)
    while after - before > 1000:
        middle = (after + before) // 2 // 1000 * 1000
        if datetime.fromtimestamp(middle / 1000, skipped.tzinfo).utcoffset() == later.utcoffset():
            after = middle
        else:
            before = middle
    return after


def _next_month(of: date) -> date:
    return (of.replace(day=1) + timedelta(days=32)).replace(day=1)


def _begin_ms(of: date, timezone: str) -> int:
    return shown_ms(datetime.combine(of, time()), zone(timezone))
