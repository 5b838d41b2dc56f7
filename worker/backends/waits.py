"""How long a server asks us to wait and how much it admits in a minute, from any of the headers in use; reads no body."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

_GO_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|us|µs|ns|s))+")
_GO_TERM = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)")
_GO_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

# Headers that count what is left, and when it is refilled; only an exhausted one asks us to wait.
_BUCKETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
)

MINUTE_S, ROUNDED_S = 60.0, 1.0
"""What a limit of a minute is refilled in, and by how much such a time may be rounded up."""


class Limits(NamedTuple):
    """Requests and tokens a minute; 0: not said."""

    rpm: int = 0
    tpm: int = 0


def limits(headers: Mapping[str, str]) -> Limits:
    """What an answer says of its account's limits. Anthropic's tokens are left out: it counts those of an answer as they are
    written, in a limit of their own, and their sum says neither."""
    requests = _number(headers.get("anthropic-ratelimit-requests-limit")) or _a_minute(headers, "requests")
    tokens = _a_minute(headers, "tokens-minute") or _a_minute(headers, "tokens")
    return Limits(*(int(most) if most and 1 <= most < 1e12 else 0 for most in (requests, tokens)))


def _a_minute(headers: Mapping[str, str], what: str) -> float | None:
    """A limit of that name, where it is one of a minute. Some servers give what they admit in a day, or in a second, the same name (Groq,
    OpenAI's free tier): when it will be full again, for what was taken of it, tells; not where that is less than such times are rounded by."""
    if not (most := _number(headers.get(f"x-ratelimit-limit-{what}"))):
        return None
    left, reset = _number(headers.get(f"x-ratelimit-remaining-{what}")), headers.get(f"x-ratelimit-reset-{what}", "")
    full_s = span_s(reset, _server_now_s(headers))
    if left is None or full_s is None or left >= most:
        return None
    usual_s, rounded_s = MINUTE_S * (most - left) / most, 0.0 if "." in reset or "ms" in reset else ROUNDED_S
    # what is left of a burst is less than of a minute, and soon full again
    least_s = usual_s / 2 - rounded_s if left >= most / 2 else 0.0
    return most if usual_s >= rounded_s and least_s <= full_s <= 2 * usual_s + rounded_s else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait at least; None when the server does not say. Dates are read against the server's own clock."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    now_s = _server_now_s(headers)
    if (written := headers.get("retry-after")) is not None:
        seconds = _number(written)
        if seconds is None and (then_s := _http_date_s(written)) is not None:
            seconds = then_s - now_s
        if seconds is not None:
            return max(0.0, seconds)
    waits = [wait for bucket in _BUCKETS if (wait := _refill_s(headers, *bucket, now_s)) is not None]
    return max(waits, default=None)


def _refill_s(headers: Mapping[str, str], remaining: str, reset: str, now_s: float) -> float | None:
    left = _number(headers.get(remaining))
    return span_s(headers.get(reset, ""), now_s) if left is not None and left <= 0 else None


def span_s(text: str, now_s: float) -> float | None:
    """Seconds from now in a Go duration, plain seconds, a Unix time (s or ms) or an RFC 3339 time."""
    text = text.strip()
    if _GO_DURATION.fullmatch(text):
        return sum(float(number) * _GO_UNIT_S[unit] for number, unit in _GO_TERM.findall(text))
    number = _number(text)
    if number is not None:
        return max(0.0, number / 1000 - now_s if number > 1e11 else number - now_s if number > 1e9 else number)
    try:
        then = datetime.fromisoformat(text)
        return max(0.0, then.timestamp() - now_s) if then.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    # Neither "nan" nor "inf" is a time to wait.
    return number if number is not None and abs(number) < 1e15 else None


def _server_now_s(headers: Mapping[str, str]) -> float:
    date = headers.get("date")
    found = _http_date_s(date) if date else None
    return found if found is not None else time.time()


def _http_date_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
