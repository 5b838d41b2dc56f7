"""How long an answer will be, and where that is known from."""

from __future__ import annotations

import pytest

from pipelines.lengths import LEAST_CALLS, Measured, expect, latencies, measure, of_route
from pipelines.types import Options
from tests.support_frames import at, call, costs_frame

MEASURED = Measured(50, 40.4, 90, 1.0, 2.0)


@pytest.mark.parametrize(
    ("measured", "max_tokens", "options", "expected"),
    [
        (MEASURED, 0, Options(), (40, "measured")),
        (MEASURED, 16, Options(), (16, "max_tokens")),
        (MEASURED, 0, Options(labels=("a", "b")), (40, "measured")),
        (None, 0, Options(labels=("yes", "no")), (3, "labels")),
        (None, 0, Options(schema="x" * 500), (100, "schema")),
        (None, 0, Options(schema="{}"), (8, "schema")),
        (None, 50, Options(schema="x" * 500), (50, "max_tokens")),
        (None, 0, Options(), (200, "assumed")),
        (None, 1000, Options(), (200, "assumed")),
        (None, 60, Options(), (60, "max_tokens")),
    ],
)
def test_the_best_that_is_known(
    measured: Measured | None, max_tokens: int, options: Options, expected: tuple[int, str]
) -> None:
    assert expect(measured, max_tokens, options) == expected


def test_good_answers_of_the_ledger_are_measured_by_route_and_target() -> None:
    calls = [call(n, n, output_tokens=10 + n % 10, started_at=at(0), finished_at=at(2)) for n in range(20)]
    calls += [call(100 + n, n, target="mini", output_tokens=100) for n in range(LEAST_CALLS - 1)]
    noise = {"output_tokens": 9_999}
    calls += [call(200 + n, n, **noise, purpose="audit") for n in range(30)]
    calls += [call(300 + n, n, **noise, outcome="error") for n in range(30)]
    calls += [call(400 + n, n, output_tokens=0) for n in range(30)]
    known = measure(costs_frame(calls).collect())
    assert known["small", "gpu"] == Measured(20, 14.5, pytest.approx(2.947, abs=0.001), 2.0, 0.0, 20.0)
    assert ("small", "mini") not in known, "too few"
    assert known["small", ""].calls == 39
    assert of_route(known, "small", ["gpu"]) == known["small", "gpu"]
    assert of_route(known, "small", ["mini"], ["gpu"]) == known["small", ""], "too few of its own"
    assert of_route(known, "other", ["mini"], ["gpu"]) == known["", "gpu"]
    assert of_route(known, "other", ["mini"]) is None


def test_a_batch_apis_orders_tell_its_latency_and_nothing_of_a_calls_time() -> None:
    """Eleven orders of an hour, one of four; their rows are answers like others, but each took no hour."""
    batch = {"lane": "provider_batch", "target": "mini", "output_tokens": 30}
    calls = [
        call(n, n, lane="cloud", target="mini", output_tokens=10, started_at=at(0), finished_at=at(2))
        for n in range(20)
    ]
    calls += [
        call(100 + n, n, **batch, started_at=at(n // 5), finished_at=at(n // 5 + (14_400 if n >= 55 else 3_600)))
        for n in range(60)
    ]
    known = measure(costs_frame(calls).collect())
    assert known["", "mini"].at_once == 20.0, "of those twenty"
    assert known["", "mini"].call_s == 2.0 and known["", "mini"].spread_s == 0.0
    assert known["", "mini"].output_tokens == pytest.approx(25.0)
    assert latencies(costs_frame(calls).collect()) == {"mini": (3_600.0, pytest.approx(3_600 * (1 + 2 / 12)))}
    only = costs_frame(calls[20:]).collect()
    assert measure(only)["", "mini"].call_s == 0.0, "nothing is known of it"
    assert latencies(costs_frame(calls[:20]).collect()) == {}


def test_how_many_calls_were_in_flight_is_said_of_the_time_in_which_any_was() -> None:
    """Four at once, one after the other, and an hour between."""
    starts = [3_600 * (n // 20) + 2.0 * (n % 20 // 4) for n in range(40)]
    calls = [call(n, n, started_at=at(start), finished_at=at(start + 2)) for n, start in enumerate(starts)]
    assert measure(costs_frame(calls).collect())["", "gpu"].at_once == 4.0


def test_an_order_counts_once_however_long_its_lines_are_read() -> None:
    batch = {"lane": "provider_batch", "target": "mini", "started_at": at(0)}
    calls = [call(n, n, **batch, finished_at=at(3_600 + n)) for n in range(80)]
    assert latencies(costs_frame(calls).collect()) == {"mini": (3_600.0, 3 * 3_600.0)}
