"""What would be late at a server of one's own is bought, at the last moment at which that can be in time, and not before."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from pipelines.money import pusd_to_nusd_ceil
from pipelines.settings import Settings, parse_settings
from pipelines.types import BatchHead, Called, Done, Item
from tests.support_redis import redis_server
from worker import leased
from worker.backends.exchange import Response
from worker.context import Context, RunContext
from worker.drain import claims
from worker.drain.drain import Drain
from worker.drain.rescue import KEPT_CALLS, KEPT_GROUPS, RISK, Call, Durations, Rescue, Speed, waits_too_long
from worker.drain.running import Prompt, Running
from worker.money.ledger import Ledger
from worker.queue import connect
from worker.tasks import Process

URL = "http://127.0.0.1:1/v1"
PRICE = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
TWICE = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 4}


def settings_of(
    gpu: dict[str, Any] | None = None,
    mini: dict[str, Any] | None = None,
    other: dict[str, Any] | None = None,
    **more: Any,
) -> Settings:
    own = {"kind": "vllm", "model": "m", "base_url": URL, "max_concurrency": 1, **(gpu or {})}
    cloud = {"kind": "openai", "model": "m", "base_url": URL, "api_key": "k", **PRICE, **(mini or {})}
    return parse_settings({
        "targets": {"gpu": own, "second": own, "mini": cloud, **({"other": other} if other else {})},
        "routes": {"all": {"targets": ["gpu", "second", "mini", *(["other"] if other else [])]}}, **more,
    })  # fmt: skip


SETTINGS = settings_of()
BODY = b'{"messages":[{"role":"user","content":"Hi."}]}'
ANSWER = msgspec.json.encode({
    "model": "m", "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
})  # fmt: skip
NOBODY: Any = None
ROWS = 2


class Budgets:
    """A Redis in which every scope has the same limit, and nothing was spent."""

    def __init__(self, limit_nusd: int | None) -> None:
        self._limit, self._asked = b"unlimited" if limit_nusd is None else b"%d" % limit_nusd, 0

    def pipeline(self, **_: Any) -> Budgets:
        return Budgets(None if self._limit == b"unlimited" else int(self._limit))

    def hmget(self, *_: Any) -> None:
        self._asked += 1

    async def execute(self, **_: Any) -> list[Any]:
        return [(self._limit, None, None)] * self._asked


class Noted:
    """A journal that admits everything."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    async def intent(self, *_: Any) -> bool:
        return True

    def append(self, _holding: Any, _scopes: Any, entries: Any, *_money: int) -> None:
        self.entries += entries


def test_the_risk_is_that_of_calls_which_took_longer_than_this_has() -> None:
    took = Durations()
    for seconds in range(1, 101):
        took.add(float(seconds))
    assert took.risk(0.0, 90.0) == pytest.approx(0.1, abs=0.01)
    assert took.risk(80.0, 10.0) == pytest.approx(0.5, abs=0.01)
    assert took.risk(100.0, 50.0) == 0.5, "none took so long"
    for _ in range(KEPT_CALLS):
        took.add(1000.0)
    assert took.risk(0.0, 999.0) > 0.99, "what is old is forgotten"


@pytest.mark.parametrize(
    ("took_s", "had_s", "left_s", "risky"),
    [
        ([2.0] * 7, 0.0, 10.0, False),  # it was certain with seven, and none with eight
        ([2.0], 0.0, 10.0, False),
        ([2.0], 0.0, 3.0, True),  # one says little
        ([2.0] * 7, 0.0, 1.5, True),
        ([2.0] * 7, 7.0, 10.0, True),  # and this is none of theirs
        ([], 0.0, 3.5, False),  # what is usual is a second
        ([], 0.0, 2.5, True),
        ([], 2.0, 3.5, True),
    ],
)
def test_a_few_calls_tell_a_little(took_s: list[float], had_s: float, left_s: float, risky: bool) -> None:
    took = Durations(usual_s=1.0)
    for seconds in took_s:
        took.add(seconds)
    assert (took.risk(had_s, left_s) > RISK) == risky


def test_what_waits_is_late_by_what_the_calls_before_it_take() -> None:
    """Labels of a quarter of a second behind calls of three were bought, for a mean over both: one slot, two seconds."""
    label, long = Durations(), Durations()
    for _ in range(8):
        label.add(0.25)
        long.add(3.0)
    assert waits_too_long([(label, 2.0)] * 9, [0.25]) == [7, 8], "the last two; with two slots none"
    assert waits_too_long([(label, 2.0)] * 9, [0.25, 0.25]) == []
    assert waits_too_long([(long, 2.0), (label, 2.0), (long, math.inf), (label, 2.0)], [0.25]) == [0, 3], (
        "who leaves keeps nobody waiting"
    )
    assert (label.mean_s, Durations(3.0).mean_s, Durations().mean_s) == (0.25, 3.0, 0.0)


async def test_a_call_is_given_up_no_sooner_than_those_that_would_be_late_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a row a second eight rows need ten seconds, and two need four, however many are open that will be in time."""
    monkeypatch.setattr("worker.drain.rescue.Rescue._speed", lambda *_: Speed(0.0, 1.0, 1.0))
    for batches, given_up in ((4, True), (1, False)):
        _, calls = await rescued(left_s=8.0, took_s=10.0, batches=batches)
        assert bool(calls) == given_up


def test_of_the_groups_of_many_runs_the_last_are_remembered() -> None:
    rescue = Rescue(NOBODY, {}, {}, NOBODY, NOBODY, NOBODY)
    for group in ["first", *map(str, range(KEPT_GROUPS)), "first"]:
        rescue.took(
            cast("Prompt", SimpleNamespace(lane="local", batch=SimpleNamespace(head=SimpleNamespace(group=group)))), 1.0
        )
    assert len(rescue._took) == KEPT_GROUPS and list(rescue._took)[-2:] == [str(KEPT_GROUPS - 1), "first"]


async def test_what_waits_begins_when_a_call_before_it_ends() -> None:
    """As if a slot came free at even times, the last of a wave seemed to begin a whole call too late."""
    now_s = asyncio.get_running_loop().time()
    rescue = Rescue(NOBODY, {}, {}, NOBODY, NOBODY, NOBODY)
    for _ in range(2):
        _, prompt = leaving(late=False)
        prompt.target = "gpu"
        rescue._calls[prompt] = Call(NOBODY, NOBODY, now_s - 4.0)
    rescue._took[prompt.batch.head.group] = Durations(5.0)
    lane: Any = SimpleNamespace(name="gpu", latency_s=5.0, in_use=3)
    assert rescue._free_s(lane) == pytest.approx([1, 1, 2.5], abs=0.5)


async def test_no_more_is_given_up_than_the_cloud_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "worker.drain.rescue.Rescue._speed", lambda *_: Speed(0.0, 1.0, 1.0)
    )  # one row in the second that is left
    done, _ = await rescued(left_s=2.9, took_s=10.0)
    assert [each.row for each in done] == [0], "what is under way is nearer to its end, but it is at risk as well"


async def test_a_call_that_was_given_up_keeps_its_slot_until_its_server_has_done_with_it() -> None:
    """One that is no longer waited for goes on there."""
    done, calls = await rescued(left_s=2.0, took_s=10.0, in_use=1)
    assert len(done) == ROWS and len(calls) == ROWS + 1


async def rescued(
    left_s: float,
    took_s: float,
    cloud_latency_s: float = 1.0,
    in_use: int | None = None,
    *,
    settings: Settings = SETTINGS,
    limit_nusd: int | None = None,
    batches: int = 1,
    refusing: tuple[int, ...] = (),
    at_second: tuple[int, ...] = (),
    cloud_slots: int = ROWS,
    queued: bool = False,
    paused_s: float = 0.0,
    other_slots: int = 0,
) -> tuple[list[Done], list[Called]]:
    """Two prompts of each batch, one of them in flight at a server with one slot, and so long before the deadline; calls took so
    long. The cloud has refused `refusing`, and all for `paused_s`; `at_second` wait for the second server; `queued`: one waits for
    the cloud already; `other_slots`: of the servers, other processes have them."""
    asked = asyncio.Event()

    async def post(url: str, *_told: Any, **_more: Any) -> Response:
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(60)
        return Response(200, {}, ANSWER)

    redis: Any = Budgets(limit_nusd)
    context = Context(settings, redis, "")
    hot: Any = SimpleNamespace(post=post)
    drain = Drain(context, Ledger(settings, context.targets), hot, context.clock)
    noted: Any = Noted()
    drain.journal = noted
    run = RunContext("r", {"deadline_ms": str(context.clock.now_ms() + round(1000 * left_s))}, settings)
    for name, slots in (("gpu", 1), ("second", 0), ("mini", cloud_slots), ("other", ROWS)):
        if name not in drain.lanes:
            continue
        drain.lanes[name].slots.granted = drain.lanes[name].slots.aim = slots
    for name in drain.lanes.keys() & {"mini", "other"}:
        drain.lanes[name].latency_s, drain.lanes[name].rates.limited = cloud_latency_s, False
    drain.lanes["mini"].paused_ms = context.clock.now_ms() + round(1000 * paused_s)
    drain.lanes["gpu"].slots.others = other_slots
    drain.lanes["gpu"].latency_s = drain.lanes["second"].latency_s = took_s
    for number in range(batches):
        head = BatchHead(f"r.{number}.0.1", "r", "all", 0, ROWS, 5, 9, 1.0, 0, 1, "answer", "g")
        batch: Any = Running(head, 1, "local", "any", run, noted)
        batch.open, drain.running[head.id] = ROWS, batch
        rows = range(number * ROWS, (number + 1) * ROWS)
        prompts = [Prompt(batch, Item(row, BODY, 5, 0), 0, {"mini"} if row in refusing else set()) for row in rows]
        for _ in range(8):
            drain.rescue.took(prompts[0], took_s)
        for prompt in prompts:
            prompt.passed |= {"gpu"} if prompt.item.row in at_second else set()
            drain._route(prompt)
    if queued:
        bought: Any = Running(head, 1, "cloud", "any", run, noted)
        drain._route(Prompt(bought, Item(99, BODY, 5, 0), 0, set()))
    await asyncio.wait_for(asked.wait(), 5)
    await drain.rescue.look()
    tasks = set[asyncio.Task[None]]().union(*(lane._running for lane in drain.lanes.values()))
    await asyncio.wait(tasks, timeout=0.2)
    await asyncio.sleep(0.05)
    assert in_use in (None, drain.lanes["gpu"].in_use)
    for task in drain.lanes["gpu"]._running | drain.lanes["mini"]._running:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    entries = noted.entries
    return [e for e in entries if isinstance(e, Done)], [e for e in entries if isinstance(e, Called)]


async def test_at_the_last_moment_what_would_be_late_is_bought() -> None:
    done, calls = await rescued(left_s=2.0, took_s=10.0)
    assert sorted(each.row for each in done) == [0, 1]
    given_up = [call for call in calls if call.error_code == "too_late"]
    assert [(call.outcome, call.cost_pusd) for call in given_up] == [("error", 0)]
    bought = [call for call in calls if call.outcome == "ok"]
    assert len(bought) == ROWS and all(call.cost_pusd == 5 * 1_000_000 + 3 * 2_000_000 for call in bought)


async def test_what_the_first_cloud_refused_or_has_no_room_for_is_bought_of_the_next() -> None:
    """Rows were late beside a second cloud that had nothing to do."""
    both = settings_of(other={"kind": "openai", "model": "m", "base_url": URL, "api_key": "k", **TWICE})
    for refusing in ((0, 1), (0,)):
        done, calls = await rescued(left_s=2.0, took_s=10.0, settings=both, refusing=refusing)
        assert sorted(each.row for each in done) == [0, 1]
        paid = sorted(call.cost_pusd for call in calls if call.outcome == "ok")
        assert paid == sorted(22_000_000 if row in refusing else 11_000_000 for row in (0, 1)), "twice the price there"


@pytest.mark.parametrize(
    ("left_s", "took_s"), [(60.0, 90.0), (2.0, 0.4), (0.5, 10.0)], ids=["early", "in time", "late anyway"]
)
async def test_else_it_stays_where_it_costs_nothing(left_s: float, took_s: float) -> None:
    assert await rescued(left_s, took_s) == ([], [])


def bound_nusd() -> int:
    bound = Ledger(SETTINGS, Context(SETTINGS, NOBODY, "").targets).bound_pusd("mini", Item(0, BODY, 5, 0))
    assert isinstance(bound, int)
    return pusd_to_nusd_ceil(bound)


@pytest.mark.parametrize("rows", [0, 1, 2])
async def test_no_more_is_given_up_than_every_budget_has_room_for(rows: int) -> None:
    done, calls = await rescued(left_s=2.0, took_s=10.0, limit_nusd=rows * bound_nusd() + 1)
    assert len(done) == rows and len(calls) == rows + (rows > 0), "the one in flight first, which is given up"


async def test_the_money_of_what_waits_for_the_cloud_is_spoken_for() -> None:
    few = {"left_s": 2.0, "took_s": 10.0, "cloud_slots": 0, "queued": True}
    assert await rescued(**few, limit_nusd=2 * bound_nusd() - 1) == ([], [])
    _, calls = await rescued(**few, limit_nusd=2 * bound_nusd())
    assert [call.error_code for call in calls] == ["too_late"]


def leaving(*, late: bool) -> tuple[Running, Prompt]:
    run = RunContext("r", {}, SETTINGS)
    head = BatchHead("r.0.0.1", "r", "all", 0, ROWS, 5, 9, 1.0, 0, 1, "answer", "")
    batch = Running(head, 1, "local", "any", run, NOBODY)
    prompt = Prompt(batch, Item(0, BODY, 5, 0), 0, set())
    prompt.late = late
    return batch, prompt


def test_what_the_cloud_may_not_cost_locks_the_cloud_alone() -> None:
    """A batch on the local lane, of which a prompt was given up for the cloud."""
    batch, prompt = leaving(late=True)
    batch.leave(prompt, refused_nusd=7)
    assert batch.refused == "7 cloud"
    batch.leave(leaving(late=False)[1], refused_nusd=9)
    assert batch.refused == "9 local"


@pytest.mark.parametrize(("late", "lanes"), [((True,), "local"), ((False,), "cloud"), ((True, False), "any")])
async def test_a_batch_goes_back_for_the_lane_that_is_not_exhausted(late: tuple[bool, ...], lanes: str) -> None:
    batch, _ = leaving(late=False)
    for each in late:
        batch.leave(leaving(late=each)[1], exhausted=True)
    told: list[Any] = []

    async def release(*, keys: list[str], args: list[Any]) -> int:
        told.extend(args)
        return 1

    context = Context(SETTINGS, NOBODY, "")
    context.scripts = cast("Any", SimpleNamespace(release=release))
    await claims.release(context, batch, {})
    assert told[2:4] == ["waiting", lanes] and told[-2:] == ["left", len(late)]


async def test_a_cloud_that_nobody_has_asked_yet_is_given_the_time_that_the_plan_gives_it() -> None:
    done, _ = await rescued(left_s=8.0, took_s=20.0, cloud_latency_s=0.0)
    assert len(done) == ROWS


async def test_what_was_given_up_at_a_server_with_a_price_is_booked_at_its_most() -> None:
    """It works on, and its answer is paid."""
    _, calls = await rescued(left_s=2.0, took_s=10.0, settings=settings_of(gpu=PRICE))
    given_up = [(call.outcome, call.cost_basis) for call in calls if call.error_code == "too_late" and call.cost_pusd]
    assert given_up == [("lost", "upper_bound")]


async def test_nothing_is_given_up_for_a_cloud_that_is_paused_until_it_would_be_too_late() -> None:
    assert await rescued(left_s=2.0, took_s=10.0, paused_s=1.5) == ([], [])
    assert len((await rescued(left_s=4.0, took_s=10.0, paused_s=2.0))[0]) == ROWS, "sooner, since it has to wait"


async def test_nor_more_than_its_tokens_a_minute_admit() -> None:
    row = 4099  # tokens
    done, _ = await rescued(left_s=2.5, took_s=10.0, settings=settings_of(mini={"tpm": 60 * row}))
    assert len(done) == 1


async def test_nor_more_than_what_other_processes_leave_of_it() -> None:
    few = {"left_s": 2.5, "took_s": 10.0, "settings": settings_of(mini={"max_concurrency": 4})}
    assert len((await rescued(**few))[0]) == ROWS
    assert len((await rescued(**few, other_slots=3))[0]) == 1, "three of four slots are theirs"


async def test_what_the_cloud_has_refused_or_would_is_not_given_up_for_it() -> None:
    assert await rescued(left_s=2.0, took_s=10.0, refusing=(0, 1)) == ([], [])
    assert await rescued(left_s=2.0, took_s=10.0, settings=settings_of(mini={"tpm": 1})) == ([], [])


@pytest.mark.parametrize(
    "more", [{"batches": 2}, {"refusing": (0, 2), "at_second": (3,), "batches": 2}], ids=["batches", "servers"]
)
async def test_batches_and_servers_share_the_room_of_the_cloud(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("worker.drain.rescue.Rescue._speed", lambda *_: Speed(0.0, 1.0, 1.0))  # room for one row
    done, _ = await rescued(left_s=2.5, took_s=10.0, **more)
    assert len(done) == 1


@pytest.mark.parametrize(("roles", "runs"), [(("local",), 0), (("local", "cloud"), 1)])
async def test_a_process_without_the_cloud_lane_buys_nothing(
    monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...], runs: int
) -> None:
    started: list[Rescue] = []

    async def run(self: Rescue) -> None:
        started.append(self)

    async def pool(url: str, real: Any = leased.pool) -> Any:
        pools.append(await real(url))
        return pools[-1]

    pools: list[Any] = []
    monkeypatch.setattr(Rescue, "run", run)
    monkeypatch.setattr(leased, "pool", pool)
    with redis_server() as url:
        redis = await connect(url)
        process = Process(Context(SETTINGS, redis, url), roles)
        await process.start()
        await asyncio.sleep(0.05)
        await process.stop()
        for each in (redis, *pools):
            await each.aclose()
    assert len(started) == runs
