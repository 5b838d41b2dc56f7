"""What is known of a file, whoever has deleted it meanwhile."""

from __future__ import annotations

from pathlib import Path

from pipelines import wire
from producer import uploads
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
