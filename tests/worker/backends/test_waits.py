"""Every way in which servers say when to come back."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.backends.waits import Limits, limits, retry_after_s, span_s

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON_S = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT", "date": NOON}, 90.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT", "date": NOON}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms",
          "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s", "retry-after": "2"}, 2.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOON_S * 1000) + 5000), "date": NOON}, 5.0),
        ({"anthropic-ratelimit-tokens-remaining": "0", "date": NOON,
          "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:08Z"}, 8.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "11"}, 11.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, None),
    ],
)  # fmt: skip
def test_headers(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers) == wait_s


def test_without_the_servers_date_our_own_clock_serves() -> None:
    in_a_minute = format_datetime(datetime.fromtimestamp(datetime.now(UTC).timestamp() + 60, UTC), usegmt=True)
    wait_s = retry_after_s({"retry-after": in_a_minute})
    assert wait_s is not None
    assert 55 < wait_s < 61


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("1s", 1.0), ("6m0s", 360.0), ("1h30m", 5400.0), ("20ms", 0.02), ("1.5s", 1.5), ("22s", 22.0), ("9", 9.0),
        (str(NOON_S + 4), 4.0), (str((NOON_S + 4) * 1000), 4.0), ("2026-11-21T12:00:04+00:00", 4.0),
        ("2026-11-21T12:00:04", None), ("", None), ("s", None), ("-4", 0.0),
    ],
)  # fmt: skip
def test_spans(text: str, wait_s: float | None) -> None:
    found = span_s(text, NOON_S)
    assert found == (pytest.approx(wait_s) if wait_s is not None else None)


def openai(what: str, limit: str, left: str, reset: str) -> dict[str, str]:
    words = {"limit": limit, "remaining": left, "reset": reset}
    return {f"x-ratelimit-{word}-{what}": value for word, value in words.items() if value}


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, Limits()),
        (openai("requests", "60", "59", "1s") | openai("tokens", "150000", "149984", "6ms"), Limits(60, 150_000)),
        (openai("requests", "60", "0", "1m0s"), Limits(60)),
        (openai("requests", "10000", "9000", "6s"), Limits(10_000)),
        (openai("requests", "60", "2", "1s"), Limits(60)),  # of a burst of three
        (openai("requests", "60", "20", "40"), Limits(60)),  # a minute that began 20 s ago
        (openai("tokens-minute", "60000", "59000", "1.000"), Limits(0, 60_000)),
        ({"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49",
          "anthropic-ratelimit-tokens-limit": "48000"}, Limits(50)),
        # what is admitted in a day is no rate
        (openai("requests", "200", "199", "7m12s"), Limits()),
        (openai("requests", "14400", "14399", "6s") | openai("tokens", "6000", "5900", "1s"), Limits(0, 6_000)),
        (openai("requests", "1000", "970", "43m12s"), Limits()),
        (openai("requests-day", "60", "59", "1s"), Limits()),
        (openai("requests", "86400", "86399", "1s"), Limits()),
        (openai("requests", "100000", "99999", "864ms"), Limits()),
        (openai("requests", "10", "9", "100ms"), Limits()),  # nor in a second
        # nobody knows of how long
        (openai("requests", "60", "60", "0s"), Limits()),
        (openai("requests", "10000", "9999", "1s"), Limits()),  # rounded up
        (openai("requests", "60", "59", ""), Limits()),
        (openai("requests", "60", "", "1s"), Limits()),
        ({"x-ratelimit-limit": "60", "x-ratelimit-remaining": "59", "x-ratelimit-reset": "1"}, Limits()),
        (openai("requests", "0", "0", "1s"), Limits()),
        (openai("requests", "-5", "0", "1s"), Limits()),
        (openai("requests", "many", "0", "1s"), Limits()),
        (openai("requests", "nan", "nan", "1s"), Limits()),
    ],
)  # fmt: skip
def test_limits(headers: dict[str, str], found: Limits) -> None:
    assert limits(headers) == found


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_raises(wait: str, date: str) -> None:
    said = limits(openai("requests", wait, date, wait) | openai("tokens", wait, "0", "1s") | {"date": date})
    assert said.rpm >= 0
    assert said.tpm >= 0
    for name in ("retry-after", "retry-after-ms"):
        found = retry_after_s({name: wait, "date": date, "x-ratelimit-remaining": "0", "x-ratelimit-reset": wait})
        assert found is None or found >= 0
