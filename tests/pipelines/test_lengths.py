"""How long an answer will be, and where that is known from."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.lengths import LEAST_CALLS, Measured, expect, is_new, latencies, measure, of_route
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


def test_a_groups_answers_come_before_its_routes_whoever_gave_them() -> None:
    """Twenty short and twenty long ones at a route's local target, and twenty short ones in its cloud."""
    calls = [call(n, n, output_tokens=(8, 300)[n % 2]) for n in range(40)]
    calls += [call(40 + n, n, target="mini", output_tokens=10) for n in range(20)]
    names = ["small text 0 s", "small text 0 l"] * 20 + ["small text 0 s"] * 20
    known = measure(costs_frame(calls).collect().with_columns(pl.Series("group", names)))
    tokens = {
        (group, target): found.output_tokens
        for group in (*names[:2], "small text 0 x")
        for target in ("gpu", "mini")
        if (found := of_route(known, "small", [target], (), group)) is not None
    }
    assert list(tokens.values()) == [8, 10, 300, 300, 154, 10], "of a group that nobody knows, the route's"
    assert [is_new(known, each) for each in ("small text 0 x", names[0], "small labels 0 x", "tiny text 0 x", "")] == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert measure(costs_frame(calls).collect().with_columns(pl.lit("").alias("group"))).keys() == {
        (route, target) for route in ("small", "") for target in ("gpu", "mini", "")
    } - {("", "")}


def test_a_count_that_is_none_is_left_out_and_a_long_answer_is_not() -> None:
    calls = [call(n, n, output_tokens=50 + n % 2) for n in range(198)]
    odd, long = call(198, 198, output_tokens=900_000_000), call(199, 199, output_tokens=4_000)
    known = measure(costs_frame([*calls, odd, long]).collect())
    assert known["small", "gpu"].calls == 199
    assert known["small", "gpu"].output_tokens == pytest.approx(70.35, abs=0.01)


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
    assert latencies(costs_frame(calls).collect()) == {"mini": [3_600.0] * 11 + [14_400.0]}
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
    assert latencies(costs_frame(calls).collect()) == {"mini": [3_600.0]}


@pytest.mark.parametrize("code", ["cancelled", "expired", "batch_cancelled", "batch_expired"])
def test_an_order_that_was_taken_back_is_not_one_that_was_quick(code: str) -> None:
    """Three lines of a hundred were done when it was cancelled after five minutes: the next plan counted on such orders."""
    batch = {"lane": "provider_batch", "target": "mini", "started_at": at(0), "finished_at": at(300)}
    calls = [call(n, n, **batch) for n in range(3)]
    calls += [call(3 + n, 3 + n, **batch, outcome="rejected", error_code=code, output_tokens=0) for n in range(97)]
    assert latencies(costs_frame(calls).collect()) == {"mini": [-300.0]}
    assert latencies(costs_frame(calls[3:]).collect()) == {"mini": [-300.0]}, "nor one of which nothing is known"
    never = [{**each, "error_code": "not_sent"} for each in calls[3:]]
    assert latencies(costs_frame(never).collect()) == {}, "it was never out"
    refused = [*calls[:3], {**calls[3], "error_code": "invalid_request"}]
    assert latencies(costs_frame(refused).collect()) == {"mini": [300.0]}, "a line that was refused was looked at"
