"""A run that is set aside while its calls are out: what was paid is in the ledger, what was answered in its results."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import paths, schemas, wire
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Item, Late, Usage
from tests.support_worker import write
from worker import aside
from worker.context import Context
from worker.money import budget
from worker.settle.parts import write_part
from worker.settle.salvage import Salvage
from worker.settle.settle import Settler

RUN = "20260301-000000-abcdef"
OUT, WAITS, FINISHED = (f"{RUN}.0.{first}.0" for first in (0, 2, 4))
DAY = "day:2026-03-01"
START_US = 1_772_352_000_000_000
NUSD, BOUND_NUSD = 7, 9


class NoPrices:
    def price(self, name: str) -> None: ...
    def prices(self) -> list[Any]:
        return []


def intent(call: str, row: int) -> Intent:
    return Intent(call, row, 1, "mini", START_US, BOUND_NUSD * 1000)


def answer(call: str, row: int) -> list[Entry]:
    ok = Called(call, "ok", 200, None, Usage(1), NUSD * 1000, "billed", "m", "p", "2026-03-01", 0, None, START_US + 1)
    text = f"answer {row}"
    return [ok, Done(row, "ok", call, 1, text, None, "stop", None, None, None, 200, None, START_US, START_US + 1)]


class Stage:
    """Six rows in three batches: one is called by a worker, one waits, one has been answered and is named in a part."""

    def __init__(self, context: Context, root: Path) -> None:
        self.context, self.root = context, root
        self.settler = Settler(context, NoPrices())  # type: ignore[arg-type]
        self.calls = [f"{OUT}:5:1", f"{OUT}:5:2"]
        self._flushes = 0

    async def prepare(self) -> None:
        redis, keys = self.context.redis, self.context.keys
        record = {"run_id": RUN, "client": "acme", "created_ms": START_US // 1000, "status": "in_progress"}
        self.context.store.write_bytes(paths.run_record(RUN), wire.dump(record))
        rows = [
            {"row": row, "custom_id": f"r{row}", "tags": "{}", "route": "small", "kind": "asked"} for row in range(6)
        ]
        write(self.root / paths.chunk(RUN, 0, 0), rows, schemas.CHUNK)
        await redis.hset(keys.run(RUN), mapping={"status": "in_progress", "client": "acme", "options": b"\xff"})
        await redis.sadd(keys.open_runs, RUN)
        await redis.set(keys.lease("settle"), self.context.owner)
        await budget.ensure(redis, keys, {DAY: 1000})
        for batch, state, epoch, holder in (
            (OUT, "rung", 5, "w1"),
            (WAITS, "waiting", 0, ""),
            (FINISHED, "drained", 4, ""),
        ):
            first = int(batch.split(".")[2])
            head = BatchHead(batch, RUN, "small", 0, 2, 1, 1, 1.0, 1, 1)
            items = [Item(row, b"{}", 5, 5, f"r{row}") for row in (first, first + 1)]
            fields = {"state": state, "epoch": epoch, "holder": holder, "head": wire.pack_head(head)}
            await redis.hset(keys.batch(batch), mapping={**fields, "payload": wire.pack_items(items)})
        await redis.zadd(keys.rung, {OUT: 1})
        await redis.zadd(keys.waiting(RUN), {WAITS: 1.0})
        await redis.hset(keys.parts(RUN), "00000001", wire.dump([FINISHED]))
        done = [
            entry
            for row in (4, 5)
            for entry in (intent(f"{FINISHED}:4:{row}", row), *answer(f"{FINISHED}:4:{row}", row))
        ]
        await redis.rpush(keys.journal(FINISHED), wire.pack_entries(done))
        for call, row in zip(self.calls, (0, 1), strict=True):
            await self.append([], 0, 0, [BOUND_NUSD, wire.pack_entries([intent(call, row)])])

    async def append(self, entries: list[Entry], settled: int, spent: int, intents: list[Any]) -> int:
        """As the worker that calls says it."""
        self._flushes += 1
        keys = [self.context.keys.batch(OUT), self.context.keys.journal(OUT), self.context.keys.budget(DAY)]
        packed = wire.pack_entries(entries) if entries else b""
        args = [5, packed, settled, spent, f"w1-{self._flushes}", *intents]
        return int((await self.context.scripts.append(keys=keys, args=args))[0])

    async def release(self) -> None:
        keys = self.context.keys
        names = [keys.batch(OUT), keys.waiting(RUN), keys.rung, keys.drained(RUN), keys.wake]
        assert await self.context.scripts.release(keys=names, args=[5, OUT, "waiting", "any", 1.0, "w1", ""])

    async def settle(self) -> None:
        await self.settler._late([])

    def ledger(self) -> pl.DataFrame:
        return pl.read_parquet(self.root / "costs/**/*.parquet", hive_partitioning=False).sort("call_id")

    def results(self) -> pl.DataFrame:
        return pl.read_parquet(self.root / paths.results(RUN))


@pytest.fixture
async def it(context: Context, tmp_path: Path) -> Stage:
    made = Stage(context, tmp_path)
    await made.prepare()
    return made


async def test_what_was_paid_is_booked_and_what_was_answered_is_a_result(it: Stage) -> None:
    redis, keys = it.context.redis, it.context.keys
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.settle()
    assert not (it.root / paths.results(RUN)).exists(), "a worker is still at it"
    assert await it.append(answer(it.calls[0], 0), BOUND_NUSD, NUSD, []) == 1, "and is heard"
    await it.release()
    await it.settle()
    costs, results = it.ledger(), it.results()
    assert costs.select("call_id", "purpose", "outcome", "client").rows() == [
        (it.calls[0], "answer", "ok", "acme"), (it.calls[1], "answer", "lost", "acme"),
        *((f"{FINISHED}:4:{row}", "answer", "ok", "acme") for row in (4, 5)),
    ]  # fmt: skip
    assert results["status"].to_list() == ["ok", "failed", "failed", "failed", "ok", "ok"]
    assert results["output"].to_list() == ["answer 0", None, None, None, "answer 4", "answer 5"]
    assert results["error_code"].to_list() == [None, *["set_aside"] * 3, None, None]
    assert results["cost_usd"].sum() == costs["cost_usd"].sum() == Decimal(3 * NUSD + BOUND_NUSD) / 10**9
    said = await redis.hmget(keys.budget(DAY), "spent", "reserved")
    assert [int(each) for each in said] == [NUSD + BOUND_NUSD, 0], "what was out counts as spent"
    assert (await redis.hget(keys.run(RUN), "status"), await redis.exists(keys.orphans)) == (b"failed", 0)
    record = wire.load(it.context.store.read_bytes(paths.run_record(RUN)))
    assert (record["status"], record["summary"]["ok"], record["summary"]["calls"]) == ("failed", 3, 4)
    assert [key async for key in redis.scan_iter(f"*{RUN}.*") if await redis.ttl(key) < 0] == []


def die_after(monkeypatch: pytest.MonkeyPatch, it: Stage, step: str) -> None:
    real = type(it.context.scripts).__getattr__

    def script(self: Any, name: str) -> Any:
        async def call(**given: Any) -> None:
            await real(self, name)(**given)
            raise OSError("killed")

        return call if name == step else real(self, name)

    monkeypatch.setattr(type(it.context.scripts), "__getattr__", script)


@pytest.mark.parametrize("step", ["orphan_take", "orphan_done", "note"])
async def test_who_dies_on_the_way_leaves_it_to_the_next_settler(
    it: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    die_after(monkeypatch, it, step)
    with pytest.raises(OSError, match="killed"):
        await it.settle()
    monkeypatch.undo()
    for _ in range(2):
        await it.settle()
    assert it.ledger()["call_id"].is_unique().all() and it.ledger().height == 4
    assert it.results()["status"].to_list() == [*["failed"] * 4, "ok", "ok"]
    assert int(await it.context.redis.hget(it.context.keys.budget(DAY), "spent")) == 2 * BOUND_NUSD


@pytest.mark.parametrize("step", ["", "orphan_take", "note"])
async def test_what_was_settled_before_becomes_results_although_no_batch_is_left(
    it: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whoever dies on the way."""
    redis, keys, store = it.context.redis, it.context.keys, it.context.store
    run = await Salvage(it.context, it.settler._end).run(RUN)
    replies = [
        await redis.hmget(keys.batch(FINISHED), "head", "payload", "poison"),
        await redis.lrange(keys.journal(FINISHED), 0, -1),
    ]
    await asyncio.to_thread(write_part, store, {}, run, "00000001", replies, "", set(), [])
    gone = [of(batch) for batch in (OUT, WAITS, FINISHED) for of in (keys.batch, keys.journal)]
    await redis.delete(*gone, keys.parts(RUN))
    if step == "orphan_take":  # named, and settled by then
        await redis.hset(keys.orphans, FINISHED, "")
    await aside.run(it.context, RUN, ValueError("nonsense"))
    if step:
        die_after(monkeypatch, it, step)
        with pytest.raises(OSError, match="killed"):
            await it.settle()
        monkeypatch.undo()
    for _ in range(2):
        await it.settle()
    assert it.results()["status"].to_list() == [*["failed"] * 4, "ok", "ok"]
    assert wire.load(store.read_bytes(paths.run_record(RUN)))["summary"]["ok"] == 2
    assert await redis.hget(keys.run(RUN), "summary") and not await redis.exists(keys.orphans)


async def test_a_part_that_was_written_and_not_finished_is_not_booked_twice(it: Stage) -> None:
    """Its batches are still there."""
    for name in (paths.part(RUN, "00000001"), paths.costs_part("2026-03-01", RUN, "00000001")):
        it.context.store.write_bytes(name, b"as far as it came")
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    await it.settle()
    assert it.ledger()["call_id"].is_unique().all() and it.results().height == 6


@pytest.mark.parametrize("step", ["orphan_take", "orphan_done"])
async def test_what_is_said_once_a_batch_is_booked_takes_nothing_away(
    it: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A fenced worker's outcomes begin another journal, while calls of another batch are out: the part is made of both."""
    redis, keys = it.context.redis, it.context.keys
    await redis.hset(keys.batch(WAITS), mapping={"state": "rung", "holder": "w2"})
    assert await it.append(answer(it.calls[0], 0), BOUND_NUSD, NUSD, []) == 1
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    real, late = type(it.context.scripts).__getattr__, [keys.batch(OUT), keys.journal(OUT)]
    came = Called(
        it.calls[1], "ok", 200, None, Usage(1), NUSD * 1000, "billed", "m", "p", "2026-03-01", 0, None, START_US
    )

    def script(self: Any, name: str) -> Any:
        async def call(**given: Any) -> Any:
            found = await real(self, name)(**given)
            if given["args"][1] == OUT:
                monkeypatch.undo()
                assert await it.context.scripts.late(keys=late, args=[wire.pack_entries([Late(came)])]) == 1
            return found

        return call if name == step else real(self, name)

    monkeypatch.setattr(type(it.context.scripts), "__getattr__", script)
    await it.settle()
    assert not (it.root / paths.results(RUN)).exists(), "a worker is still at the other one"
    await redis.hset(keys.batch(WAITS), mapping={"state": "waiting", "holder": ""})
    for _ in range(2):
        await it.settle()
    outcomes = it.ledger().filter(pl.col("call_id").is_in(it.calls)).select("outcome", "purpose", "cost_usd").rows()
    assert outcomes == [
        ("ok", "answer", Decimal(NUSD) / 10**9),
        ("ok", "late", Decimal(NUSD) / 10**9),
    ]
    assert it.results()["output"].to_list() == ["answer 0", None, None, None, "answer 4", "answer 5"]
    assert not await redis.exists(keys.orphans)
    assert [key async for key in redis.scan_iter(f"*{RUN}.*") if await redis.ttl(key) < 0] == []


async def test_who_slept_while_its_batch_was_given_back_buys_nothing(it: Stage) -> None:
    """No ledger would have it: its batch may have been booked by then."""
    redis, keys = it.context.redis, it.context.keys
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    dear = Intent(f"{OUT}:5:3", 0, 2, "mini", START_US, BOUND_NUSD * 1000)
    assert await it.append([], 0, 0, [BOUND_NUSD, wire.pack_entries([dear])]) == -1
    assert await redis.llen(keys.journal(OUT)) == 2
    await it.settle()
    assert it.ledger()["call_id"].to_list()[:2] == it.calls
    assert [int(each) for each in await redis.hmget(keys.budget(DAY), "spent", "reserved")] == [2 * BOUND_NUSD, 0]


async def test_a_booked_batch_is_not_written_again_while_another_is_out(
    it: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await it.context.redis.hset(it.context.keys.batch(WAITS), "state", "rung")
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    await it.settle()
    again: list[Any] = []
    monkeypatch.setattr("worker.settle.orphans.write_part", lambda *given: again.append(given))
    await it.settle()
    assert not again and it.ledger().height == 4


async def test_who_set_it_aside_and_died_is_finished_by_the_settler(it: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None: ...

    with monkeypatch.context() as patched:
        patched.setattr(aside, "leave", nothing)
        await aside.run(it.context, RUN, ValueError("nonsense"))
    assert await it.context.redis.scard(it.context.keys.open_runs) == 1
    await it.release()
    await it.settler.step()
    await it.settler.step()
    assert not await it.context.redis.exists(it.context.keys.open_runs)
    assert it.results()["status"].to_list().count("ok") == 2


async def test_a_file_that_is_gone_holds_up_no_other_run(it: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[str] = []

    async def look(run_id: str, _: Any) -> bool:
        if run_id == RUN:
            it.context.store.read_table(paths.results(RUN))
        settled.append(run_id)
        return True

    monkeypatch.setattr(it.settler, "_run", look)
    monkeypatch.setattr(aside, "MISSING_S", 0.0)
    await it.context.redis.sadd(it.context.keys.open_runs, "another")
    for _ in range(aside.STRIKES):
        await it.settler.step()
    assert settled == ["another"] * aside.STRIKES
    assert await it.context.redis.hget(it.context.keys.run(RUN), "status") == b"failed"


async def test_what_cannot_be_booked_holds_nobody_up_for_ever(it: Stage) -> None:
    """Neither its settler, which would try again and again, nor other runs."""
    (it.root / paths.chunk(RUN, 0, 0)).write_bytes(b"no Parquet at all")
    await aside.run(it.context, RUN, ValueError("nonsense"))
    await it.release()
    for _ in range(aside.STRIKES):
        assert await it.context.redis.exists(it.context.keys.orphans)
        await it.settle()
    assert not await it.context.redis.exists(it.context.keys.orphans)
    assert it.ledger().height == 4, "its calls are in the ledger all the same"
