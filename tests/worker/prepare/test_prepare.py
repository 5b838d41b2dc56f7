"""A source is prepared to its end once, whoever looks at the run and when."""

from __future__ import annotations

from pathlib import Path

from pipelines import paths, wire
from pipelines.settings import parse_settings
from pipelines.types import Options
from producer.sources import resolve
from worker.context import Context
from worker.dedupe.encode import Encoder
from worker.money.ledger import Ledger
from worker.prepare.prepare import Preparer

RUN = "20260101-000000-abcdef"
TARGET = {"kind": "openai", "lane": "local", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


async def test_who_saw_a_run_unprepared_a_moment_ago_reads_its_last_chunk_not_again(
    context: Context, tmp_path: Path
) -> None:
    """Its lease went over to us between our look at the run and our look at its cursor."""
    settings = parse_settings({"spillway": {"data": str(tmp_path / "data")}, "targets": {"t": TARGET}})
    here = Context(settings, context.redis, context.redis_url)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": "r{i}", "prompt": "p {i}"}}\n' for i in range(300)))
    source = resolve([str(tmp_path / "a.jsonl")])
    options = wire.pack_options(Options(dedupe="off"))
    fields = {
        "status": "in_progress",
        "prepared": "0",
        "cursor": "",
        "options": options,
        "sources": wire.pack_sources(source),
    }
    await here.redis.hset(here.keys.run(RUN), mapping=fields)
    await here.scripts.load()
    preparer = Preparer(here, Ledger(settings, here.targets), Encoder())
    while await preparer._chunk(RUN):
        pass
    assert await here.redis.hmget(here.keys.run(RUN), "prepared", "rows") == [b"1", b"300"]
    chunks = here.store.names(paths.chunks_dir(RUN))
    assert not await Preparer(here, Ledger(settings, here.targets), Encoder())._chunk(RUN)
    await here.redis.hset(here.keys.run(RUN), "prepared", "0")  # as for a run that is begun again where it ended
    await Preparer(here, Ledger(settings, here.targets), Encoder())._chunk(RUN)
    assert here.store.names(paths.chunks_dir(RUN)) == chunks
    assert await here.redis.hmget(here.keys.run(RUN), "prepared", "rows") == [b"1", b"300"]
