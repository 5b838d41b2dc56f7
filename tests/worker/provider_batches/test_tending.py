"""An order that is with its provider: cancelled, recalled, let go; and a provider that is down for a while, or hangs."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any, cast

import msgspec
import pytest

from pipelines.learn import Length
from pipelines.planning.snapshot import Recall
from pipelines.types import Failure, Usage
from tests.worker.provider_batches.stage import ALL, ROWS, RUN, stage
from worker.backends.exchange import Response
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context
from worker.provider_batches import listening
from worker.provider_batches.reading import Reader
from worker.schedule.scheduler import Scheduler
from worker.schedule.sent import Sent
from worker.simulator.core.batches import desk


async def test_a_run_that_is_cancelled_keeps_and_pays_what_was_done(context: Context) -> None:
    async with stage(context, batch_latency_s=0.8) as it:
        await it.order()
        await it.rounds(it.billed)
        await context.redis.hset(context.keys.run(RUN), "cancel", "1")
        await it.rounds(it.over)
        outcomes = await it.outcomes()
        assert 0 < outcomes["ok"] < ROWS and outcomes["rejected"] == ROWS - outcomes["ok"]
        assert await it.booked_pusd() == it.billed_pusd()
        assert len(await it.answers()) == outcomes["ok"]
        whole = sum(len(state.done) == ROWS // 2 for state in await it.journals())
        assert it.lengths.get("g", Length()).rows == whole * ROWS // 2, "of a part, only the first to end are known"


async def test_what_comes_back_partly_answered_is_planned_and_charged_as_what_is_left(context: Context) -> None:
    """As if nothing of it were answered: the local lane seemed to miss the deadline, and the rest was bought."""
    expires = {"batch_faults": [{"kind": "expire", "share": 0.5, "at": 1}], "batch_window_s": 0.4}
    async with stage(context, **expires) as it:
        await it.order()
        await it.rounds(it.over)
        open_rows = {
            head.id: head.rows - len(state.done)
            for (_, head), state in zip(await it.heads(), await it.journals(), strict=True)
        }
        assert sum(open_rows.values()) == ROWS // 2 and min(open_rows.values()) > 0
        scheduler = Scheduler(it.context, cast("Any", None))
        await scheduler._estimates.look({})
        waiting = list(open_rows)
        await scheduler._batches.learn(waiting)
        view = await scheduler._view(RUN, {"prepared": "1"}, waiting, {})
        assert {batch.id: batch.rows for batch in view.waiting} == open_rows
        whole = sum(scheduler._estimates.weigh(head).work for _, head in await it.heads())
        assert sum(batch.work for batch in view.waiting) == pytest.approx(whole / 2, rel=0.05)
        await it.give()
        given = {each.id: each.head.rows for _, each in await it.lane._given(set())}
        assert given == open_rows, "and takes no more of a provider's room"


async def test_answers_of_an_order_tell_how_long_answers_are(context: Context) -> None:
    """Hundreds of short answers came back from an API, and the lane went on to take such prompts for long ones."""
    async with stage(context, batch_latency_s=0.2) as it:
        await it.order()
        await it.rounds(it.over)
        found = it.lengths["g"]
        assert (found.rows, found.expected_tokens) == (ROWS, 100) and 0 < found.output_tokens < 100


async def test_a_line_that_does_not_say_its_tokens_is_no_answer_of_none(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the lines without usage halved the mean; all of them are there, so none of the short is told alone."""
    parsed, lines = Reader._parsed, count()

    def unsaid(self: Reader, name: str, outcome: Response) -> Any:
        found = parsed(self, name, outcome)
        return msgspec.structs.replace(found, usage=Usage()) if next(lines) % 2 else found

    monkeypatch.setattr(Reader, "_parsed", unsaid)
    async with stage(context, batch_latency_s=0.2) as it:
        await it.order()
        await it.rounds(it.over)
        assert len(await it.answers()) == ROWS
        found = it.lengths["g"]
        assert (found.rows, found.expected_tokens) == (ROWS / 2, 50) and found.output_tokens / found.rows >= 3


async def test_the_cut_off_cancels_orders(context: Context) -> None:
    async with stage(context, batch_latency_s=30.0) as it:
        await it.order()
        it.context.targets.say("cloud", {"cutoff": "2026-01-01", "up": False, "closed": True})
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS} and (await it.money())[1] == 0


async def test_a_recall_that_the_provider_does_not_follow_lets_the_order_go_and_books_what_still_comes(
    context: Context,
) -> None:
    async with stage(context, batch_latency_s=1.5, batch_cancel_s=20.0) as it:
        now_ms = it.context.clock.now_ms()
        await it.order(deadline_ms=now_ms + 4000)
        await it.rounds(it.billed)
        await context.redis.sadd(context.keys.recalled, it.batches[0])
        await it.rounds(it.given_back)
        assert {await it.state(batch) for batch in it.batches} == {"waiting"}, "they are asked in real time"
        assert await it.outcomes() == {"out": ROWS} and (await it.money())[1] > 0
        it.upstream.servers["cloud"].configure({"batch_cancel_s": 0.0})
        for job in desk(it.upstream.servers["cloud"]).jobs.values():
            job.timing = msgspec.structs.replace(job.timing, cancel_takes_s=0.0)
        await it.rounds(it.over)
        late = [call for state in await it.journals() for call in state.late]
        assert len(late) == ROWS and await it.booked_pusd() == it.billed_pusd() > 0
        assert await it.answers() == {}, "what comes too late is money, never a result"


async def test_a_cancel_that_comes_too_late_changes_nothing(context: Context) -> None:
    async with stage(context, batch_latency_s=0.5, batch_faults=[{"kind": "late_cancel"}]) as it:
        await it.order()
        await context.redis.hset(context.keys.run(RUN), "cancel", "1")
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL
        assert await it.booked_pusd() == it.billed_pusd()


async def test_a_provider_that_is_down_for_a_while_is_asked_again(context: Context) -> None:
    async with stage(context, batch_latency_s=0.4) as it:
        await it.order()
        cloud = it.upstream.servers["cloud"]
        await cloud.set_down(True)
        for _ in range(5):
            it.lane._tender._due_s.clear()
            await it.lane.step()
        assert await it.outcomes() == {"out": ROWS}, "nothing is lost by not being heard of"
        await cloud.set_down(False)
        await it.rounds(it.over)
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()


async def test_a_request_that_hangs_holds_up_its_own_order_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(context) as it:
        await it.prepare()
        first, second = it.batches
        await it.give(first)
        await it.rounds(it.out)
        [stuck] = await it.lane._orders.open()
        goes_on = asyncio.Event()

        async def look(self: Any, web: Any, target: Any, identity: str) -> Any:
            if identity == stuck.remote:
                await goes_on.wait()
            return await looks(self, web, target, identity)

        looks = OpenAIBatches.look
        monkeypatch.setattr(OpenAIBatches, "look", look)
        rounds = asyncio.create_task(it.rounds(it.over))
        await it.give(second)
        async with asyncio.timeout(20):
            while await it.state(second) != "drained":
                await asyncio.sleep(0.01)
        assert await it.state(first) == "rung" and not rounds.done()
        goes_on.set()
        await rounds
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()


async def test_what_is_being_made_is_nobodys_to_undo_however_long_its_upload_hangs(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds go on beside it."""
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        goes_on, begun = asyncio.Event(), asyncio.Event()

        async def stages(self: Any, *asked: Any) -> Any:
            begun.set()
            await goes_on.wait()
            return await stage_(self, *asked)

        stage_ = OpenAIBatches.stage
        monkeypatch.setattr(OpenAIBatches, "stage", stages)
        rounds = asyncio.create_task(it.rounds(it.over))
        await begun.wait()
        for _ in range(20):
            await asyncio.sleep(0.02)
        [order] = await it.lane._orders.open()
        assert order.state == "making" and await it.outcomes() == {"out": ROWS}
        goes_on.set()
        await rounds
        assert await it.answers() == ALL and await it.outcomes() == {"ok": ROWS}


async def test_a_provider_is_listened_to_no_longer_than_its_run_has_time(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        await it.order(deadline_ms=it.context.clock.now_ms() + 24_000)
        monkeypatch.setattr(listening, "LEAST_S", 0.1)
        monkeypatch.setattr(listening, "SHARE", 0.01)

        async def hangs(*_: Any) -> Any:
            await asyncio.sleep(60)

        for name in ("look", "cancel"):
            monkeypatch.setattr(OpenAIBatches, name, hangs)
        await context.redis.sadd(context.keys.recalled, it.batches[0])
        await it.rounds(it.given_back, 60.0)
        assert {await it.state(batch) for batch in it.batches} == {"waiting"}, "they are asked in real time"


async def test_a_cancel_that_fails_once_is_asked_again_before_the_order_is_let_go(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago the order was sent: what is let go is paid twice."""
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        now_ms = it.context.clock.now_ms()
        await it.order(deadline_ms=now_ms + 8000)
        [order] = await it.lane._orders.open()
        order.sent_ms -= 60_000
        await it.lane._orders.note(order)
        refused: list[str] = []

        async def cancel(self: Any, web: Any, target: Any, identity: str) -> Any:
            refused.append(identity)
            if len(refused) < 3:
                return Failure("transient", "503", "not now")
            return await cancels(self, web, target, identity)

        cancels = OpenAIBatches.cancel
        monkeypatch.setattr(OpenAIBatches, "cancel", cancel)
        await context.redis.sadd(context.keys.recalled, it.batches[0])
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS} and len(refused) == 3, "taken back, not let go"


async def test_a_batch_that_was_recalled_once_may_be_ordered_again(context: Context) -> None:
    """What had been wanted back stayed so for ten minutes after the last recall of any run, and its new order was cancelled."""
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        await it.order()
        it.upstream.servers["cloud"].configure({"batch_latency_s": 0.1})  # of the next one
        first, second = it.batches
        await Sent(it.context).recall([Recall(first, RUN)])  # a scheduler that has gone since
        await it.rounds(it.over)
        assert [await it.state(batch) for batch in it.batches] == ["waiting", "waiting"]
        returns = [await context.redis.hget(context.keys.batch(batch), "returns") for batch in it.batches]
        assert returns == [b"0", b"0"], "taken back by us: after three of these nights it was bought at the full price"
        sent = Sent(it.context)
        await sent.recall([])
        assert await it.give() == it.batches
        await it.rounds(it.over)
        assert await it.answers() == ALL
        for wanted in ([first], [second], [first, second], [], []):
            await sent.recall([Recall(batch, RUN) for batch in wanted])
            assert await context.redis.smembers(context.keys.recalled) == {batch.encode() for batch in wanted}
        assert await context.redis.ttl(context.keys.recalled) < 0


async def test_orders_that_were_taken_back_teach_how_long_batches_take(context: Context) -> None:
    """Only those that came back in time did: a provider that had become slow was ordered from as if it were quick."""
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        await it.order()
        [order] = await it.lane._orders.open()
        order.sent_ms -= 900_000
        await it.lane._orders.note(order)
        await context.redis.sadd(context.keys.recalled, *it.batches)
        await it.rounds(it.over)
        [taken_back] = it.context.targets.states["cloud"]["batch_s"]
        assert -910 < taken_back <= -900


async def test_an_order_that_is_let_go_teaches_it_as_well(context: Context) -> None:
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0, batch_cancel_s=60.0) as it:
        await it.order(deadline_ms=it.context.clock.now_ms() + 3000)
        await context.redis.sadd(context.keys.recalled, *it.batches)
        await it.rounds(it.given_back)
        [let_go] = it.context.targets.states["cloud"]["batch_s"]
        assert -10 < let_go < 0


HOUR_S = 3600.0
TOLD: list[tuple[list[float], float, float]] = [
    ([60.0], 60.0, 180.0),
    ([60.0] * 20, 60.0, 66.0),
    ([-60.0], HOUR_S, 6 * HOUR_S),  # nobody knows more than before
    ([-2 * HOUR_S] * 20, 2 * HOUR_S, 6 * HOUR_S),  # nor how much longer it would have taken
    ([-10.0] * 20 + [60.0] * 20, 60.0, 60.0 * 1.05),  # taken back too soon to say anything
    ([-600.0] * 20 + [60.0] * 20, 600.0, 600.0 * 1.05),  # half of them took longer
    ([-600.0] * 3 + [60.0] * 37, 60.0, 60.0 * 1.05),
]


@pytest.mark.parametrize(("told", "half", "late"), TOLD)
async def test_what_is_made_of_the_figures(context: Context, told: list[float], half: float, late: float) -> None:
    async with stage(context) as it:
        it.context.targets.say("cloud", {"batch_s": told})
        [api] = Sent(it.context).targets().values()
        assert (api.latency_p50_s, api.latency_p90_s) == pytest.approx((half, late))


async def test_how_long_a_recall_takes_is_remembered_by_the_slowest(context: Context) -> None:
    async with stage(context) as it:
        states, standing = it.context.targets.states, it.lane._standing
        seen = []
        for seconds in (8.0, 1.0, 1.0, 30.0):
            standing.cancelled("cloud", seconds)
            seen.append(states["cloud"]["batch_cancel_s"])
        assert seen == [8.0, 4.0, 2.0, 30.0]
        [api] = Sent(it.context).targets().values()
        assert api.cancel_s == 30.0
