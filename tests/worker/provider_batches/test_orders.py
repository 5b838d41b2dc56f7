"""Orders of every provider from their making to their end, in one process: what is asked, booked, kept, and found again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pipelines.errors import LeaseLost
from pipelines.types import Failure
from tests.worker.provider_batches.stage import ALL, KINDS, ROWS, RUN, Stage, stage
from worker.context import Context
from worker.provider_batches import lane, making, standing
from worker.provider_batches.lane import Given
from worker.provider_batches.orders import LEASE, About, Order
from worker.provider_batches.reading import LOST
from worker.queue import RedisError
from worker.schedule.seen import Seen
from worker.schedule.sent import Sent
from worker.simulator.core.batches import desk

BATCH_TOKENS = 7 * ROWS // 2
"""Of the prompts of one batch of the stage, at its provider."""


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_is_answered_line_by_line_and_its_ledger_is_the_bill(context: Context, kind: str) -> None:
    async with stage(context, kind) as it:
        await it.prepare()
        assert len(await it.give()) == 2
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL
        assert [await it.state(batch) for batch in it.batches] == ["drained", "drained"]
        assert await it.booked_pusd() == it.billed_pusd() > 0
        spent, reserved = await it.money()
        assert reserved == 0 and 0 <= spent - it.billed_pusd() / 1000 < ROWS, "rounded up call by call"
        [job] = {call.batch for call in it.upstream.bill.calls()}
        assert job is not None, "one order for both batches"
        calls = [call for state in await it.journals() for call in state.called.values()]
        assert {call.avoided_cause for call in calls} == {"provider_batch"}
        assert sum(call.avoided_pusd for call in calls) == it.billed_pusd(), "half the price"
        assert all(
            intent.lane == "provider_batch" for state in await it.journals() for intent in state.intents.values()
        )
        began = {intent.started_us for state in await it.journals() for intent in state.intents.values()}
        assert len(began) == 1, "so that an order is known in the ledger"
        assert not await context.redis.keys("*:order:*")
        assert not it.lane._tender._due_s, "nothing is kept of what has ended"


ENDINGS: list[tuple[dict[str, Any], dict[str, int], bool]] = [
    ({"kind": "expire", "share": 0.5}, {"ok": 6, "rejected": 6}, False),
    ({"kind": "errors"}, {"error": ROWS}, True),
    ({"kind": "fail"}, {"rejected": ROWS}, True),
    ({"kind": "429"}, {"rejected": ROWS}, False),
    ({"kind": "400"}, {"rejected": ROWS}, False),
    ({"kind": "401"}, {"rejected": ROWS}, False),
    ({"kind": "lost_create"}, {"ok": ROWS}, False),
    ({"kind": "500"}, {"rejected": ROWS}, False),
]


SHAPED = ("expire", "errors", "fail", "lost_create", "401")
"""Endings that each provider says in its own way."""
ENDED = [
    pytest.param(kind, *ending, id=f"{kind}-{ending[0]['kind']}")
    for kind in KINDS
    for ending in ENDINGS
    if kind == "openai" or (ending[0]["kind"] in SHAPED and (kind, ending[0]["kind"]) != ("anthropic", "fail"))
]


@pytest.mark.parametrize(("kind", "rule", "outcomes", "real_time"), ENDED)
async def test_what_ends_otherwise_is_booked_as_it_was_and_waits(
    context: Context, kind: str, rule: dict[str, Any], outcomes: dict[str, int], real_time: bool
) -> None:
    window = {"batch_window_s": 0.4} if rule["kind"] == "expire" else {}
    async with stage(context, kind, batch_faults=[{**rule, "at": 1}], **window) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == outcomes
        assert await it.booked_pusd() == it.billed_pusd()
        assert (await it.money())[1] == 0
        assert {await it.state(batch) for batch in it.batches} == (
            {"drained"} if outcomes == {"ok": ROWS} else {"waiting"}
        )
        flags = [await context.redis.hget(context.keys.batch(batch), "real_time") for batch in it.batches]
        assert all(bool(flag) == real_time for flag in flags)
        known = it.context.targets.states["cloud"]
        assert bool(known.get("closed")) == (rule["kind"] == "401")
        assert bool(known.get("batch_full_ms")) == (rule["kind"] in ("429", "500")), "not taken: asked again later"
        assert bool(known.get("batch_off_ms")) == (rule["kind"] == "400")
        it.context.targets.open("cloud")
        it.context.targets.say("cloud", {"batch_full_ms": 0, "batch_off_ms": 0})
        if await it.give():  # again: the rest, and only that
            await it.rounds(it.over)
            assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()


async def test_lines_that_cannot_be_read_may_have_been_paid(context: Context) -> None:
    async with stage(context, batch_faults=[{"kind": "bad_line", "at": 1}]) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - 1, "lost": 1}
        assert await it.booked_pusd() > it.billed_pusd() and (await it.money())[1] == 0


async def test_a_row_that_the_provider_cannot_be_asked_goes_on_alone(context: Context) -> None:
    async with stage(context, "anthropic") as it:
        await it.prepare(bodies={3: {"n": 2}})
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - 1}
        assert [await it.state(batch) for batch in it.batches] == ["waiting", "drained"]
        [again] = await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - 1}, "nothing was left that it can be asked"
        assert await context.redis.hget(context.keys.batch(again), "real_time") == b"1"


async def test_a_window_that_a_line_was_refused_by_is_remembered(context: Context) -> None:
    async with stage(context) as it:
        it.upstream.servers["cloud"].configure({"context_tokens": 100})
        await it.prepare(bodies={3: {"messages": [{"role": "user", "content": "word " * 200}]}})
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - 1, "rejected": 1}
        assert it.context.targets.refused_tokens("cloud") == 100


async def test_lines_whose_model_nobody_knows_close_the_target_and_wait(context: Context) -> None:
    async with stage(context, "anthropic") as it:
        it.upstream.servers["cloud"].configure({"model": "other"})
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS}
        assert [await it.state(batch) for batch in it.batches] == ["waiting", "waiting"]
        state = it.context.targets.states["cloud"]
        assert state["closed"] and "model: m; is `model` of this target right?" in state["reason"]


async def test_a_row_that_no_window_has_room_for_is_not_sent(context: Context) -> None:
    async with stage(context) as it:
        it.context.targets.refused("cloud", Failure("context", "c", "too long", 400, context_tokens=100), b"")
        await it.prepare(bodies={3: {"messages": [{"role": "user", "content": "word " * 200}]}})
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - 1}


async def test_answers_that_fail_their_check_are_paid_and_go_on_in_real_time(context: Context) -> None:
    async with stage(context) as it:
        await it.prepare(options='{"labels": ["yes", "no"]}')
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == {}
        assert await it.booked_pusd() == it.billed_pusd() > 0
        calls = [call for state in await it.journals() for call in state.called.values()]
        assert {(call.error_code, call.avoided_pusd) for call in calls} == {("check_failed", 0)}
        flags = [await context.redis.hget(context.keys.batch(batch), "real_time") for batch in it.batches]
        assert flags == [b"1", b"1"]


async def test_fewer_answers_than_a_line_asked_for_are_paid_and_no_result(context: Context) -> None:
    """A line's single answer was published as both, though a call's would have been found out."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    async with stage(context) as it:
        await it.prepare(bodies={3: {"n": 2, "tools": [tool], "tool_choice": "required"}})
        await it.give()
        await it.rounds(it.over)
        assert (await it.answers()).keys() == ALL.keys() - {3}
        calls = [call for state in await it.journals() for call in state.called.values()]
        assert [call.failure for call in calls if call.error_code == "too_few"] == ["untrue"]
        assert await it.booked_pusd() == it.billed_pusd() > 0
        assert [await it.state(batch) for batch in it.batches] == ["waiting", "drained"]


async def test_a_full_provider_is_waited_for_however_often_it_says_so(context: Context) -> None:
    async with stage(context, batch_faults=[{"kind": "token_limit"}]) as it:
        await it.prepare()
        for _ in range(5):
            assert len(await it.give()) == 2
            await it.rounds(it.over)
            asked = len(desk(it.upstream.servers["cloud"]).jobs)
            await it.give()
            await it.rounds(it.over)
            assert len(desk(it.upstream.servers["cloud"]).jobs) == asked, "not asked again before its time"
            assert it.context.targets.states["cloud"]["batch_full_ms"] > it.context.clock.now_ms()
            it.context.targets.say("cloud", {"batch_full_ms": 0})
        assert await it.outcomes() == {"rejected": ROWS + 4 * ROWS // 2} and it.billed_pusd() == 0
        flags = [await context.redis.hget(context.keys.batch(batch), "real_time") for batch in it.batches]
        assert flags == [None, None]
        it.upstream.servers["cloud"].configure({"batch_faults": []})
        await it.give()
        await it.rounds(it.over)
        assert await it.answers() == ALL and it.context.targets.states["cloud"]["batch_full_ms"] == 0


async def test_an_order_that_is_larger_than_all_a_provider_takes_is_halved(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent again as it was, for ever."""
    monkeypatch.setattr(standing, "FULL_LEAST_S", 0.01)
    async with stage(context, batch_enqueued_tokens=BATCH_TOKENS) as it:
        await it.prepare()
        assert await until_all_are_back(it) == 0 and await it.answers() == ALL
        said = desk(it.upstream.servers["cloud"])
        assert [len(job.lines) for job in said.jobs.values()][:2] == [ROWS, ROWS // 2]
        assert it.context.targets.states["cloud"]["batch_rows"] > ROWS // 2, "more is tried when it came back"
        assert await it.booked_pusd() == it.billed_pusd()


async def test_a_batch_that_a_provider_has_never_room_for_is_asked_in_real_time(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FULL_LEAST_S", 0.01)
    monkeypatch.setattr(standing, "FULL_MOST_S", 0.05)
    async with stage(context, batch_enqueued_tokens=BATCH_TOKENS - 1) as it:
        await it.prepare()
        assert await until_all_are_back(it) == 2 and it.billed_pusd() == 0
        assert it.context.targets.states["cloud"]["batch_off_ms"] > it.context.clock.now_ms(), "nor are others"


SHARES: list[tuple[dict[str, Any], str]] = [
    ({}, "otototot"),
    ({"theirs": {"priority": "high"}}, "tttttttt"),
    ({"theirs": {"priority": "background"}}, "oooooooo"),
    ({"theirs": {"weight": 3}}, "otttottt"),
]
"""How clients are, and whose orders go: the other's (t), or those (o) of whom stands first."""


@pytest.mark.parametrize(("clients", "whose"), SHARES)
@pytest.mark.parametrize("room", [1, 4], ids=["one at a time", "some at a time"])
async def test_where_a_provider_has_little_room_it_is_shared_as_every_lane_is(
    context: Context, monkeypatch: pytest.MonkeyPatch, clients: dict[str, Any], whose: str, room: int
) -> None:
    """Who had given much before had it all until that was done; then they took turns, whatever their class and weight."""
    monkeypatch.setattr(lane, "MOST_ROWS", ROWS // 2)
    async with stage(context, clients=clients) as it:
        await it.prepare()
        await it.give()
        [_, one], [_, other] = await it.lane._given(set())
        theirs = other._replace(head=msgspec.structs.replace(other.head, run="theirs"))

        async def given(_: set[str]) -> list[tuple[str, Given]]:
            return [("cloud", one)] * 20 + [("cloud", theirs)] * 20

        async def makes(target: str, run: Any, parts: Any) -> Order:
            made.append("t" if run.id == "theirs" else "o")
            return Order("tag", About(target, run.id, tuple(parts), (), len(made)))

        async def sends(_: Order) -> None: ...

        made: list[str] = []
        for at, name, fake in (
            (it.lane, "_given", given), (it.lane, "_send", sends), (it.lane._orders, "make", makes),
        ):  # fmt: skip
            monkeypatch.setattr(at, name, fake)
        said = {"client": "theirs", "options": "{}", "prepared": 1}
        await context.redis.hset(context.keys.run("theirs"), mapping=said)
        it.context.targets.say("cloud", {"batch_rows": room * ROWS // 2})
        while len(made) < len(whose):
            found = (await it.lane._wanted([], set(), frozenset()))["cloud"]
            assert len(found) == room
            await it.lane._make_each("cloud", found)
        assert "".join(made) == whose


async def until_all_are_back(it: Stage) -> int:
    """Gives what may go to the batch API until nothing is left; how many batches are asked in real time then."""
    async with asyncio.timeout(20):
        while True:
            states = [await it.state(batch) for batch in it.batches]
            flags = [await it.context.redis.hget(it.context.keys.batch(batch), "real_time") for batch in it.batches]
            if all(state == "drained" or flag for state, flag in zip(states, flags, strict=True)):
                return sum(map(bool, flags))
            await it.give(*(batch for batch, flag in zip(it.batches, flags, strict=True) if not flag))
            await it.rounds(it.over)


async def test_what_no_budget_admits_is_not_sent(context: Context) -> None:
    async with stage(context) as it:
        bound = sum(it.ledger.bound_pusd("cloud", item, batch=True) for item in it.items()[:5])  # type: ignore[misc]
        await it.prepare(budget_nusd=bound // 1000 + 1)
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": 5}
        spent, reserved = await it.money()
        assert reserved == 0 and 0 < spent <= bound // 1000 + 1
        assert await it.booked_pusd() == it.billed_pusd()
        assert [await it.state(batch) for batch in it.batches] == ["waiting", "waiting"]


async def test_a_batch_that_the_provider_has_forgotten_is_lost_at_its_upper_bound(context: Context) -> None:
    async with stage(context, batch_latency_s=30.0) as it:
        await it.order()
        spent, reserved = await it.money()
        desk(it.upstream.servers["cloud"]).jobs.clear()
        await it.rounds(it.over)
        assert await it.outcomes() == {"lost": ROWS}
        assert await it.money() == (spent + reserved, 0)


async def test_results_are_read_from_any_order_of_lines_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads them again, after a crash between two batches, books nothing twice."""
    async with stage(context) as it:
        await it.prepare()
        await it.give()

        async def dies(*_: Any, **__: Any) -> None:
            died.append(1)
            raise RedisError("gone")

        async def dead() -> bool:
            return bool(died)

        died: list[int] = []
        monkeypatch.setattr(it.lane._reader, "release", dies)
        await it.rounds(dead)
        spent = (await it.money())[0]
        assert await it.outcomes() == {"ok": ROWS // 2, "out": ROWS // 2}
        await it.next_worker()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.booked_pusd() == it.billed_pusd()
        assert (await it.money())[0] == 2 * spent


async def test_an_order_that_redis_forgets_before_it_is_sent_is_not_sent(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "FORGETS_S", 0.3)
    async with stage(context) as it:
        it.context.again._synced = False
        await it.prepare()
        await it.give()
        asked = asyncio.create_task(it.rounds(it.over))
        while not any(state.intents for state in await it.journals()):
            await asyncio.sleep(0.01)
        [tag] = await context.redis.smembers(context.keys.orders)
        await context.redis.delete(context.keys.order(tag.decode()))
        await asked
        assert not desk(it.upstream.servers["cloud"]).jobs and await it.outcomes() == {"rejected": ROWS}
        assert (await it.money())[1] == 0 and {await it.state(batch) for batch in it.batches} == {"waiting"}
        await it.give()
        await it.rounds(it.over)
        assert await it.answers() == ALL


async def test_what_the_scheduler_is_told_of_a_batch_api(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(context) as it:
        sent = Sent(it.context)
        [api] = sent.targets().values()
        assert api.up and api.room_rows == 0, "whoever looks after it may still be on the way"
        monkeypatch.setattr("worker.schedule.sent.ABSENT_S", 0.0)
        assert not sent.targets(), "nobody looks after it"
        await it.prepare()
        await it.give()
        await it.lane.step()
        await context.redis.set(context.keys.lease("provider_batch"), "somebody")
        await sent.look()
        sent.know({batch: Seen(head) for batch, head in await it.heads()})
        [api] = sent.targets().values()
        assert (api.name, api.up, api.price, api.latency_p90_s) == (
            "cloud",
            True,
            0.5,
            6 * 3600.0,
        ) and api.room_rows > 0
        assert {(view.id, view.target) for view in sent.of(RUN, lambda head: head.work)} == {
            (batch, "cloud") for batch in it.batches
        }
        assert all(view.sent_ms > 0 and view.rows == ROWS // 2 for view in sent.of(RUN, lambda head: head.work))
        assert not api.heard and 0 <= api.waited_s < 60, "as long as this one has been out"
        it.context.targets.say("cloud", {"batch_s": [-90.0, -200.0]})
        [api] = sent.targets().values()
        assert not api.heard and api.waited_s == 200.0, "or one that was taken back"
        it.context.targets.say("cloud", {"batch_s": []})
        await it.rounds(it.over)
        await sent.look()
        [api] = sent.targets().values()
        assert (
            not sent.of(RUN, lambda head: head.work)
            and api.latency_p50_s < 8
            and api.latency_p90_s == pytest.approx(3 * api.latency_p50_s)
        )
        assert api.heard
        await context.redis.delete(context.keys.lease("provider_batch"))
        await sent.look()
        assert not sent.targets(), "whoever looked after it is gone"


async def test_who_slept_while_another_read_the_order_changes_nothing(context: Context) -> None:
    async with stage(context) as it:
        await it.order()
        [order] = await it.lane._orders.open()
        slept, journal, task = it.lane, it.journal, it.journal_task
        parts = await slept._orders.hold(order)
        it.context.owner = "another"
        it.lane = it.made()
        it.journal_task = asyncio.create_task(it.journal.run())
        await it.rounds(it.over)
        money = await it.money()
        await slept._reader.settle(order, parts, lambda *_: LOST)
        await journal.drained()
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL and await it.money() == money
        assert {await it.state(batch) for batch in it.batches} == {"drained"}
        task.cancel()
        await slept.close()


async def test_an_order_whose_target_the_configuration_names_no_more_is_lost_money_and_no_lost_run(
    context: Context,
) -> None:
    async with stage(context, batch_latency_s=0.3) as it:
        await it.order()
        gone, task = it.lane, it.journal_task
        settings = it.context.settings
        it.context = Context(
            settings.model_copy(update={"targets": {}, "routes": {}}), context.redis, context.redis_url
        )
        await it.context.again.seen("this life", synced=True)
        it.lane = it.made()
        it.journal_task = asyncio.create_task(it.journal.run())
        await it.rounds(it.over)
        assert await it.outcomes() == {"lost": ROWS} and await it.booked_pusd() >= it.billed_pusd()
        assert {await it.state(batch) for batch in it.batches} == {"waiting"}
        assert await context.redis.hget(context.keys.run(RUN), "status") == b"in_progress"
        task.cancel()
        await gone.close()


@pytest.mark.parametrize("gone", [True, False])
async def test_a_batch_that_is_gone_or_anothers_is_not_written_to(context: Context, gone: bool) -> None:
    """Who slept gives back what was settled, or taken, meanwhile: no key comes to life again, and no count goes up."""
    async with stage(context) as it:
        await it.order()
        [order] = await it.lane._orders.open()
        parts = await it.lane._orders.hold(order)
        keys = [context.keys.batch(part.id) for part in parts]
        for key in keys:
            await (context.redis.delete(key) if gone else context.redis.hset(key, "epoch", "9"))
        for part in parts:
            await it.lane._reader.release(part, ran=True, real_time=True)
        assert await context.redis.exists(*keys) == (0 if gone else len(keys))
        assert [await context.redis.hmget(key, "returns", "real_time") for key in keys] == [[None, None]] * len(keys)


async def test_who_does_not_look_after_orders_any_more_takes_none_and_ends_none(context: Context) -> None:
    """What it knows of an order may be old: that its provider does not know it, say, when another has found it there."""
    async with stage(context) as it:
        await it.order()
        [order] = await it.lane._orders.open()
        before = await context.redis.hgetall(context.keys.order(order.tag))
        await context.redis.set(context.keys.lease(LEASE), "another")
        for step in (it.lane._orders.hold, it.lane._orders.end, it.lane._tender.tend):
            order.state = "making"  # as if it had never been sent
            with pytest.raises(LeaseLost):
                await step(order)
        assert not await it.lane._orders.note(order)
        assert await it.lane._orders.make("cloud", await it.context.run(RUN), order.about.parts) is None
        assert await context.redis.hgetall(context.keys.order(order.tag)) == before
        await it.rounds(it.over)
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()


async def test_an_order_that_was_said_again_meanwhile_is_not_dropped(context: Context) -> None:
    async with stage(context) as it:
        await it.order()
        [order] = await it.lane._orders.open()
        keys = [context.keys.orders, context.keys.order(order.tag)]
        assert await context.scripts.order_drop(keys=keys, args=[order.tag, 0]) == 0
        await context.redis.hset(keys[1], "about", "nonsense")
        assert await it.lane._orders.open() == []
        assert not await context.redis.exists(keys[0]) and await context.redis.ttl(keys[1]) > 0


async def test_who_slept_gives_no_batch_back_that_another_has_ordered_since(context: Context) -> None:
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        given = [each for _, each in await it.lane._given(set())]
        await it.rounds(it.out)
        await it.lane._give_back(given)
        assert {await it.state(batch) for batch in it.batches} == {"rung"}
        await it.rounds(it.over)
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()
