"""A source is prepared to its end once, whoever looks at the run and when."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from pipelines import paths, wire
from pipelines.errors import LeaseLost, SourceError
from pipelines.settings import parse_settings
from pipelines.types import Options
from producer.sources import resolve
from worker import aside
from worker.context import Context
from worker.dedupe.encode import Encoder
from worker.money.ledger import Ledger
from worker.prepare import prepare
from worker.prepare.prepare import Preparer
from worker.settle.compact import compact

RUN, OTHER = "20260101-000000-abcdef", "20260101-000001-abcdef"
TARGET = {"kind": "openai", "lane": "local", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture
async def here(context: Context, tmp_path: Path) -> Context:
    """A run of 300 prompts of which nothing is prepared; its client is ours to prepare for."""
    settings = parse_settings({"spillway": {"data": str(tmp_path / "data")}, "targets": {"t": TARGET}})
    here = Context(settings, context.redis, context.redis_url)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": "r{i}", "prompt": "p {i}"}}\n' for i in range(300)))
    fields = {
        "status": "in_progress", "prepared": "0", "cursor": "", "options": wire.pack_options(Options(dedupe="off")),
        "sources": wire.pack_sources(resolve([str(tmp_path / "a.jsonl")])),
    }  # fmt: skip
    await here.redis.hset(here.keys.run(RUN), mapping=fields)
    await here.redis.set(here.keys.lease("prepare:default"), here.owner)
    await here.scripts.load()
    return here


def preparer(here: Context) -> Preparer:
    return Preparer(here, Ledger(here.settings, here.targets), Encoder())


async def test_who_saw_a_run_unprepared_a_moment_ago_reads_its_last_chunk_not_again(here: Context) -> None:
    """Its lease went over to us between our look at the run and our look at its cursor."""
    first = preparer(here)
    while await first._chunk(RUN):
        pass
    assert await here.redis.hmget(here.keys.run(RUN), "prepared", "rows") == [b"1", b"300"]
    chunks = here.store.names(paths.chunks_dir(RUN))
    assert not await preparer(here)._chunk(RUN)
    await here.redis.hset(here.keys.run(RUN), "prepared", "0")  # as for a run that is begun again where it ended
    await preparer(here)._chunk(RUN)
    assert here.store.names(paths.chunks_dir(RUN)) == chunks
    assert await here.redis.hmget(here.keys.run(RUN), "prepared", "rows") == [b"1", b"300"]


async def test_a_batch_names_the_limits_of_its_rows(here: Context, tmp_path: Path) -> None:
    """The plan counts them against a target's tokens a minute; rows without one are in batches of their own."""
    limits = ["", ', "max_tokens": 70', ', "max_tokens": 70']
    rows = "".join(f'{{"prompt": "p {i}"{limits[i % 3]}}}\n' for i in range(90))
    (tmp_path / "a.jsonl").write_text(rows)
    sources = wire.pack_sources(resolve([str(tmp_path / "a.jsonl")]))
    await here.redis.hset(here.keys.run(RUN), "sources", sources)
    await preparer(here)._chunk(RUN)
    batches = [each.decode() for each in await here.redis.zrange(here.keys.waiting(RUN), 0, -1)]
    heads = [wire.unpack_head(await here.redis.hget(here.keys.batch(each), "head")) for each in batches]
    assert {head.max_tokens / head.rows for head in heads} == {0, 70}
    assert sum(head.max_tokens for head in heads) == 60 * 70


async def test_a_redis_that_forgot_chunks_leaves_no_row_in_two_parts(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is prepared once more may be cut elsewhere: an inbox has more segments by now, a route embeds no more."""
    names = []
    for first_rows, chunk_rows in ((100, 70), (150, 100)):
        monkeypatch.setattr(prepare, "FIRST_ROWS", first_rows)
        monkeypatch.setattr(prepare, "CHUNK_ROWS", chunk_rows)
        await here.redis.hset(here.keys.run(RUN), mapping={"cursor": "", "prepared": "0"})
        one = preparer(here)
        while await one._chunk(RUN):
            pass
        names.append([paths.first_row(name) for name in here.store.names(paths.chunks_dir(RUN))])
    assert names == [[0, 100, 170, 240], [0, 150, 250]]
    assert compact(here.store, RUN, "default", "")["rows"] == 300


async def test_long_prompts_come_in_smaller_chunks_and_the_first_calls_wait_for_few(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.redis.hset(here.keys.run(RUN), mapping={"cursor": "", "prepared": "0"})
    monkeypatch.setattr(prepare, "FIRST_BYTES", 500)
    monkeypatch.setattr(prepare, "CHUNK_BYTES", 5_000)
    one = preparer(here)
    while await one._chunk(RUN):
        pass
    begun = sorted(paths.first_row(name) for name in here.store.names(paths.chunks_dir(RUN)))
    rows = [after - before for before, after in itertools.pairwise([*begun, 300])]
    assert 0 < rows[0] < rows[1] < 200
    assert max(rows[1:-1]) - min(rows[1:-1]) < 20


@pytest.mark.parametrize("who", ["lease", "cursor"])
async def test_who_slept_leaves_the_chunk_that_another_has_written(
    here: Context, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Its own is cut and linked by what it knew: over that of another it would say of rows what no batch does."""
    redis, keys, slept = here.redis, here.keys, preparer(here)
    sift = slept._sifter.sift

    def late(*args: Any, **more: Any) -> Any:
        here.store.write_bytes(paths.chunk(RUN, 0, 0), b"another's")
        return sift(*args, **more)

    monkeypatch.setattr(slept._sifter, "sift", late)
    opened = slept._open

    async def taken_over(*args: Any) -> Any:
        found = await opened(*args)
        if who == "lease":
            await redis.set(keys.lease("prepare:default"), "another")
        else:
            await redis.hset(keys.run(RUN), "cursor", '{"row": 300}')
        return found

    monkeypatch.setattr(slept, "_open", taken_over)
    with pytest.raises(LeaseLost):
        await slept._chunk(RUN)
    assert here.store.read_bytes(paths.chunk(RUN, 0, 0)) == b"another's"
    assert not await redis.exists(keys.waiting(RUN))


@pytest.mark.parametrize(
    "now", [{}, {"status": "completed", "prepared": "1"}, {"status": "in_progress", "prepared": "1"}]
)
async def test_a_source_that_cannot_be_read_fails_no_run_that_is_over_or_gone(
    here: Context, now: dict[str, str]
) -> None:
    """Whoever found it so may have slept since."""
    redis, key = here.redis, here.keys.run(RUN)
    await redis.delete(key)
    if now:
        await redis.hset(key, mapping=now)
    await preparer(here)._fail(RUN, SourceError("it is gone"))
    assert await redis.hgetall(key) == {name.encode(): value.encode() for name, value in now.items()}
    await redis.hset(key, mapping={"status": "in_progress", "prepared": "0"})
    await preparer(here)._fail(RUN, SourceError("it is gone"))
    assert await redis.hmget(key, "cancel", "prepared") == [b"failed", b"1"]


async def retried(here: Context) -> list[bytes]:
    """Steps of a preparer, as its loop makes them, over a retried run whose results are gone and another client's new run: the
    status of the one and what is prepared of the other."""
    redis, keys = here.redis, here.keys
    await redis.hset(keys.run(OTHER), mapping=await redis.hgetall(keys.run(RUN)) | {b"client": b"other"})
    await redis.hset(
        keys.run(RUN), mapping={"cursor": '{"row":300,"generation":1}', "generation": 1, "redo": '["failed"]'}
    )
    await redis.sadd(keys.open_runs, RUN, OTHER)
    await redis.delete(keys.lease("prepare:default"))
    one = preparer(here)
    for _ in range(2 * aside.STRIKES):
        with contextlib.suppress(OSError):
            await one.step()
    return [*await redis.hmget(keys.run(RUN), "status"), *await redis.hmget(keys.run(OTHER), "prepared")]


async def test_a_retried_run_whose_results_are_gone_holds_up_nobody_and_is_set_aside(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.store.write_bytes(paths.run_record(RUN), b"{}")
    assert await retried(here) == [b"in_progress", b"1"], "another host's file may be seen late"
    monkeypatch.setattr(aside, "MISSING_S", 0.0)
    assert await retried(here) == [b"failed", b"1"]
    error = await here.redis.hget(here.keys.run(RUN), "error")
    assert error.startswith(f"a file of it is gone (Missing: {paths.results(RUN)} is not there)".encode())


async def test_no_run_is_to_blame_for_a_data_root_that_is_gone(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "MISSING_S", 0.0)
    assert (await retried(here))[0] == b"in_progress"


async def test_followers_that_cannot_be_read_leave_nothing_where_their_run_is_over(here: Context) -> None:
    keys, names = here.keys, [here.keys.promoted(RUN), here.keys.run(RUN)]
    assert await here.scripts.unasked(keys=names, args=[1, 2]) == 0 and not await here.redis.exists(keys.promoted(RUN))
    await here.redis.hset(keys.promoted(RUN), mapping={"1": "w", "2": "a"})
    await here.redis.hset(keys.run(RUN), "wanted", 1)
    for gone in (1, 0):  # however often
        assert await here.scripts.unasked(keys=names, args=[1, 2]) == gone
    assert await here.redis.hgetall(keys.promoted(RUN)) == {b"1": b"x", b"2": b"a"}
    assert await here.redis.hget(keys.run(RUN), "wanted") == b"0"


async def test_a_run_with_a_deadline_is_prepared_as_far_as_fits_once_a_lane_is_measured(here: Context) -> None:
    """What is bought of it is the tail of what is prepared: in a file sorted by kind, of twenty seconds' work the dear half."""
    redis, keys = here.redis, here.keys
    await redis.sadd(keys.open_runs, RUN)
    await redis.hset(keys.run(RUN), mapping={"held_rows": 5_000, "held_bytes": 5_000_000})
    lanes = wire.dump({"rows_per_s": 8.0})

    async def goes_on(**fields: str) -> bool:
        await redis.hset(keys.run(RUN), mapping=fields)
        return bool(await preparer(here)._unprepared())

    assert not await goes_on(deadline_ms="9000000000000"), "its batches get their size from the lanes' speed"
    await redis.hset(keys.lanes, "t", lanes)
    assert await goes_on(held_rows="24000")
    assert not await goes_on(held_rows="25000")
    assert not await goes_on(held_rows="5000", deadline_ms="")
