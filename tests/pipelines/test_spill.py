"""What leaves for money and when, by the moves of plan(): orders at a batch API, recalls, the last responsible moment."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from pipelines.capacity import ways
from pipelines.offices import MOST_SURE, sureness
from pipelines.plan import plan
from pipelines.snapshot import BatchTarget, BatchView, RunView, TargetView
from tests.pipelines.snapshots import GPU, MINI, NOW, batches, moved, rings, run, snapshot

HOUR = 3600
OFFICE = BatchTarget("mini", True, 1000, latency_p50_s=HOUR, latency_p90_s=2 * HOUR)
NOW_OR_NEVER = msgspec.structs.replace(OFFICE, latency_p50_s=9.0 * HOUR, latency_p90_s=10.0 * HOUR)
"""Of a run with ten hours left."""
BUSY = msgspec.structs.replace(GPU, rung_rows=100, rate=1.0, spans=100_000)  # 3,600 tokens an hour


def sent(count: int, ago_s: float, work: float = 3600.0) -> tuple[BatchView, ...]:
    since = NOW - int(ago_s * 1000)
    return tuple(BatchView(f"s{i}", "small", 8, work, target="mini", sent_ms=since) for i in range(count))


def hours(count: int, **more: Any) -> tuple[BatchView, ...]:
    """Batches of an hour of local work each."""
    return tuple(BatchView(f"b{i}", "small", 8, 3600.0, **more) for i in range(count))


@pytest.mark.parametrize(
    ("name", "run_", "expected"),
    [
        ("no deadline and a local lane: it has time for all", run(hours(3)), []),
        (
            "no deadline and no local lane: it may take its time",
            run(batches(2, route="cloudy")),
            [("b1", "provider_batch"), ("b0", "provider_batch")],
        ),
        ("local gave up: the batch API, not real time", run(hours(1, lanes="cloud")), [("b0", "provider_batch")]),
        ("cloud gave up: nothing to buy", run(hours(1, lanes="local")), []),
        ("somebody waits: real time", run(batches(1, route="cloudy"), waited_for=True), [("b0", "cloud")]),
        ("may not buy: nothing", run(batches(1, route="cloudy"), may_buy=False), []),
        ("the local lane will end it all in time", run(hours(8), deadline_s=10 * HOUR), []),
        (
            "what is nearly certain to be short, from the tail",
            # 20 hours of work, 10 hours left, of which the last call takes half an hour; the lane may do 6 % more than foreseen
            run(hours(20), deadline_s=10 * HOUR),
            [(f"b{i}", "provider_batch") for i in range(19, 10, -1)],
        ),
        ("ordered before: no second time", run(hours(10), deadline_s=10 * HOUR, sent=sent(10, HOUR)), []),
        (
            "more is short than was foreseen: a top-up",
            run(hours(15), deadline_s=10 * HOUR, sent=sent(5, HOUR)),
            [(f"b{i}", "provider_batch") for i in range(14, 10, -1)],
        ),
        ("but not at every look", run(hours(15), deadline_s=10 * HOUR, sent=sent(5, 60)), []),
        ("too late to begin one", run(hours(20), deadline_s=HOUR / 2), []),
        ("nothing recalled while there is time", run((), deadline_s=2 * HOUR, sent=sent(2, 8 * HOUR)), []),
        (
            "a tenth of its time is left: real time must begin",
            run((), deadline_s=HOUR, sent=sent(2, 9 * HOUR)),
            [("s0", "recall"), ("s1", "recall")],
        ),
        ("no deadline: it comes when it comes", run((), sent=sent(2, 90 * HOUR)), []),
    ],
)
def test_batch_apis(name: str, run_: RunView, expected: list[tuple[str, str]]) -> None:
    assert moved(plan(snapshot(run_, gpu=BUSY, batch_targets={"mini": OFFICE}))) == expected, name


def test_nothing_is_ordered_before_the_local_lane_was_measured() -> None:
    short = run(hours(20), deadline_s=10 * HOUR)
    unsure = msgspec.structs.replace(BUSY, spans=1)
    assert plan(snapshot(short, gpu=unsure, batch_targets={"mini": OFFICE})) == []


def test_a_lane_that_is_down_is_waited_for_until_the_last_responsible_moment() -> None:
    away = msgspec.structs.replace(BUSY, up=False, down_s=600.0)
    due = run(hours(8), deadline_s=10 * HOUR)
    assert plan(snapshot(due, gpu=away)) == [], "64 rows take the cloud ten seconds"
    assert len(plan(snapshot(run(hours(8), deadline_s=10), gpu=away))) == 4, "its stock of 30 rows"
    for never in (msgspec.structs.replace(away, down_s=math.inf), msgspec.structs.replace(away, slots=0)):
        assert len(plan(snapshot(due, gpu=never))) == 4
    long_gone = msgspec.structs.replace(away, down_s=6.0 * HOUR)  # will be back when two hours are left: six are short
    assert plan(snapshot(due, gpu=long_gone, batch_targets={"mini": OFFICE})) == [], "a batch has time enough later"
    moves = moved(plan(snapshot(due, gpu=long_gone, batch_targets={"mini": NOW_OR_NEVER})))
    assert 4 <= len(moves) <= 5 and {lane for _, lane in moves} == {"provider_batch"}


def test_a_run_without_a_deadline_orders_what_its_lane_would_have_done_while_it_was_away() -> None:
    """A breaker that was open for a second had the whole run ordered, and the lane idle when it was back."""
    slow = msgspec.structs.replace(OFFICE, latency_p50_s=HOUR, latency_p90_s=2 * HOUR)

    def ordered(
        away_s: float, waiting: tuple[BatchView, ...], out: tuple[BatchView, ...] = (), **more: Any
    ) -> list[str]:
        gpu = msgspec.structs.replace(BUSY, up=False, down_s=away_s)
        moves = rings(snapshot(run(waiting, sent=out), gpu=gpu, batch_targets={"mini": slow}, **more))
        assert {move.lane for move in moves} <= {"provider_batch"}, "the rest has time"
        return [move.batch for move in moves]

    assert ordered(0.0, batches(50)) == ordered(HOUR / 12 - 1, batches(50)) == []
    assert ordered(HOUR / 12, batches(50)) == ["b49", "b48", "b47"], "300 tokens"
    assert ordered(HOUR / 6, batches(47), sent(3, HOUR / 12 - 1, 100.0)) == [], "a few large orders"
    assert ordered(HOUR / 6, batches(47), sent(3, HOUR / 12, 100.0)) == ["b46", "b45", "b44"]
    assert len(ordered(math.inf, batches(50))) == 50, "nobody waits for it"
    two = {"small": ("gpu", "second", "mini")}
    second = {"gpu": BUSY, "second": BUSY, "mini": MINI}
    away = snapshot(run(batches(5)), gpu=BUSY, batch_targets={"mini": slow}, routes=two)
    gone = msgspec.structs.replace(BUSY, up=False, down_s=HOUR)
    assert plan(msgspec.structs.replace(away, targets={**second, "gpu": gone})) == [], "its fallback is up"


def test_a_second_local_server_is_a_fallback_and_does_nothing_while_the_first_is_up() -> None:
    """Or else half of what is short was not ordered, and too late bought: what both could do, one does."""
    second = msgspec.structs.replace(BUSY, name="second")

    def moves(first: TargetView, left_s: float, **more: object) -> list[tuple[str, str]]:
        given_ = snapshot(run(hours(20), deadline_s=left_s), gpu=first, **more)
        both = {**given_.targets, "second": second}
        routes = {"small": ("gpu", "second", "mini")}
        alone, two = plan(given_), plan(msgspec.structs.replace(given_, targets=both, routes=routes))
        assert moved(two) == moved(alone) or not first.up
        return moved(two)

    offices = {"mini": OFFICE}
    assert moves(BUSY, 10 * HOUR, batch_targets=offices) == [(f"b{i}", "provider_batch") for i in range(19, 10, -1)]
    assert moves(BUSY, 10.0), "real time as soon as the one has no time for it"
    gone = msgspec.structs.replace(BUSY, up=False, down_s=math.inf)
    assert moves(gone, 10 * HOUR, batch_targets=offices) == [(f"b{i}", "provider_batch") for i in range(19, 10, -1)]
    away = msgspec.structs.replace(gone, down_s=60.0, rate=2.5)
    assert moves(away, 10 * HOUR, batch_targets=offices) == [], "it will do all of it when it is back"


def test_a_fallbacks_batch_api_is_no_bargain_beside_the_route_s_own_cloud() -> None:
    """Half the price of a model that costs sixteen times as much was all that it was compared with."""
    big = msgspec.structs.replace(MINI, name="big")
    office = msgspec.structs.replace(OFFICE, name="big")

    def lanes(mini: TargetView, *offices: BatchTarget) -> set[tuple[str, str]]:
        given_ = snapshot(
            run(batches(2, route="cloudy")), mini=mini, batch_targets={each.name: each for each in offices}
        )
        both = msgspec.structs.replace(
            given_, targets={**given_.targets, "big": big}, routes={"cloudy": ("mini", "big")}
        )
        return {(move.lane, move.target) for move in rings(both)}

    off = msgspec.structs.replace(OFFICE, up=False)
    down = msgspec.structs.replace(MINI, up=False, down_s=2.0)
    assert lanes(MINI, office) == lanes(MINI, office, off) == {("cloud", "mini")}
    assert lanes(MINI, office, OFFICE) == {("provider_batch", "mini")}
    assert lanes(down, office, off) == {("cloud", "big")}, "a fallback for what it is down, and not for all that waits"
    assert lanes(msgspec.structs.replace(down, down_s=math.inf), office) == {("provider_batch", "big")}


def test_the_price_of_a_batch_says_how_much_of_the_shortage_is_ordered_where_it_is_now_or_never() -> None:
    unsure = msgspec.structs.replace(BUSY, spans=25)  # may do a tenth more or less than foreseen
    short = run(tuple(BatchView(f"b{i}", "small", 8, 360.0) for i in range(200)), deadline_s=10 * HOUR)
    ordered = [
        len(
            plan(
                snapshot(short, gpu=unsure, batch_targets={"mini": msgspec.structs.replace(NOW_OR_NEVER, price=price)})
            )
        )
        for price in (0.1, 0.5, 0.9, 1.0)
    ]
    assert ordered == sorted(ordered, reverse=True) and ordered[3] == 0 < ordered[2]
    assert ordered[1] == 100, "the median"
    assert ordered[0] > 110 and ordered[2] < 90


def test_what_can_be_ordered_later_as_well_is_ordered_when_it_is_certain() -> None:
    """A newsvendor who may wait: half the price, so what is short with a probability of a half where waiting loses everything."""
    due = run(hours(20), deadline_s=10 * HOUR)
    sure = [
        sureness(given_ := snapshot(due, gpu=BUSY, batch_targets={"mini": msgspec.structs.replace(
            OFFICE, latency_p50_s=median_h * HOUR, latency_p90_s=1.1 * median_h * HOUR)}), ways(given_), [due])["r"]
        for median_h in (0.5, 7.0, 8.0, 9.0)
    ]  # fmt: skip
    assert sure == sorted(sure, reverse=True) and sure[0] == MOST_SURE and sure[-1] == pytest.approx(0.5, abs=0.01)
    without = snapshot(due)
    assert sureness(without, ways(without), [due]) == {}, "without a batch API nothing is ordered"


def test_work_that_was_only_guessed_is_ordered_with_more_care() -> None:
    """Answers may be half as long as was guessed: what would then fit is not bought before it is known."""
    known, guessed = (
        [m.batch for m in rings(snapshot(run(hours(20, guessed=each), deadline_s=10 * HOUR), gpu=BUSY, batch_targets={"mini": OFFICE}))]
        for each in (False, True)
    )  # fmt: skip
    assert len(known) == 9 and guessed == []


def test_the_tail_leaves_first_not_what_is_small_enough() -> None:
    small = tuple(BatchView(f"a{i}", "small", 8, 360.0) for i in range(5))
    large = tuple(BatchView(f"b{i}", "small", 8, 36_000.0) for i in range(3))  # ten hours each; three are short
    given_ = snapshot(run(small + large, deadline_s=20.5 * HOUR), gpu=BUSY, batch_targets={"mini": OFFICE})
    assert moved(plan(given_)) == []
    assert moved(plan(msgspec.structs.replace(given_, runs=(run(small + large, deadline_s=15 * HOUR),)))) == [
        ("b2", "provider_batch")
    ]


def test_little_is_no_order() -> None:
    many = tuple(BatchView(f"b{i}", "small", 8, 36.0) for i in range(1000))
    for due_s, ordered in ((9.6 * HOUR, 0), (9.0 * HOUR, 1)):
        moves = plan(snapshot(run(many, deadline_s=due_s), gpu=BUSY, batch_targets={"mini": OFFICE}))
        assert bool(moves) == bool(ordered)


def test_a_batch_api_is_given_no_more_than_it_takes_and_nothing_while_it_is_down() -> None:
    wide = run(batches(4, route="cloudy"))
    for office, lanes in (
        (msgspec.structs.replace(OFFICE, room_rows=20), ["provider_batch", "provider_batch"]),
        (msgspec.structs.replace(OFFICE, up=False), ["cloud"] * 4),
    ):
        assert [lane for _, lane in moved(plan(snapshot(wide, gpu=BUSY, batch_targets={"mini": office})))] == lanes


def test_what_is_out_is_recalled_in_time_to_buy_it_as_fast_as_the_cloud_can_take_it() -> None:
    """160 rows are out, which take the cloud 450 s and a margin: from then on so many come back that it is busy for a while."""
    mini = msgspec.structs.replace(MINI, rows_per_s=0.5)
    older, newer = sent(10, 700), tuple(msgspec.structs.replace(b, id=f"n{b.id}") for b in sent(10, 600))

    def recalled(left_s: float, **more: object) -> list[str]:
        due = run((), deadline_s=left_s, sent=older + newer)
        moves = plan(
            snapshot(due, gpu=BUSY, mini=msgspec.structs.replace(mini, **more), batch_targets={"mini": OFFICE})
        )
        return [move.batch for move in moves]

    assert recalled(600) == []
    assert recalled(500) == [f"ns{i}" for i in range(6)], "the last that were ordered: 45 rows"
    assert recalled(500, rung_rows=100) == [], "the cloud has enough to do"
    assert recalled(60) == [*(f"ns{i}" for i in range(10)), *(f"s{i}" for i in range(10))], "all have had their time"
