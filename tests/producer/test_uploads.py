"""What is known of a file, whoever has deleted it meanwhile."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pipelines import wire
from producer import batches, uploads
from producer.queue import Redis, now_ms
from producer.store import Store
from producer.uploads import Upload

KEYS = wire.Keys("test-uploads")


async def test_a_deleted_file_that_is_sent_again_with_its_key_is_there(redis: Redis, tmp_path: Path) -> None:
    """Although a batch that reads it has kept its bytes, and with them that it was deleted."""
    at_ms, store = await now_ms(redis), Store(str(tmp_path))
    file = Upload(uploads.new_id(at_ms), "acme", "a.jsonl", "batch", "jsonl", 3, at_ms // 1000)
    with store.create(file.name) as out:
        out.write(b"{}\n")
    await uploads.keep(redis, KEYS, file)
    assert await uploads.hold(redis, KEYS, "acme", file.id, "batch_1")
    await uploads.delete(redis, KEYS, store, file)
    assert await uploads.get(redis, KEYS, "acme", file.id) is None
    await uploads.keep(redis, KEYS, file)
    await uploads.release(redis, KEYS, store, file.id, "batch_1")
    assert await uploads.get(redis, KEYS, "acme", file.id) == file and store.exists(file.name)


async def gone(redis: Redis, store: Store, *held_by: str, expires_s: int | None = None) -> Upload:
    """A file that its client has deleted while these batches read it."""
    at_ms = await now_ms(redis)
    file = Upload(uploads.new_id(at_ms), "acme", "a.jsonl", "batch", "jsonl", 3, at_ms // 1000, expires_s)
    with store.create(file.name) as out:
        out.write(b"{}\n")
    await uploads.keep(redis, KEYS, file)
    for batch_id in held_by:
        assert await uploads.hold(redis, KEYS, "acme", file.id, batch_id)
    await uploads.delete(redis, KEYS, store, file)
    return file


async def sweep(redis: Redis, store: Store) -> None:
    """As it is done a minute later."""
    for file_id in await redis.zrange(KEYS.api_expiring, 0, -1):
        await redis.zincrby(KEYS.api_expiring, -uploads.AGAIN_S, file_id)
    await uploads.sweep(redis, KEYS, store, partial(batches.ended, redis, KEYS))


@pytest.mark.parametrize(
    ("status", "run_status", "goes"),
    [
        ("completed", "completed", True), ("cancelled", "", True), ("", "", True), ("in_progress", "in_progress", False),
        ("validating", "", False), ("completed", "in_progress", False),
    ],
)  # fmt: skip
async def test_a_deleted_file_goes_when_the_server_that_was_to_delete_it_died(
    redis: Redis, tmp_path: Path, status: str, run_status: str, goes: bool
) -> None:
    """The batch has ended, and nobody has let its file go; one whose run is asked again still reads it."""
    store = Store(str(tmp_path))
    file = await gone(redis, store, "batch_1")
    if status:
        await redis.hset(KEYS.api_batch("batch_1"), mapping={"status": status, "run_id": "run"})
    if run_status:
        await redis.hset(KEYS.run("run"), "status", run_status)
    await uploads.sweep(redis, KEYS, store, partial(batches.ended, redis, KEYS))
    assert store.exists(file.name), "not at once: whoever ends the batch does it"
    for _ in range(2):
        await sweep(redis, store)
        assert store.exists(file.name) is not goes
    assert bool(await redis.exists(KEYS.api_file(file.id))) is not goes
    if not goes:
        await redis.delete(KEYS.run("run"), KEYS.api_batch("batch_1"))
        await sweep(redis, store)
        assert not store.exists(file.name)
    assert not await redis.exists(KEYS.api_expiring, KEYS.api_held(file.id))


async def test_bytes_whose_deletion_was_cut_off_go(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))

    def killed(name: str) -> None:
        raise OSError("killed")

    with monkeypatch.context() as there, pytest.raises(OSError, match="killed"):
        there.setattr(store, "delete", killed)
        await gone(redis, store)
    [left] = store.names("files")
    await sweep(redis, store)
    assert store.names("files") == [], left


@pytest.mark.parametrize("kept_s", [None, 3600])
async def test_a_file_that_was_sent_again_is_not_swept(redis: Redis, tmp_path: Path, kept_s: int | None) -> None:
    store = Store(str(tmp_path))
    expires_s = await now_ms(redis) // 1000 + kept_s if kept_s else None
    file = await gone(redis, store, "batch_1", expires_s=expires_s)
    await uploads.keep(redis, KEYS, file)
    await sweep(redis, store)
    assert await uploads.get(redis, KEYS, "acme", file.id) == file and store.exists(file.name)
    assert await uploads._forget(redis, KEYS, file, only_due=True) is False, "who looked at it before it came again"
    assert await uploads.get(redis, KEYS, "acme", file.id) == file
