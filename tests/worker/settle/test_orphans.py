"""Calls of batches that Redis forgot: each is in the ledger once, marked, and counts in the budgets, whoever says it how often."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import wire
from pipelines.errors import LeaseLost
from pipelines.settle import Facts, Journal, tables
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Late, Usage
from tests.support_frames import RUN
from worker.context import Context
from worker.money import budget
from worker.queue import Scripts
from worker.settle import orphans
from worker.settle.orphans import Orphans
from worker.settle.parts import by_day
from worker.settle.settle import Settler

BATCH = f"{RUN}.0.0.0-aaaa"
FACTS = {"mini": Facts("cloud", "openai", "m", "p", "2026-03-01")}
START_US = 1_772_352_000_000_000
NUSD, LOST_NUSD = 7, 9


class Killed(Exception):
    """What comes instead of the next step."""


def head(batch: str = BATCH) -> BatchHead:
    return BatchHead(batch, RUN, "small", 0, 2, 1, 1, 1.0, 1, 1)


def journal(batch: str = BATCH) -> list[Entry]:
    """A call that was answered, and one that was out."""
    heard, out = f"{batch}:5:1", f"{batch}:5:2"
    ok = Called(heard, "ok", 200, None, Usage(1), NUSD * 1000, "billed", "m", "p", "2026-03-01", 0, None, START_US + 1)
    return [
        Intent(heard, 0, 1, "mini", START_US, 8000), Intent(out, 1, 1, "mini", START_US, LOST_NUSD * 1000), ok,
        Done(0, "ok", heard, 1, "a", None, "stop", None, None, None, 200, None, START_US, START_US + 1),
    ]  # fmt: skip


async def say(context: Context, batch: str = BATCH, *, certain: bool = False, owner: str = "w1") -> int:
    """As a worker says its memory again."""
    keys = context.keys
    scopes = [keys.budget("day:2026-03-01")]
    args = [
        5, owner, 1, wire.pack_entries(journal(batch)), b"", LOST_NUSD, NUSD, 60, batch, wire.pack_head(head(batch)), int(certain),
        f"{batch}:5:1", f"{batch}:5:2",
    ]  # fmt: skip
    names = [keys.batch(batch), keys.journal(batch), keys.orphans, keys.counted, *scopes]
    return int(await context.scripts.again(keys=names, args=args))


async def book(context: Context) -> None:
    await Orphans(context).book(await context.run(RUN), FACTS, [])


def ledger(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "costs/**/*.parquet", hive_partitioning=False).sort("call_id")


async def spent(context: Context) -> int:
    return int(await context.redis.hget(context.keys.budget("day:2026-03-01"), "spent") or 0)


@pytest.fixture
async def run(context: Context) -> Context:
    await context.redis.hset(context.keys.run(RUN), mapping={"client": "acme", "status": "completed", "options": "{}"})
    await context.redis.set(context.keys.lease("settle"), context.owner)
    await budget.ensure(context.redis, context.keys, {"day:2026-03-01": 1000})
    return context


@pytest.mark.parametrize("certain", [False, True])
async def test_what_was_never_settled_is_booked_once_and_counts_once(
    run: Context, tmp_path: Path, certain: bool
) -> None:
    for _ in range(2):
        await say(run, certain=certain, owner="w1")
        await book(run)
    costs = ledger(tmp_path)
    assert costs.select("call_id", "purpose", "outcome", "client", "row").rows() == [
        (f"{BATCH}:5:1", "late", "ok", "acme", 0), (f"{BATCH}:5:2", "late", "lost", "acme", 1),
    ]  # fmt: skip
    assert costs["cost_usd"].sum() == Decimal(NUSD + LOST_NUSD) / 10**9
    assert await spent(run) == NUSD + LOST_NUSD
    assert not await run.redis.exists(run.keys.orphans, run.keys.journal(BATCH))


STEPS = ("orphan_take", "orphan_spend", "written", "orphan_done")


def die_after(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Once."""
    real = orphans._write if step == "written" else Scripts.__getattr__

    def write(*args: Any) -> None:
        real(*args)  # type: ignore[operator]
        monkeypatch.undo()
        raise Killed

    def script(self: Scripts, name: str) -> Any:
        async def call(**given: Any) -> None:
            await real(self, name)(**given)  # type: ignore[operator]
            monkeypatch.undo()
            raise Killed

        return call if name == step else real(self, name)  # type: ignore[operator]

    if step == "written":
        monkeypatch.setattr(orphans, "_write", write)
    else:
        monkeypatch.setattr(Scripts, "__getattr__", script)


@pytest.mark.parametrize("step", STEPS)
async def test_who_dies_after_any_step_leaves_it_to_the_next_and_nothing_is_done_twice(
    run: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await say(run)
    die_after(monkeypatch, step)
    with pytest.raises(Killed):
        await book(run)
    for _ in range(2):
        await book(run)
    assert ledger(tmp_path)["call_id"].to_list() == [f"{BATCH}:5:1", f"{BATCH}:5:2"]
    assert await spent(run) == NUSD + LOST_NUSD
    assert not await run.redis.exists(run.keys.orphans, run.keys.journal(BATCH), f"{run.keys.journal(BATCH)}:taken")


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_told_meanwhile_is_booked_after_it(
    run: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whether or not who books lives to see it."""
    keys, more = run.keys, Intent(f"{BATCH}:6:1", 0, 2, "mini", START_US, 4000)
    await say(run)
    die_after(monkeypatch, step)
    with pytest.raises(Killed):
        await book(run)
    args = [6, "w2", 1, wire.pack_entries([more]), b"", 4, 0, 60, BATCH, wire.pack_head(head()), 0, more.call]
    names = [keys.batch(BATCH), keys.journal(BATCH), keys.orphans, keys.counted, keys.budget("day:2026-03-01")]
    await run.scripts.again(keys=names, args=args)
    for _ in range(3):
        await book(run)
    assert ledger(tmp_path)["call_id"].to_list() == [f"{BATCH}:5:1", f"{BATCH}:5:2", f"{BATCH}:6:1"]
    assert await spent(run) == NUSD + LOST_NUSD + 4
    assert not await run.redis.exists(keys.orphans, keys.journal(BATCH))


async def test_what_some_are_certain_of_and_others_are_not_counts_once(run: Context, tmp_path: Path) -> None:
    """The chunk was prepared anew, cut otherwise, while they said it."""
    await say(run, certain=True, owner="w1")
    await say(run, certain=False, owner="w2")
    await say(run, certain=True, owner="w1")
    await book(run)
    assert await spent(run) == NUSD + LOST_NUSD and ledger(tmp_path).height == 2


async def test_a_batch_that_was_made_again_is_settled_like_any_other(run: Context, tmp_path: Path) -> None:
    await say(run)
    await run.redis.hset(run.keys.batch(BATCH), mapping={"state": "waiting", "head": wire.pack_head(head())})
    await book(run)
    assert not (tmp_path / "costs").exists() and await run.redis.exists(run.keys.journal(BATCH))
    assert not await run.redis.exists(run.keys.orphans)


async def test_a_batch_that_was_made_again_once_its_journal_was_taken_keeps_its_own(
    run: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, redis = run.keys, run.redis
    await say(run)
    die_after(monkeypatch, "orphan_take")
    with pytest.raises(Killed):
        await book(run)
    await redis.hset(keys.batch(BATCH), mapping={"state": "rung", "head": wire.pack_head(head()), f"o:{keys.id}": 5})
    await redis.rpush(keys.journal(BATCH), b"its own")
    for _ in range(2):
        await book(run)
    assert await redis.lrange(keys.journal(BATCH), 0, -1) == [b"its own"]
    assert await redis.hget(keys.batch(BATCH), f"o:{keys.id}") == b"5", "its calls are out"
    assert set(ledger(tmp_path)["purpose"]) == {"late"} and not await redis.exists(keys.orphans)


async def test_who_does_not_settle_any_more_books_nothing(run: Context, tmp_path: Path) -> None:
    await say(run)
    await run.redis.set(run.keys.lease("settle"), "another")
    with pytest.raises(LeaseLost):
        await book(run)
    assert not (tmp_path / "costs").exists() and await run.redis.exists(run.keys.journal(BATCH))


async def test_an_answer_that_comes_after_all_is_booked_at_its_price(run: Context, tmp_path: Path) -> None:
    out = Called(
        f"{BATCH}:5:2", "ok", 200, None, Usage(1), 3000, "billed", "m", "p", "2026-03-01", 0, None, START_US + 2
    )
    keys, late = [run.keys.batch(BATCH), run.keys.journal(BATCH)], wire.pack_entries([Late(out)])
    assert await run.scripts.late(keys=keys, args=[late]) == 0, "nobody knows of its batch: it was settled"
    await say(run)
    assert await run.scripts.late(keys=keys, args=[late]) == 1
    await book(run)
    assert ledger(tmp_path).select("outcome", "purpose").rows() == [("ok", "late")] * 2
    assert ledger(tmp_path)["cost_usd"].sum() == Decimal(NUSD + 3) / 10**9


async def test_what_is_in_the_ledger_was_settled(run: Context, tmp_path: Path) -> None:
    costs = tables([Journal(head(), "acme", tuple(journal()))], FACTS)[1]
    for day, table in by_day(costs):
        run.store.write_table(f"costs/day={day}/{RUN}.00000001.parquet", table)
    other = f"{RUN}.0.0.1-bbbb"
    await say(run)
    await say(run, other)
    await book(run)
    assert set(ledger(tmp_path)["purpose"]) == {"answer", "late"} and ledger(tmp_path)["call_id"].is_unique().all()
    assert ledger(tmp_path).height == 4 and await spent(run) == NUSD + LOST_NUSD


async def test_an_ended_runs_are_booked_at_once_an_open_ones_at_its_end(run: Context, tmp_path: Path) -> None:
    class NoPrices:
        def price(self, name: str) -> None: ...
        def prices(self) -> list[Any]:
            return []

    settler = Settler(run, NoPrices())  # type: ignore[arg-type]
    await say(run)
    await settler._late([RUN])
    assert not (tmp_path / "costs").exists(), "its batches may still be made again"
    await settler._late([])
    assert ledger(tmp_path).height == 2


async def test_what_is_hostile_is_left_out(run: Context, tmp_path: Path) -> None:
    keys, redis = run.keys, run.redis
    await say(run)
    await redis.hset(
        keys.orphans,
        mapping={f"{RUN}.9": b"nonsense", f"{RUN}.8": b"", "../../x": b"0", f"{RUN}.7": b"\x91" * 9},
    )
    await redis.rpush(keys.journal(f"{RUN}.9"), b"nonsense")
    dear = Intent(f"{BATCH}:5:3", 0, 1, "mini", START_US, -5)
    await redis.rpush(keys.journal(BATCH), b"nonsense", wire.pack_entries([dear]))
    await book(run)
    assert ledger(tmp_path).height == 2
    assert await redis.hkeys(keys.orphans) == [b"../../x"]
