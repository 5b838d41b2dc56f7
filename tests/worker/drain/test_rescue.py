"""What would be late at a server of one's own is bought, at the last moment at which that can be in time, and not before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from pipelines.settings import parse_settings
from pipelines.types import BatchHead, Called, Done, Item
from worker.backends.exchange import Response
from worker.context import Context, RunContext
from worker.drain.drain import Drain
from worker.drain.rescue import KEPT_CALLS, KEPT_GROUPS, LEAST_CALLS, Durations, Rescue
from worker.drain.running import Prompt, Running
from worker.money.ledger import Ledger

URL = "http://127.0.0.1:1/v1"
SETTINGS = parse_settings({
    "targets": {
        "gpu": {"kind": "vllm", "model": "m", "base_url": URL, "max_concurrency": 1},
        "mini": {"kind": "openai", "model": "m", "base_url": URL, "api_key": "k", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2},
    },
    "routes": {"all": {"targets": ["gpu", "mini"]}},
})  # fmt: skip
BODY = b'{"messages":[{"role":"user","content":"Hi."}]}'
ANSWER = msgspec.json.encode({
    "model": "m", "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
})  # fmt: skip
NOBODY: Any = None
ROWS = 2


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
    assert took.risk(0.0, 100.0) == 1.0, "nobody knows"
    for seconds in range(1, 101):
        took.add(float(seconds))
    assert took.risk(0.0, 90.0) == pytest.approx(0.1)
    assert took.risk(80.0, 10.0) == pytest.approx(0.5)
    assert took.risk(100.0 - LEAST_CALLS + 1, 50.0) == 1.0, "hardly any took so long"
    for _ in range(KEPT_CALLS):
        took.add(1000.0)
    assert took.risk(0.0, 999.0) == 1.0, "what is old is forgotten"


def test_of_the_groups_of_many_runs_the_last_are_remembered() -> None:
    rescue = Rescue(NOBODY, {}, {}, NOBODY)
    for group in ["first", *map(str, range(KEPT_GROUPS)), "first"]:
        rescue.took(
            cast("Prompt", SimpleNamespace(lane="local", batch=SimpleNamespace(head=SimpleNamespace(group=group)))), 1.0
        )
    assert len(rescue._took) == KEPT_GROUPS and list(rescue._took)[-2:] == [str(KEPT_GROUPS - 1), "first"]


async def test_no_more_is_given_up_than_the_cloud_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "worker.drain.rescue.Rescue._speed", lambda *_: (1.0, 1.0)
    )  # one row in the second that is left
    done, _ = await rescued(left_s=2.5, took_s=10.0)
    assert [each.row for each in done] == [0], "what is under way is nearer to its end, but it is at risk as well"


async def test_a_call_that_was_given_up_keeps_its_slot_until_its_server_has_done_with_it() -> None:
    """One that is no longer waited for goes on there."""
    done, calls = await rescued(left_s=2.0, took_s=10.0, in_use=1)
    assert len(done) == ROWS and len(calls) == ROWS + 1


async def rescued(
    left_s: float, took_s: float, cloud_latency_s: float = 1.0, in_use: int | None = None
) -> tuple[list[Done], list[Called]]:
    """Two prompts, one of them in flight at a server with one slot, and so long before the deadline; calls took so long."""
    asked = asyncio.Event()

    async def post(url: str, *_told: Any, **_more: Any) -> Response:
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(60)
        return Response(200, {}, ANSWER)

    context = Context(SETTINGS, NOBODY, "")
    hot: Any = SimpleNamespace(post=post)
    drain, noted = Drain(context, Ledger(SETTINGS, context.targets), hot, context.clock), Noted()
    drain.journal = noted  # type: ignore[assignment]
    run = RunContext("r", {"deadline_ms": str(context.clock.now_ms() + round(1000 * left_s))}, SETTINGS)
    head = BatchHead("r.0.0.1", "r", "all", 0, ROWS, 5, 9, 1.0, 0, 1, "answer", "g")
    batch: Any = Running(head, 1, "local", "any", run, noted)  # type: ignore[arg-type]
    batch.open, drain.running["r.0.0.1"] = ROWS, batch
    for name, slots in (("gpu", 1), ("mini", ROWS)):
        drain.lanes[name].slots.granted = drain.lanes[name].slots.aim = slots
    drain.lanes["mini"].latency_s, drain.lanes["gpu"].latency_s = cloud_latency_s, took_s
    prompts = [Prompt(batch, Item(row, BODY, 5, 0), 0, set()) for row in range(ROWS)]
    for _ in range(LEAST_CALLS):
        drain.rescue.took(prompts[0], took_s)
    for prompt in prompts:
        drain._route(prompt)
    await asyncio.wait_for(asked.wait(), 5)
    drain.rescue._look(batch)
    tasks = drain.lanes["gpu"]._running | drain.lanes["mini"]._running
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


@pytest.mark.parametrize(
    ("left_s", "took_s"), [(60.0, 90.0), (2.0, 0.4), (0.5, 10.0)], ids=["early", "in time", "late anyway"]
)
async def test_else_it_stays_where_it_costs_nothing(left_s: float, took_s: float) -> None:
    assert await rescued(left_s, took_s) == ([], [])
