"""When a cron expression is due in a time zone, summer time included; owner of croniter. It reads no clock.

The expression is read on the wall clock, and each of its times is due once a day: a time that the clock skips is due at
the first moment after the gap (several skipped ones are one), a time that it shows twice is due the first time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from croniter import croniter
from croniter.croniter import CroniterError

from pipelines.days import local, shown_ms, zone

_FIELDS = 5
_FIELD = re.compile(r"[0-9A-Za-z*,/#?-]+")
_RANDOM = re.compile(r"(?:^|,)[hr](?:/|,|$)", re.IGNORECASE)
"""croniter's H and R stand for times of its own choosing: two processes would not agree on them."""
_ANY_DAY = datetime(2000, 1, 1)


def checked(text: str) -> str:
    """The expression with single spaces; ValueError for one that is not five fields, or never due."""
    fields = text.split()
    if len(fields) != _FIELDS:
        raise ValueError('should be five cron fields such as "0 2 * * *"')
    if any(not _FIELD.fullmatch(field) or _RANDOM.search(field) for field in fields):
        raise ValueError('has a field that cron does not know; write minute, hour, day, month, weekday: "0 2 * * 1-5"')
    expression = " ".join(fields)
    try:
        croniter(expression, _ANY_DAY).get_next(datetime)
    except (CroniterError, ValueError, KeyError, OverflowError) as error:
        said = str(error).strip() or type(error).__name__
        raise ValueError(f"is no time that ever comes ({said[:100]})") from None
    return expression


def next_ms(expression: str, timezone: str, after_ms: int) -> int:
    """The first time (unix ms) that it is due after a moment."""
    at = local(after_ms, timezone)
    times = croniter(expression, _plain(at))
    while True:
        due_ms = shown_ms(times.get_next(datetime), at.tzinfo or UTC)
        if due_ms > after_ms:
            return due_ms


def latest_ms(expression: str, timezone: str, now_ms: int) -> int | None:
    """The last time that it was due up to and at a moment; None before its first."""
    at = local(now_ms, timezone)
    shown = _plain(at)
    if at.fold:  # the clock was turned back: it has shown later times than this one already
        shown += (at.replace(fold=0).utcoffset() or timedelta()) - (at.utcoffset() or timedelta())
    times = croniter(expression, shown + timedelta(seconds=1))
    try:
        while (due_ms := shown_ms(times.get_prev(datetime), zone(timezone))) > now_ms:
            continue
    except CroniterError:
        return None
    return due_ms


def missed_ms(expression: str, timezone: str, since_ms: int, now_ms: int) -> int | None:
    """The time to catch up with: the last one due after `since_ms` and up to now, however many there were."""
    latest = latest_ms(expression, timezone, now_ms)
    return latest if latest is not None and latest > since_ms else None


def _plain(at: datetime) -> datetime:
    return at.replace(tzinfo=None, microsecond=0, fold=0)
