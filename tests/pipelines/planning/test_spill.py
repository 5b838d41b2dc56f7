"""What leaves for money and when, by the moves of plan(): orders at a batch API, recalls, the last responsible moment."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from pipelines.plan import plan
from pipelines.planning.capacity import cloud_rate, stock, ways
from pipelines.planning.offices import MOST_SURE, sureness
from pipelines.planning.snapshot import BatchTarget, BatchView, RunView, TargetView
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
    unsure = msgspec.structs.replace(BUSY, spans=0)
    assert plan(snapshot(short, gpu=unsure, batch_targets={"mini": OFFICE})) == []


def test_a_lane_that_is_down_is_waited_for_until_the_last_responsible_moment() -> None:
    away = msgspec.structs.replace(BUSY, up=False, down_s=600.0)
    due = run(hours(8), deadline_s=10 * HOUR)
    assert plan(snapshot(due, gpu=away)) == [], "64 rows take the cloud ten seconds"
    gone = [len(plan(snapshot(run(hours(8), deadline_s=left), gpu=away))) for left in (12, 11, 10, 9, 8, 4)]
    assert gone == [0, 1, 2, 3, 4, 4], "what it could not be given later, up to its stock of 30 rows"
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
    assert ordered(HOUR / 6, batches(47), ordered={("gpu", "c"): 500.0}) == ["b46"], (
        "what has come back is not ordered anew"
    )


def test_a_deadline_that_cannot_be_kept_stops_nobody_from_buying_in_time() -> None:
    """Thousands of rows due in eight seconds: what the cloud was offered of them left nothing to buy for who is due behind."""
    away = msgspec.structs.replace(BUSY, up=False, down_s=600.0)
    rows = tuple(BatchView(f"a{i}", "small", 8, 3600.0) for i in range(500))
    hopeless = msgspec.structs.replace(run(rows, deadline_s=8), id="a", client="acme")
    mine = run(tuple(BatchView(f"b{i}", "small", 8, 3600.0) for i in range(10)), deadline_s=10)
    beside = [move for move in plan(snapshot(hopeless, mine, gpu=away)) if move.run == mine.id]
    assert beside and len(beside) <= len(plan(snapshot(mine, gpu=away)))


def test_what_was_ordered_while_a_lane_was_away_is_taken_back_when_it_is_there_to_stay() -> None:
    """It costs nothing there, and the run has time."""
    steady = msgspec.structs.replace(BUSY, steady=True)
    out = sent(1, 60)[0]

    def moves(gpu: TargetView, *out: BatchView, **more: Any) -> list[tuple[str, str]]:
        return moved(plan(snapshot(run((), sent=out, **more), gpu=gpu, batch_targets={"mini": OFFICE})))

    assert moves(steady, out) == [("s0", "recall")]
    assert moves(BUSY, out) == [], "it may be away again in a moment"
    assert moves(msgspec.structs.replace(BUSY, up=False, down_s=60.0), out) == []
    assert moves(steady, out, deadline_s=9 * HOUR) == [], "short all the same"
    assert moves(steady, msgspec.structs.replace(out, lanes="cloud")) == [], "the lane has had its say"
    assert moves(steady, msgspec.structs.replace(out, route="cloudy")) == []


def test_of_a_lane_that_is_away_each_client_orders_its_share() -> None:
    """The one with the oldest runs had all of it."""
    gone = msgspec.structs.replace(BUSY, up=False, down_s=HOUR / 12)
    slow = msgspec.structs.replace(OFFICE, latency_p50_s=HOUR, latency_p90_s=2 * HOUR)

    def mine(client: str, at: int) -> RunView:
        waiting = tuple(BatchView(f"{client}{at}.{i}", "small", 8, 50.0) for i in range(20))
        return run(waiting, id=f"{client}{at}", client=client, created_ms=at)

    runs = (mine("a", 1), mine("a", 2), mine("a", 3), mine("b", 4))
    moves = rings(snapshot(*runs, gpu=gone, batch_targets={"mini": slow}))
    assert sorted(move.batch[0] for move in moves) == ["a"] * 3 + ["b"] * 3, "300 tokens"


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
    unsure = msgspec.structs.replace(BUSY, spans=6)  # may do a tenth more or less than foreseen
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


def test_what_a_client_has_there_takes_of_the_room_and_leaves_others_their_turn() -> None:
    """An API with room for 150 lines was given 300, which the lane did not get back until they were recalled."""
    small = msgspec.structs.replace(OFFICE, room_rows=20)

    def given(out_rows: int, rows: int, client: str = "c") -> int:
        out = (BatchView("s", "cloudy", out_rows, 100.0, target="mini", sent_ms=NOW - 60_000),) if out_rows else ()
        mine = run(batches(4, rows=rows, route="cloudy"), client=client)
        theirs = msgspec.structs.replace(run((), sent=out), id="o")
        return len(moved(plan(snapshot(mine, theirs, gpu=BUSY, batch_targets={"mini": small}))))

    assert [given(out, rows=8) for out in (0, 4, 12, 16, 40)] == [2, 2, 1, 0, 0]
    assert given(40, rows=8, client="d") == 2, "the lane takes turns among them"
    assert given(0, rows=50) == 1 and given(1, rows=50) == 0, "one batch, where nothing is"


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


UNHEARD = BatchTarget("mini", True, 1000, heard=False)
"""Nobody knows how long it takes; such APIs take an hour."""
SHORT = tuple(BatchView(f"b{i}", "small", 4, 100.0) for i in range(40))
"""Of four minutes, of which the local lane does half."""
SLOW = msgspec.structs.replace(GPU, rung_rows=100, rate=8.0, spans=3)


def test_a_batch_api_of_which_nobody_has_heard_is_tried_with_a_few_rows_that_are_short() -> None:
    def moves(office: BatchTarget, waiting: tuple[BatchView, ...] = SHORT, **more: Any) -> list[tuple[str, str]]:
        due = run(waiting, deadline_s=240, **more)
        return moved(plan(snapshot(due, gpu=SLOW, batch_targets={"mini": office})))

    assert moves(UNHEARD) == [("b39", "provider_batch"), ("b38", "provider_batch")], "eight rows"
    out = BatchView("s", "small", 4, 100.0, target="mini", sent_ms=NOW - 20_000)
    assert moves(msgspec.structs.replace(UNHEARD, waited_s=20.0), sent=(out,)) == [], "it is not back"
    stuck = msgspec.structs.replace(out, sent_ms=NOW - 45_000)
    again = moves(msgspec.structs.replace(UNHEARD, waited_s=45.0), sent=(stuck,))
    assert again == [("b39", "provider_batch"), ("b38", "provider_batch")], "it may be the only one that is stuck"
    assert moves(msgspec.structs.replace(UNHEARD, waited_s=170.0)) == [], "earlier ones took longer than this one could"
    assert moves(UNHEARD, SHORT[:18]) == [], "the lane will do it all"
    quick = BatchTarget("mini", True, 1000, latency_p50_s=15.0, latency_p90_s=45.0)
    assert len(moves(quick)) > 4, "what is short, once it is known that it comes back in time"


def test_before_an_order_a_cloud_that_nobody_has_asked_is_asked_a_few_rows() -> None:
    """Taken for a slow one it would have needed all that was left to buy 736 rows: they were called back from an API that answered
    in ten seconds, and 32 bought."""
    heard = BatchTarget("mini", True, 1000, latency_p50_s=15.0, latency_p90_s=45.0)

    def moves(mini: TargetView, left_s: float, office: BatchTarget = heard) -> list[tuple[str, str]]:
        due = run(SHORT, deadline_s=left_s)
        return moved(plan(snapshot(due, gpu=SLOW, mini=mini, batch_targets={"mini": office})))

    unasked = msgspec.structs.replace(MINI, rows_per_s=0.0, spans=0)
    assert moves(unasked, 240)[0] == ("b39", "cloud") and {lane for _, lane in moves(unasked, 240)[1:]} == {
        "provider_batch"
    }
    assert moves(unasked, 240, UNHEARD)[0] == ("b39", "cloud"), "nor has anybody the API"
    for known in (
        MINI,
        msgspec.structs.replace(unasked, rung_rows=4),
        msgspec.structs.replace(unasked, up=False, down_s=5.0),
    ):
        assert {lane for _, lane in moves(known, 240)} == {"provider_batch"}
    whole = (msgspec.structs.replace(SHORT[0], rows=60, route="cloudy"),)
    alone = snapshot(run(whole, deadline_s=240), mini=unasked, batch_targets={"mini": heard})
    assert moved(plan(alone)) == [("b0", "provider_batch")], "not all of it"
    days = tuple(msgspec.structs.replace(batch, work=50_000.0) for batch in SHORT)
    due = run(days, deadline_s=10 * HOUR)
    there = snapshot(due, gpu=BUSY, mini=unasked, batch_targets={"mini": OFFICE})
    assert {lane for _, lane in moved(plan(there))} == {"provider_batch"}, (
        "the last tenth of its time is enough for any cloud"
    )


def test_what_has_no_local_lane_waits_for_the_trial_as_long_as_there_is_time() -> None:
    wide = tuple(msgspec.structs.replace(batch, route="cloudy", rows=40) for batch in SHORT[:4])

    def moves(waited_s: float, left_s: float, sent: tuple[BatchView, ...] = ()) -> list[tuple[str, str]]:
        office = msgspec.structs.replace(UNHEARD, waited_s=waited_s)
        return moved(plan(snapshot(run(wide, deadline_s=left_s, sent=sent), batch_targets={"mini": office})))

    assert moves(0.0, 240) == [("b3", "provider_batch")], "one batch, however large"
    out = (BatchView("s", "cloudy", 40, 100.0, target="mini", sent_ms=NOW - 20_000),)
    assert moves(20.0, 220, out) == []
    assert [lane for _, lane in moves(100.0, 140, out)] == ["cloud"], (
        "it will not be back: real time, to the cloud's stock"
    )


def test_nothing_is_bought_of_a_run_that_has_just_begun_and_of_which_all_is_guessed() -> None:
    """In two minutes at load 0.9 a tenth of the rows had been bought when the first answers came."""
    new = msgspec.structs.replace(GPU, rate=0.0, rows_per_s=0.0)
    cloud = msgspec.structs.replace(MINI, rows_per_s=0.0, spans=0)
    many = tuple(BatchView(f"b{i}", "small", 8, 1600.0, guessed=True) for i in range(60))
    for age_s, lanes in ((5, {"local"}), (20, {"local", "cloud"})):
        due = run(many, deadline_s=100, created_ms=NOW - 1000 * age_s)
        assert {lane for _, lane in moved(plan(snapshot(due, gpu=new, mini=cloud)))} == lanes
    climbing = msgspec.structs.replace(GPU, rate=400.0, spans=1, climbing=True)
    known = tuple(msgspec.structs.replace(batch, guessed=False) for batch in many)
    for age_s, lanes in ((20, {"local"}), (40, {"local", "cloud"})):
        due = run(known, deadline_s=100, created_ms=NOW - 1000 * age_s)
        assert {lane for _, lane in moved(plan(snapshot(due, gpu=climbing, mini=cloud)))} == lanes
    # 304 rows may be short: a cloud of 4 a second can do them after the look as well, one of 3.5 only at once, one of 2 not at all
    for limit_rows_per_s, lanes in ((4.0, {"local"}), (3.5, {"local", "cloud"}), (2.0, {"local"})):
        narrow = msgspec.structs.replace(MINI, rows_per_s=limit_rows_per_s, limit_rows_per_s=limit_rows_per_s)
        due = run(known, deadline_s=100, created_ms=NOW - 20_000)
        assert {lane for _, lane in moved(plan(snapshot(due, gpu=climbing, mini=narrow)))} == lanes, limit_rows_per_s


def test_what_is_not_out_is_bought_while_the_provider_gives_the_rest_back() -> None:
    """Eight rows of a trial that took a minute to come back had everything else bought a minute earlier."""
    out = (BatchView("s", "small", 8, 100.0, target="mini", sent_ms=NOW - 20_000),)
    for left_s, lanes in ((75, set()), (60, {"recall"}), (8, {"cloud", "recall"})):
        due = run(SHORT[:20], deadline_s=left_s, sent=out)
        moves = moved(plan(snapshot(due, gpu=SLOW, batch_targets={"mini": OFFICE})))
        assert {lane for _, lane in moves} == lanes, left_s


def test_a_cloud_that_was_hardly_asked_is_believed_a_few_times_what_it_did() -> None:
    few = msgspec.structs.replace(MINI, slots=60, rows_per_s=3.0, latency_s=1.0, spans=0)
    assert cloud_rate(few) == 12.0
    assert cloud_rate(msgspec.structs.replace(few, rows_per_s=30.0)) == 60.0, "no more than its slots"
    assert cloud_rate(msgspec.structs.replace(few, rows_per_s=0.5)) == 10.0, "as one that nobody has asked"
    assert cloud_rate(msgspec.structs.replace(few, spans=1)) == 3.0, "all of them were in use"
    assert cloud_rate(msgspec.structs.replace(few, limit_rows_per_s=5.0)) == 5.0


def test_no_more_is_rung_to_a_cloud_than_its_limits_admit_in_a_moment() -> None:
    """128 rows waited for more than a minute at a hundred calls a minute, while the local lane had nothing left to do."""
    limited = msgspec.structs.replace(MINI, slots=64, rows_per_s=1.6, limit_rows_per_s=100 / 60)
    assert [stock(msgspec.structs.replace(limited, limit_rows_per_s=most)) for most in (100 / 60, math.inf)] == [
        100 / 60 * 3.5,
        128,
    ]
    slow = msgspec.structs.replace(limited, rows_per_s=15.0, limit_rows_per_s=15.0, latency_s=4.0)
    assert stock(slow) >= 15 * 4, (
        "45 in flight, and the cloud did ten rows a second of fifteen: a thirtieth of a job was late"
    )
    for cloud, bought in ((limited, 2), (msgspec.structs.replace(limited, rows_per_s=0.0), 1)):
        moves = moved(plan(snapshot(run(SHORT, deadline_s=30), gpu=SLOW, mini=cloud)))
        assert [lane for _, lane in moves] == ["cloud"] * bought, "for three seconds; four where nobody has asked it"


def bought(due: RunView, gpu: TargetView, cloud: TargetView) -> int:
    """Batches that are rung to the cloud now."""
    return sum(ring.lane == "cloud" for ring in rings(snapshot(due, gpu=gpu, mini=cloud)))


def test_tokens_a_minute_are_turned_into_rows_by_what_leaves() -> None:
    """The tail was of long prompts: 0.66 rows a second, of the mean of what waited 3.4. The cloud was idle for the first 175 of 300 s,
    and 36 of 1,265 rows were late."""
    short = tuple(BatchView(f"s{i}", "small", 4, 240.0, cloud_s=4 * 74 / 667) for i in range(275))
    long = tuple(BatchView(f"l{i}", "small", 4, 1240.0, cloud_s=4 * 1011 / 667) for i in range(41))
    gpu = msgspec.structs.replace(GPU, rate=250.0, rung_rows=100, spans=100_000)
    cloud = msgspec.structs.replace(MINI, slots=32, rows_per_s=3.4, latency_s=0.5, limit_rows_per_s=3.4, spans=0)
    for left_s, rung in ((390, 0), (290, 1)):  # 16 and 36 of the long batches are short
        due = run(short + long, deadline_s=left_s)
        assert bought(due, gpu, cloud) == rung, left_s
    assert bought(run(long + short, deadline_s=290), gpu, cloud) == 0, (
        "760 rows of the tail, of which nine a second may go"
    )


def test_what_its_limits_admit_of_the_tail_is_all_that_is_rung() -> None:
    """Three seconds' rows of the mean were eighteen seconds' of long prompts."""
    tail = tuple(BatchView(f"l{i}", "small", 1, 1240.0, cloud_s=1.5) for i in range(100))
    cloud = msgspec.structs.replace(MINI, slots=32, rows_per_s=3.4, latency_s=0.5, limit_rows_per_s=3.4)
    assert bought(run(tail, deadline_s=60), SLOW, cloud) == 3
    calls = msgspec.structs.replace(cloud, calls_per_s=0.25)
    assert bought(run(tail, deadline_s=60), SLOW, calls) == 1


def test_a_cloud_that_said_it_was_asked_too_much_is_believed_what_it_did() -> None:
    """One a second, and eleven were believed: it was first asked eleven seconds before the deadline, and 45 rows were late."""
    few = msgspec.structs.replace(MINI, slots=64, rows_per_s=1.1, latency_s=0.5, spans=0)
    assert cloud_rate(few) > 10
    assert cloud_rate(msgspec.structs.replace(few, throttled=True)) == 1.1
    known = msgspec.structs.replace(few, throttled=True, limit_rows_per_s=5.0)
    assert cloud_rate(known) == 5.0, "its limits say more than a few calls"
