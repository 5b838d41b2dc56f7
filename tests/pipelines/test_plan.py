"""plan() as a table of snapshots -> moves, and its properties over generated snapshots."""

from __future__ import annotations

import math
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.plan import WORTH_TRYING, plan
from pipelines.planning.capacity import (
    FIRST_ASKED,
    FIRST_BOUGHT,
    STOCK_SLOTS,
    is_stocked,
    left_s,
    stock,
    too_late,
    waiting_rows,
    ways,
)
from pipelines.planning.shortage import load, shortages
from pipelines.planning.snapshot import BatchTarget, BatchView, Recall, Ring, RunView, Snapshot, TargetView
from tests.pipelines.snapshots import GPU, MINI, NOW, batches, moved, rings, run, snapshot

HOUR = 3600
DOWN = msgspec.structs.replace(GPU, up=False)
FULL = msgspec.structs.replace(GPU, rung_rows=100)


def held(where: str) -> BatchView:
    """The first of `batches`, with a call that no budget has room for."""
    return msgspec.structs.replace(batches(1)[0], held=where)


@pytest.mark.parametrize(
    ("name", "given_", "expected"),
    [
        ("nothing waits", snapshot(run(())), []),
        (
            "no deadline: all local, from the head, up to the stock",
            snapshot(run(batches(3))),
            [("b0", "local"), ("b1", "local")],
        ),
        ("no deadline, local full: nothing spills", snapshot(run(batches(3)), gpu=FULL), []),
        (
            "local down: the tail goes to the cloud",
            snapshot(run(batches(2)), gpu=DOWN),
            [("b1", "cloud"), ("b0", "cloud")],
        ),
        ("no local target: cloud", snapshot(run(batches(1, route="cloudy"))), [("b0", "cloud")]),
        ("no cloud target and local down: wait", snapshot(run(batches(1, route="homely")), gpu=DOWN), []),
        ("local gave up: cloud at once", snapshot(run(batches(1, lanes="cloud")), gpu=FULL), [("b0", "cloud")]),
        ("cloud gave up: only local", snapshot(run(batches(1, lanes="local")), gpu=DOWN), []),
        ("may not buy: no cloud move", snapshot(run(batches(2), may_buy=False), gpu=DOWN), []),
        ("may not buy: local goes on", snapshot(run(batches(1), may_buy=False)), [("b0", "local")]),
        (
            "one that fits into no budget holds up no other",
            snapshot(run((held("cloud"), *batches(2)[1:])), gpu=DOWN),
            [("b1", "cloud")],
        ),
        ("held on the cloud: local goes on", snapshot(run((held("cloud"),))), [("b0", "local")]),
        ("held on a local lane that costs: it waits", snapshot(run((held("any"),))), []),
        (
            "waited for: what local cannot take now goes to the cloud",
            snapshot(run(batches(2), waited_for=True), gpu=FULL),
            [("b1", "cloud"), ("b0", "cloud")],
        ),
        ("waited for: local first", snapshot(run(batches(1), waited_for=True)), [("b0", "local")]),
        (
            "waited for and may not buy: local or nothing",
            snapshot(run(batches(2), waited_for=True, may_buy=False), gpu=FULL),
            [],
        ),
        ("enough time: nothing spills", snapshot(run(batches(3), deadline_s=60), gpu=FULL), []),
        (
            "short of time: just the shortage leaves, from the tail",
            # 300 tokens of work, 100 per second, 2.4 * 0.85 - 0.25 s usable: one and a fifth of a batch short
            snapshot(run(batches(3), deadline_s=2.4), gpu=FULL),
            [("b2", "cloud"), ("b1", "cloud")],
        ),
        (
            "short, but not yet the last responsible moment",
            snapshot(run(batches(30, work=1000), deadline_s=200), gpu=FULL),
            [],
        ),
    ],
)
def test_table(name: str, given_: Snapshot, expected: list[tuple[str, str]]) -> None:
    assert moved(plan(given_)) == expected, name


def test_what_is_not_prepared_yet_needs_its_time_in_the_cloud_too() -> None:
    mini = msgspec.structs.replace(MINI, rows_per_s=100.0)
    few = run(batches(4), deadline_s=60)  # 32 rows need a third of a second: not yet
    far = msgspec.structs.replace(few, ahead=100_000.0)  # 8,000 rows more, of which local does 400 in the time left
    assert not [m for m in rings(snapshot(few, gpu=FULL, mini=mini)) if m.lane == "cloud"]
    assert len([m for m in rings(snapshot(far, gpu=FULL, mini=mini)) if m.lane == "cloud"]) == 4


def test_what_would_not_be_done_in_time_is_not_rung_locally_while_the_cloud_could_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.planning.capacity.DECIDED", 1.0)
    gpu = msgspec.structs.replace(
        GPU, rows_per_s=10.0
    )  # a stock of three seconds; a batch takes a second, a call half of one
    short = run(batches(4), deadline_s=3.3)  # 3.3 * 0.85 s: the third would end after 3 and a call
    assert [m.batch for m in rings(snapshot(short, gpu=gpu)) if m.lane == "local"] == ["b0", "b1"]
    assert len([m for m in rings(snapshot(run(batches(4)), gpu=gpu)) if m.lane == "local"]) == 4, "the stock"
    late = run(batches(3), deadline_s=1)
    assert [m for m in rings(snapshot(late, gpu=gpu)) if m.lane == "local"] == []
    alone = msgspec.structs.replace(late, may_buy=False)
    assert [m.batch for m in rings(snapshot(alone, gpu=gpu))] == ["b0", "b1"], "with nobody else to ask, late is better"


def test_cloud_is_filled_no_further_than_its_stock() -> None:
    moves = plan(snapshot(run(batches(50, rows=8)), gpu=DOWN))
    assert 0 < sum(8 for _ in moves) < stock(MINI) + 8


def test_a_cloud_that_nobody_has_asked_is_asked_some_rows_early_enough_for_a_slow_one() -> None:
    """Of 60 seconds' work 30 are short: of a cloud that is known to be quick nothing is bought yet."""
    short = run(batches(60, rows=4), deadline_s=33)
    quick = TargetView("mini", "cloud", True, 64, rows_per_s=64.0, latency_s=1.0)
    given_ = snapshot(short, gpu=FULL)
    new = msgspec.structs.replace(quick, rows_per_s=0.0)
    limited = msgspec.structs.replace(new, limit_rows_per_s=20.0)  # what it can do is known, but not how soon
    for mini, rows in ((quick, 0), (new, FIRST_BOUGHT), (limited, FIRST_ASKED)):
        told = msgspec.structs.replace(given_, targets={**given_.targets, "mini": mini})
        assert sum(4 for move in rings(told) if move.lane == "cloud") == rows


@pytest.mark.parametrize(("left_s", "rung", "bought"), [(26, 0, 0), (25, 0, 1), (23, 0, 3), (23, 8, 3), (1, 0, 4)])
def test_at_the_last_moment_only_what_the_cloud_could_not_be_given_later_leaves(
    left_s: float, rung: int, bought: int
) -> None:
    """All that was short left at once, twelve seconds before a deadline: what was learned in the ten after that came too late."""
    slow = msgspec.structs.replace(FULL, rate=1.0)
    mini = msgspec.structs.replace(
        MINI, rung_rows=rung
    )  # it needs 1.4 * rows / 10 + 3 seconds; its stock is of 30 rows
    short = snapshot(run(batches(20), deadline_s=left_s), gpu=slow, mini=mini)
    assert len([move for move in rings(short) if move.lane == "cloud"]) == bought


def test_what_the_cloud_could_not_answer_any_more_stays_local() -> None:
    """It was bought, and late: ten rows three seconds before a deadline, at a cloud of seven."""
    slow = msgspec.structs.replace(MINI, latency_s=7.0)
    late = run(batches(3), deadline_s=3)
    for gpu, lane in ((GPU, "local"), (DOWN, "cloud")):  # where it has no other it may still be lucky
        assert {move.lane for move in rings(snapshot(late, gpu=gpu, mini=slow))} == {lane}


def test_the_first_target_that_is_up_is_used() -> None:
    routes = {"small": ("gpu", "gpu2", "mini")}
    gpu2 = msgspec.structs.replace(GPU, name="gpu2")
    given_ = Snapshot(NOW, {"gpu": DOWN, "gpu2": gpu2, "mini": MINI}, routes, (run(batches(1)),))
    assert [(m.lane, m.target) for m in rings(given_)] == [("local", "gpu2")]


def reading(head: int, tail: int) -> tuple[BatchView, ...]:
    """Batches of 100 work each: at the head prompts that are written long, at the tail such that are read long."""
    written = tuple(BatchView(f"w{i}", "small", 8, 100.0, read=5.0) for i in range(head))
    return written + tuple(BatchView(f"r{i}", "small", 8, 100.0, read=95.0) for i in range(tail))


def test_a_server_reads_while_it_writes_where_nothing_will_spill() -> None:
    wide = msgspec.structs.replace(GPU, slots=32)
    mixed = [m.batch for m in rings(snapshot(run(reading(6, 6)), gpu=wide))]
    assert mixed[:4] == ["w0", "r5", "r4", "w1"] or mixed[:4] == ["w0", "r5", "w1", "r4"]
    assert abs(sum(name.startswith("w") for name in mixed) - len(mixed) / 2) <= 1
    full_of_writing = msgspec.structs.replace(wide, rung_work=400.0, rung_read=20.0)
    assert [m.batch for m in rings(snapshot(run(reading(6, 6)), gpu=full_of_writing))][:3] == ["r5", "r4", "r3"]
    few = [m.batch for m in rings(snapshot(run(reading(6, 1)), gpu=wide))]
    assert few.index("r0") > 0, "one in seven of the work, and not at once"
    tight = rings(snapshot(run(reading(6, 6), deadline_s=13.5), gpu=msgspec.structs.replace(wide, spans=100)))
    assert [m.batch for m in tight if m.lane == "local"][:4] == ["w0", "w1", "w2", "w3"], (
        "the tail is the cloud's, should it come to that"
    )


def test_rows_that_take_long_are_rung_fewer_at_a_time() -> None:
    """By seconds of work, not by rows: what is rung stays local, and the rows a second of short prompts say nothing of long ones."""
    gpu = msgspec.structs.replace(GPU, rows_per_s=100.0)  # of 1 work each until now
    for rows, work, due_s, rung in (
        (8, 8.0, None, 38), (8, 8.0, 120, 26), (8, 8.0, 30, 13),  # of one second each; four of them have a slot
        (8, 600.0, None, 1), (2, 600.0, None, 3), (1, 600.0, None, 5),  # no slot waits for the next tick
    ):  # fmt: skip
        given_ = snapshot(run(batches(40, rows=rows, work=work), deadline_s=due_s, may_buy=False), gpu=gpu)
        assert len(rings(given_)) == rung


def test_clients_share_by_work_served_per_weight() -> None:
    a = msgspec.structs.replace(run(batches(4, rows=1)), id="ra", client="a")
    b = RunView("rb", "b", 1, None, tuple(BatchView(f"x{i}", "small", 1, 100.0) for i in range(4)))
    gpu = msgspec.structs.replace(GPU, slots=2, rows_per_s=1.0)
    moves = rings(snapshot(a, b, gpu=gpu, served={"a": 150.0}))
    assert [m.run for m in moves] == ["rb", "rb", "ra", "rb", "ra"]
    heavy = rings(snapshot(a, b, gpu=gpu, weights={"a": 3.0}))
    assert [m.run for m in heavy].count("ra") == 4


def test_inside_a_client_the_earliest_deadline_goes_first() -> None:
    late = msgspec.structs.replace(run(batches(1)), id="late")
    soon = RunView("soon", "c", 5, NOW + 3_600_000, (BatchView("s0", "small", 8, 100.0),))
    assert [m.run for m in rings(snapshot(late, soon))] == ["soon", "late"]


def test_before_anything_was_measured_all_kinds_of_prompts_are_tried() -> None:
    new = msgspec.structs.replace(GPU, rate=0.0, rows_per_s=0.0)
    first = rings(snapshot(run(batches(80, rows=1), deadline_s=HOUR), gpu=new))
    assert [int(move.batch[1:]) for move in first[:8]] == [70, 0, 40, 20, 60, 10, 30, 50]


def test_each_group_of_answers_that_nobody_has_measured_is_tried_first() -> None:
    """Of three groups one was all at the tail and none of the eight places hit it: 32 of the longest answers were taken for short
    ones, and cost the lane a tenth of its time."""
    new = msgspec.structs.replace(GPU, rate=0.0, rows_per_s=0.0)
    known = tuple(BatchView(f"k{i}", "small", 1, 9.0, group="k") for i in range(3))
    of = {
        g: tuple(BatchView(f"{g}{i}", "small", 1, 9.0, group=g, guessed=True) for i in range(n))
        for g, n in (("a", 9), ("b", 3))
    }
    first = [m.batch for m in rings(snapshot(run((*known, *of["a"], *of["b"]), deadline_s=HOUR), gpu=new))]
    assert first[:4] == ["a4", "b1", "k0", "k1"]
    many = tuple(
        BatchView(f"{g}.{i}", "small", 1, 9.0, group=str(g), guessed=True) for g in range(16) for i in range(2)
    )
    first = [m.batch for m in rings(snapshot(run(many, deadline_s=HOUR), gpu=new))]
    assert first[:9] == ["14.1", "0.1", "8.1", "4.1", "12.1", "2.1", "6.1", "10.1", "0.0"], (
        "eight of them, from all over the order"
    )


def test_a_group_that_nobody_has_measured_yet_is_tried_later_too_one_batch_at_a_time() -> None:
    """Or it would be held back until it is bought, however little it weighs."""
    known = tuple(BatchView(f"k{i}", "small", 8, 80.0, group="known") for i in range(5))
    new = tuple(BatchView(f"n{i}", "small", 8, 90.0, group="new", guessed=True) for i in range(5))
    one = run(known + new, deadline_s=HOUR)
    gpu = TargetView("gpu", "local", True, 8, rate=10.0, rows_per_s=1.0)
    assert [move.batch for move in rings(snapshot(one, gpu=gpu))] == ["n2", "k0"]
    few = msgspec.structs.replace(one, waiting=known + new[: WORTH_TRYING - 1])
    for at in (msgspec.structs.replace(one, trying=frozenset({"new"})), few):
        assert [move.batch for move in rings(snapshot(at, gpu=gpu))] == ["k0", "k1"]


def all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stock that shows the whole order."""
    monkeypatch.setattr("pipelines.planning.capacity.STOCK_S", 100.0)
    monkeypatch.setattr("pipelines.planning.capacity.DECIDED", 100.0)


def test_the_shortest_prompts_are_kept_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    all_at_once(monkeypatch)
    long = tuple(BatchView(f"l{i}", "small", 2, 200.0) for i in range(3))
    short = tuple(BatchView(f"s{i}", "small", 8, 80.0) for i in range(17))
    gpu = msgspec.structs.replace(GPU, spans=20)  # a long call takes four seconds, three of them 1,200 tokens' worth
    everything = msgspec.structs.replace(gpu, rows_per_s=100.0)
    order = [m.batch for m in rings(snapshot(run(short + long, deadline_s=HOUR), gpu=everything))]
    assert order == ["s15", "s16", "l0", "l1", "l2", *(f"s{i}" for i in range(15))]


def test_the_tail_that_is_short_is_not_begun_before_the_shortest_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones that belonged in the cloud had the lane until it was too late for a hundred labels, which save most."""
    all_at_once(monkeypatch)
    labels = tuple(BatchView(f"s{i}", "small", 8, 80.0) for i in range(6))
    long = tuple(BatchView(f"l{i}", "small", 8, 800.0) for i in range(6))
    gpu = msgspec.structs.replace(GPU, spans=10_000, rows_per_s=100.0)
    for due_s, before in ((HOUR, 6), (40, 4), (25, 2)):  # 0.99 of it, less a quarter of a second
        rung = [m.batch for m in plan(snapshot(run(labels + long, deadline_s=due_s), gpu=gpu, mini=None))]
        assert rung.index("s0") == before and rung[:before] == [f"l{i}" for i in range(before)]
        assert rung[before + 6 :] == [f"l{i}" for i in range(before, 6)]


def test_what_is_in_flight_is_half_done() -> None:
    """Sixteen calls of ten seconds were taken for five seconds of work that was not there."""
    lane = msgspec.structs.replace(GPU, rung_rows=8, rung_work=800.0, spans=10_000)
    busy = run(batches(1, work=100.0), deadline_s=10, ahead=800.0)  # 0.99 * 10 - 0.25 s of 100 tokens; 200 are done
    found = [
        shortages(given_ := snapshot(busy, gpu=gpu), {"r": load(given_, ways(given_), busy)}, [busy], {})["r"][
            "gpu"
        ].surely
        for gpu in (msgspec.structs.replace(lane, queued_work=400.0), msgspec.structs.replace(lane, queued_work=800.0))
    ]
    assert found == pytest.approx([900 - 965 - 200, 900 - 965], abs=0.1)


def test_prompts_whose_answers_nobody_has_measured_are_not_kept_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """How short they are is a guess."""
    all_at_once(monkeypatch)
    guessed = BatchView("g", "small", 8, 80.0, guessed=True)
    measured = BatchView("m", "small", 8, 80.0)
    long = BatchView("l", "small", 2, 200.0)
    gpu = msgspec.structs.replace(GPU, spans=20, rows_per_s=100.0)
    assert [m.batch for m in rings(snapshot(run((guessed, measured, long), deadline_s=HOUR), gpu=gpu))] == [
        "g",
        "l",
        "m",
    ]


def test_a_batch_of_guessed_answers_is_begun_only_where_much_longer_ones_would_end_in_time() -> None:
    """Eight of them had been taken for short ones, were begun 35 seconds before the deadline, and ended after it."""
    lane = msgspec.structs.replace(GPU, spans=100)
    [one] = batches(1)
    for guessed, lane_of in (
        (False, "local"),
        (True, "cloud"),
    ):  # a second of the lane and half a second's call; or three times
        late = snapshot(run((msgspec.structs.replace(one, guessed=guessed),), deadline_s=4.0), gpu=lane)
        assert [move.lane for move in rings(late)] == [lane_of]
    in_time = snapshot(run((msgspec.structs.replace(one, guessed=True),), deadline_s=HOUR), gpu=lane)
    assert [move.lane for move in rings(in_time)] == ["local"]


_batch = st.builds(
    BatchView,
    id=st.uuids().map(str),
    route=st.sampled_from(["small", "cloudy", "homely", "unknown"]),
    rows=st.integers(1, 256),
    work=st.floats(1, 10_000),
    lanes=st.sampled_from(["any", "cloud", "local"]),
    read=st.floats(0, 5_000),
    held=st.sampled_from(["", "cloud", "any"]),
    guessed=st.booleans(),
)
_run = st.builds(
    RunView,
    id=st.uuids().map(str),
    client=st.sampled_from(["a", "b"]),
    created_ms=st.integers(0, 10),
    deadline_ms=st.none() | st.integers(NOW - 1000, NOW + 100_000),
    waiting=st.lists(_batch, max_size=12).map(tuple),
    ahead=st.floats(0, 10_000),
    may_buy=st.booleans(),
    waited_for=st.booleans(),
    sent=st.lists(
        st.builds(
            BatchView,
            st.uuids().map(str),
            st.just("small"),
            st.integers(1, 99),
            st.floats(1, 999),
            target=st.just("mini"),
            sent_ms=st.integers(NOW - 100_000, NOW),
        ),
        max_size=3,
    ).map(tuple),
)
_office = st.none() | st.builds(
    BatchTarget,
    st.just("mini"),
    st.booleans(),
    st.integers(0, 500),
    st.floats(1, 100),
    st.floats(101, 1000),
    st.floats(0, 1),
)
_gpu = st.builds(
    TargetView, st.just("gpu"), st.just("local"), st.booleans(), st.integers(1, 64), st.integers(0, 200),
    st.floats(0, 1000), st.floats(0, 100), st.floats(0.01, 10), rung_work=st.floats(0, 10_000),
    down_s=st.floats(0, 1000) | st.just(math.inf), spans=st.integers(0, 500), rung_read=st.floats(0, 10_000),
    queued_work=st.floats(0, 10_000), steady=st.booleans(),
)  # fmt: skip


def rung_to(gpu: TargetView, given_: list[BatchView]) -> TargetView:
    """The same with these rung to it, in their order."""
    for batch in given_:
        rows = gpu.rung_rows + batch.rows
        waits = batch.work / batch.rows * waiting_rows(gpu.slots, batch.rows, rows)
        gpu = msgspec.structs.replace(
            gpu, rung_rows=rows, rung_work=gpu.rung_work + batch.work, queued_work=gpu.queued_work + waits
        )
    return gpu


@given(st.lists(_run, max_size=5), _gpu, _office)
def test_moves_are_lawful(runs: list[RunView], gpu: TargetView, office: BatchTarget | None) -> None:
    given_ = snapshot(*runs, gpu=gpu, batch_targets={"mini": office} if office else {})
    moves = plan(given_)
    known = {batch.id: (batch, r) for r in runs for batch in r.waiting}
    out = {batch.id: r for r in runs for batch in r.sent}
    assert len({move.batch for move in moves}) == len(moves), "one lane for a batch, one move"
    ordered: dict[str, list[int]] = {}
    for move in moves:
        if isinstance(move, Recall):
            owner = out[move.batch]
            assert owner.id == move.run
            assert owner.may_buy if owner.deadline_ms is not None else gpu.up and gpu.steady
            continue
        batch, owner = known[move.batch]
        target = given_.targets[move.target]
        assert move.run == owner.id and move.target in given_.routes[batch.route]
        assert batch.lanes in ("any", move.lane) or (batch.lanes == "cloud" and move.lane == "provider_batch")
        allowed = (batch.held != "any") if move.lane == "local" else (owner.may_buy and not batch.held)
        assert allowed, "never over a budget"
        if move.lane == "provider_batch":
            assert office is not None and office.up and not owner.waited_for
            ordered.setdefault(owner.client, []).append(batch.rows)
        else:
            assert target.up and target.lane == move.lane
    for rows in ordered.values():
        assert office is not None and office.room_rows > 0
        assert sum(rows) <= office.room_rows or len(rows) == 1, "each client its fill, or one batch that is larger"
    bought = sum(known[m.batch][0].rows for m in moves if isinstance(m, Ring) and m.lane == "cloud")
    assert bought < max(1, stock(MINI)) + 256, "no more than its slots are kept busy with, and a batch"
    assert plan(given_) == moves, "the same snapshot must give the same moves"


@given(st.lists(_run, max_size=5), _gpu, _office)
def test_moves_once_made_are_not_made_again(runs: list[RunView], gpu: TargetView, office: BatchTarget | None) -> None:
    """What was rung waits no more: after its moves a snapshot has no other move for the same batch, and none for local."""
    given_ = snapshot(*runs, gpu=gpu, batch_targets={"mini": office} if office else {})
    made = {move.batch: move for move in plan(given_) if isinstance(move, Ring)}
    known = {b.id: b for r in runs for b in r.waiting}
    full = rung_to(gpu, [known[move.batch] for move in made.values() if move.lane == "local"])
    left = tuple(
        msgspec.structs.replace(r, waiting=tuple(b for b in r.waiting if b.id not in made)) for r in given_.runs
    )
    after = msgspec.structs.replace(given_, runs=left, targets={**given_.targets, "gpu": full})
    again = [move for move in plan(after) if isinstance(move, Ring)]
    assert not {move.batch for move in again} & made.keys()
    assert not [move for move in again if move.lane == "local"]


@given(st.lists(_run, max_size=3), _gpu, _office, st.floats(0.01, 1000))
def test_what_is_ordered_is_not_recalled_at_the_next_look(
    runs: list[RunView], gpu: TargetView, office: BatchTarget | None, cloud_rows_per_s: float
) -> None:
    """An order that goes to and fro never comes back answered."""
    mini = msgspec.structs.replace(MINI, rows_per_s=cloud_rows_per_s)
    fresh = [msgspec.structs.replace(r, sent=()) for r in runs]
    given_ = snapshot(*fresh, gpu=gpu, mini=mini, batch_targets={"mini": office} if office else {})
    ordered = {m.batch for m in rings(given_) if m.lane == "provider_batch"}
    out = [
        msgspec.structs.replace(
            r,
            waiting=tuple(b for b in r.waiting if b.id not in ordered),
            sent=tuple(msgspec.structs.replace(b, target="mini", sent_ms=NOW) for b in r.waiting if b.id in ordered),
        )
        for r in fresh
    ]
    after = msgspec.structs.replace(given_, runs=tuple(out))
    assert not [m for m in plan(after) if isinstance(m, Recall)]


def bought_in_time_or_never(run: RunView, batch: BatchView, gpu: TargetView, rung_work: float) -> bool:
    """A batch that the cloud may take, and that the local lane could not end before the run's deadline: it waits for
    room in the cloud."""
    if run.deadline_ms is None or not run.may_buy or batch.held or batch.lanes == "local" or batch.route != "small":
        return False
    return too_late(gpu, batch, (run.deadline_ms - NOW) / 1000, rung_work)


@given(st.lists(_run, max_size=5), _gpu)
@example(
    [RunView("r", "a", 0, NOW - 1000, (BatchView("x", "small", 1, 1.0), BatchView("y", "small", 32, 1.0)))],
    TargetView("gpu", "local", True, 1, 0, 0.0, 0.0, 1.0),
)
def test_local_is_never_idle_while_work_for_it_waits(runs: list[RunView], gpu: TargetView) -> None:
    given_ = snapshot(*runs, gpu=gpu)
    moves = rings(given_)
    known = {b.id: b for r in runs for b in r.waiting}
    full = rung_to(gpu, [known[move.batch] for move in moves if move.lane == "local"])
    moved_ids = {move.batch for move in moves}
    left = [
        b
        for r in runs
        for b in r.waiting
        if b.id not in moved_ids
        and b.lanes != "cloud"
        and b.held != "any"
        and b.route in ("small", "homely")
        and not bought_in_time_or_never(r, b, gpu, full.rung_work)
    ]
    if gpu.up and left:
        soonest_s = min(left_s(given_, r) for r in runs if r.waiting)
        assert is_stocked(full, full.rung_rows, full.queued_work, soonest_s)
        assert full.rung_rows >= STOCK_SLOTS * gpu.slots, "no slot waits for the next tick"


def test_a_run_that_is_waited_for_goes_first_among_its_clients_runs() -> None:
    urgent = msgspec.structs.replace(
        run(tuple(BatchView(f"u{i}", "small", 8, 1.0) for i in range(1))), id="u", created_ms=9
    )
    waited = msgspec.structs.replace(urgent, waited_for=True)
    assert moved(plan(snapshot(run(batches(1)), urgent)))[0] == ("b0", "local")
    assert moved(plan(snapshot(run(batches(1)), waited)))[0] == ("u0", "local")
    due = run(batches(1), deadline_s=600)
    assert moved(plan(snapshot(due, waited)))[0] == ("u0", "local")


def test_many_clients_with_deadlines_hold_no_tick_up() -> None:
    """Each run's share was poured anew for all clients, forty times over: five seconds for 400 of them."""
    runs = tuple(
        RunView(f"r{i}", f"c{i}", i, NOW + 600_000 + i, tuple(BatchView(f"b{i}.{k}", "small", 8, 100.0) for k in range(9)))
        for i in range(400)
    )  # fmt: skip
    given_ = snapshot(*runs, served={f"c{i}": float(i) for i in range(400)})
    began_s = time.process_time()
    assert plan(given_)
    assert time.process_time() - began_s < 1.0
