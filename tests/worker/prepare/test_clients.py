"""An index is held from step to step, but for one that a failed step may have changed by half."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import paths, schemas
from pipelines.settings import parse_settings
from pipelines.types import Options
from tests.support_frames import result
from tests.support_worker import write
from worker.context import Context
from worker.dedupe.encode import Encoder
from worker.dedupe.ended import mark_ended
from worker.dedupe.known import Known
from worker.money.ledger import Ledger
from worker.prepare.clients import Clients
from worker.prepare.prepare import Preparer
from worker.prepare.sift import Asker

RUN, EARLIER, OLDER = "20260101-000000-abcdef", "20251231-000000-abcdef", "20251230-000000-abcdef"
ASKER = Asker(RUN, "acme", Options(dedupe="exact"))
TARGET = {"kind": "openai", "lane": "local", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture
async def here(context: Context, tmp_path: Path) -> Context:
    """The client has two ended runs of one answered prompt each."""
    settings = parse_settings(
        {"spillway": {"data": str(tmp_path)}, "targets": {"t": TARGET}, "routes": {"small": {"targets": ["t"]}}}
    )
    here = Context(settings, context.redis, context.redis_url)
    await here.scripts.load()
    now_ms = here.clock.now_ms()
    for number, run in enumerate((EARLIER, OLDER)):
        chunk = [{"row": 0, "kind": "asked", "route": "small", "key": bytes([number] * 16), "tags": "{}"}]
        write(tmp_path / paths.chunk(run, 0, 0), chunk, schemas.CHUNK)
        write(tmp_path / paths.results(run), [result(0, run_id=run)], schemas.RESULTS)
        mark_ended(here.store, "acme", now_ms - 1_000 * (number + 1), run)
    return here


def clients_of(here: Context) -> Clients:
    return Preparer(here, Ledger(here.settings, here.targets), Encoder())._clients


async def seen_by(clients: Clients, fail: BaseException | None = None) -> Known:
    """The index that a step works with; the step then fails, if it shall."""
    found: list[Known] = []

    async def work() -> bool:
        known = await clients.known(ASKER, fresh=False)
        assert known is not None
        found.append(known)
        if fail is not None:
            raise fail
        return True

    try:
        await clients.prepare("acme", work)
    except BaseException as error:
        assert error is fail
    return found[0]


async def test_an_index_is_held_until_a_step_fails(here: Context) -> None:
    clients = clients_of(here)
    first = await seen_by(clients)
    assert len(first.index) == 2 and await seen_by(clients) is first
    for fail in (OSError(28, "No space left on device"), asyncio.CancelledError()):
        failed = await seen_by(clients, fail)
        again = await seen_by(clients)
        assert again is not failed and len(again.index) == 2


async def test_what_was_taken_before_a_store_failed_is_not_kept(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know any more when its answers become too old."""
    clients, sound = clients_of(here), here.store.sound_table

    def broken(name: str, **more: Any) -> pa.Table | None:
        if name.startswith(paths.chunks_dir(OLDER)):
            raise OSError("the store is away")
        return sound(name, **more)

    monkeypatch.setattr(here.store, "sound_table", broken)
    with pytest.raises(OSError, match="away"):
        await clients.prepare("acme", lambda: _known(clients))
    monkeypatch.undo()
    later_ms = here.clock.now_ms() + 400 * 86_400_000
    monkeypatch.setattr(here.clock, "now_ms", lambda: later_ms)
    assert len((await seen_by(clients)).index) == 0, "by now all of it is too old"


async def _known(clients: Clients) -> bool:
    return await clients.known(ASKER, fresh=False) is not None
