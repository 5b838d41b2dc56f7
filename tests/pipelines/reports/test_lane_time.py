"""The value of one more local hour, and calls in flight, by hand on a few calls."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipelines.beside import Room
from pipelines.reports.shared import html, lane_time
from tests.support_frames import at, call, costs_frame

CLOUD = {"lane": "cloud", "target": "mini"}


def test_one_more_hour_is_worth_what_costs_most_for_its_time() -> None:
    """Half an hour at work gave 1,000 output tokens: in an hour more, 2,000 of those that were bought."""
    calls = [
        call(0, 0, started_at=at(0), finished_at=at(1200), input_tokens=0, output_tokens=500),
        call(1, 1, started_at=at(600), finished_at=at(1800), input_tokens=0, output_tokens=500),
        call(2, 2, **CLOUD, cost_usd=Decimal("0.4"), input_tokens=0, output_tokens=400),
        call(3, 3, **CLOUD, cost_usd=Decimal("3.0"), input_tokens=0, output_tokens=1500),
        call(4, 4, **CLOUD, cost_usd=Decimal("0.5"), input_tokens=0, output_tokens=1000),
        call(5, 5, **CLOUD, cost_usd=Decimal("9.0"), input_tokens=0, output_tokens=10, route="other"),
        call(6, 6, **CLOUD, cost_usd=Decimal("9.0"), input_tokens=0, output_tokens=10, outcome="error"),
        call(7, 7, lane="provider_batch", target="mini", cost_usd=Decimal("0.01"), input_tokens=0, output_tokens=90),
    ]
    (hour,) = lane_time.one_more_hour(costs_frame(calls).collect())
    assert (hour["target"], hour["busy_s"]) == ("gpu", 1800.0)
    assert (hour["more_rows"], hour["saved_usd"]) == (2, Decimal("3.4"))
    assert hour["per_hour_usd"] == Decimal("4.0"), "the dearest for its time: $3 for 1,500 tokens, of 2,000 in an hour"


def test_the_hour_holds_as_many_rows_of_a_kind_as_the_lane_answered_in_one_whatever_each_server_had_cached() -> None:
    """Three a quarter of an hour: a bought row, of which the cloud had cached nothing, is no more work for that."""
    tokens = {"input_tokens": 1600, "output_tokens": 10}
    mine = [
        call(n, n, started_at=at(300 * n), finished_at=at(300 * n + 300), cached_input_tokens=1500, **tokens)
        for n in range(3)
    ]
    bought = [call(n, n, **CLOUD, cost_usd=Decimal("0.1"), **tokens) for n in range(3, 33)]
    (hour,) = lane_time.one_more_hour(costs_frame([*mine, *bought]).collect())
    assert (hour["busy_s"], hour["more_rows"]) == (900.0, 12)


def test_what_reading_weighs_is_as_it_was_measured() -> None:
    """In an hour that read 10,000 tokens and wrote 500, 2,000 and 200 fit three times if reading is light, four times if it is not."""
    gpu = call(0, 0, started_at=at(0), finished_at=at(3600), input_tokens=10_000, output_tokens=500)
    tokens = {"input_tokens": 2_000, "output_tokens": 200}
    calls = costs_frame([gpu, *(call(n, n, **CLOUD, **tokens, cost_usd=Decimal(1)) for n in range(1, 9))]).collect()
    rows = {
        weight: lane_time.one_more_hour(calls, {"gpu": Room(prefill=weight)})[0]["more_rows"]
        for weight in (0.05, None, 0.2)
    }
    assert rows == {0.05: 3, None: 3, 0.2: 4}


def test_an_answer_without_its_usage_has_no_price_for_its_time() -> None:
    gpu = call(0, 0, started_at=at(0), finished_at=at(3600), input_tokens=0, output_tokens=1000)
    bought = call(1, 1, **CLOUD, cost_usd=Decimal("0.5"), input_tokens=0, output_tokens=500)
    silent = call(2, 2, **CLOUD, cost_usd=Decimal("0.004"), input_tokens=0, output_tokens=0)
    (hour,) = lane_time.one_more_hour(costs_frame([gpu, bought, silent]).collect())
    assert (hour["more_rows"], hour["per_hour_usd"]) == (1, Decimal("1.0"))


def test_one_answer_that_is_dear_for_its_time_is_not_the_price_of_an_hour() -> None:
    """It made three dollars an hour a thousand. What is charged its upper bound has hardly any tokens, and no price of theirs."""
    gpu = call(0, 0, started_at=at(0), finished_at=at(3600), input_tokens=0, output_tokens=36_000)
    bought = [call(n, n, **CLOUD, cost_usd=Decimal("0.1"), input_tokens=0, output_tokens=1_000) for n in range(1, 10)]
    tiny = {"input_tokens": 0, "output_tokens": 10}
    unmetered = call(10, 10, **CLOUD, cost_usd=Decimal("0.5"), cost_basis="upper_bound", **tiny)
    odd = call(11, 11, **CLOUD, cost_usd=Decimal("0.1"), **tiny)
    for more, usd in (([], 3.6), ([unmetered], 3.6), ([odd], 0.2 / 1_010 * 36_000)):
        (hour,) = lane_time.one_more_hour(costs_frame([gpu, *bought, *more]).collect())
        assert float(hour["per_hour_usd"]) == pytest.approx(usd)


def test_what_no_local_hour_could_have_answered_is_not_in_it() -> None:
    """Sixty prompts longer than the server's window were the value of its hour; so was what it had tried and not done."""
    gpu = call(0, 0, started_at=at(0), finished_at=at(3600), input_tokens=0, output_tokens=1_000)
    tokens = {"input_tokens": 350, "output_tokens": 50, "cost_usd": Decimal("0.1")}
    bought = [call(n, n, **CLOUD, **tokens) for n in range(1, 6)]
    long = call(6, 6, **CLOUD, **{**tokens, "input_tokens": 351})
    tries = [
        call(11, 1, outcome="rejected", error_code="context_overflow"),
        call(12, 2, output_tokens=0),  # an answer that failed its check
        call(13, 3, outcome="error", error_code="too_late"),
        call(14, 4, outcome="lost"),
        call(15, 5, outcome="error", target="other"),
        call(16, 5, outcome="error", run_id="20260301-080000-other0"),
    ]
    calls = costs_frame([gpu, *bought, long, *tries]).collect()
    (hour,) = lane_time.one_more_hour(calls, {"gpu": Room(400, 4)})
    assert (hour["more_rows"], hour["saved_usd"]) == (3, Decimal("0.3"))
    (unknown,) = lane_time.one_more_hour(calls)
    assert unknown["more_rows"] == 4


def test_what_an_hour_saves_is_less_what_its_own_calls_cost() -> None:
    """Thirty cents for power, in the hour that gave a thousand tokens."""
    gpu = call(
        0, 0, started_at=at(0), finished_at=at(3600), input_tokens=0, output_tokens=1_000, cost_usd=Decimal("0.3")
    )
    dear = call(1, 1, **CLOUD, cost_usd=Decimal("0.5"), input_tokens=0, output_tokens=500)
    cheap = call(2, 2, **CLOUD, cost_usd=Decimal("0.1"), input_tokens=0, output_tokens=500)
    (hour,) = lane_time.one_more_hour(costs_frame([gpu, dear, cheap]).collect())
    assert (hour["more_rows"], hour["saved_usd"]) == (1, Decimal("0.35")), "power is dearer than the other"
    assert hour["per_hour_usd"] == Decimal("0.7")


def test_nothing_bought_is_worth_nothing_and_no_local_lane_has_no_hour() -> None:
    (hour,) = lane_time.one_more_hour(costs_frame([call(0, 0)]).collect())
    assert (hour["more_rows"], hour["saved_usd"], hour["per_hour_usd"]) == (0, Decimal(0), Decimal(0))
    assert lane_time.one_more_hour(costs_frame([call(0, 0, **CLOUD)]).collect()) == []


def test_calls_in_flight_add_up_to_the_time_that_they_took() -> None:
    calls = [
        call(0, 0, started_at=at(0), finished_at=at(24)),
        call(1, 1, started_at=at(12), finished_at=at(24)),
        call(2, 2, **CLOUD, started_at=at(20), finished_at=at(48)),
    ]
    rows = lane_time.in_flight(costs_frame(calls).collect())
    assert len(rows) == 24 and rows[0]["from"] == "2026-03-01 08:00:00" and rows[1]["from"] == "2026-03-01 08:00:02"
    there = lane_time.in_flight(costs_frame(calls).collect(), "Europe/Berlin")
    assert there[0]["from"] == "2026-03-01 09:00:00", "by the clock of the zone, as the rest of a report"
    assert [rows[0]["local"], rows[6]["local"], rows[12]["local"]] == [1.0, 2.0, 0.0]
    assert [rows[0]["local_used_share"], rows[6]["local_used_share"], rows[12]["local_used_share"]] == [0.5, 1.0, 0.0]
    assert sum(row["local"] for row in rows) * 2 == pytest.approx(36)
    assert sum(row["cloud"] for row in rows) * 2 == pytest.approx(28)


def test_a_lane_is_used_by_its_slots_where_they_are_known() -> None:
    """Sixteen slots of which one was ever in use were used to the full; more calls than slots once were no more than all."""
    two = {"started_at": at(0), "finished_at": at(24)}
    calls = [call(0, 0, **two), call(1, 1, **CLOUD, **two), call(2, 2, lane="provider_batch", target="mini", **two)]
    rooms = {"gpu": Room(None, 16), "mini": Room(None, 64), "never": Room(None, 9)}
    row = lane_time.in_flight(costs_frame(calls).collect(), "UTC", rooms)[0]
    assert (row["local_used_share"], row["cloud_used_share"], row["provider_batch_used_share"]) == (1 / 16, 1 / 64, 1.0)
    more = [call(n, n, **two) for n in range(8)]
    assert lane_time.in_flight(costs_frame(more).collect(), "UTC", {"gpu": Room(None, 4)})[0]["local_used_share"] == 1.0


def test_moments_of_a_run_of_seconds_are_told_apart() -> None:
    rows = lane_time.in_flight(costs_frame([call(0, 0, started_at=at(0), finished_at=at(6))]).collect())
    assert [row["from"] for row in rows[:2]] == ["2026-03-01 08:00:00.000", "2026-03-01 08:00:00.250"]


def test_both_stand_below_the_table_and_one_is_drawn() -> None:
    found = lane_time.sections(costs_frame([call(0, 0), call(1, 1, **CLOUD)]))
    assert [section.title for section in found] == [
        "What one more hour of each local target would have saved", "Calls in flight over time",
    ]  # fmt: skip
    page = html.page("lanes", "", [{"a": 1}], ["a"], sections=found)
    assert page.count("<svg") == 1 and "08:00:00.000 local" in page
    assert lane_time.sections(costs_frame([])) == []
