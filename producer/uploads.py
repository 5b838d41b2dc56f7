"""Files of the HTTP API: their records in Redis, their bytes under the data root. How they travel is for `api/`.

A file that is deleted or has expired is gone for its client at once; its bytes stay until no open batch reads them. Until
they are gone the sweep looks at it again: whoever was to delete them may have been killed.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from pipelines import paths, wire
from producer.queue import Redis
from producer.store import Store

_ID = re.compile(r"file-([0-9a-f]{12})[0-9a-f]{20}")
SWEEP_ROWS = 500
AGAIN_S = 60
"""Between two looks at a file that is gone and whose bytes are not."""

# KEYS: 1 file  2 held  3 files of the client  4 expiring   ARGV: 1 id  2 now_s  3 when to look again, s  4 '1' only if it is due
# -> 1 when its bytes may go now
_FORGET = """
if ARGV[4] == '1' and (tonumber(redis.call('ZSCORE', KEYS[4], ARGV[1]) or '') or math.huge) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'gone', '1')
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
return redis.call('EXISTS', KEYS[2]) == 0 and 1 or 0
"""

# KEYS: 1 file  2 held   ARGV: 1 batch  2 client  -> 1 when the client has that file
_HOLD = """
local raw = redis.call('HMGET', KEYS[1], 'record', 'gone')
if not raw[1] or raw[2] or cjson.decode(raw[1])['client'] ~= ARGV[2] then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""


class Upload(msgspec.Struct, frozen=True):
    """A file as its record says."""

    id: str
    client: str
    filename: str
    purpose: str
    form: str  # jsonl | parquet
    size_bytes: int
    created_s: int
    expires_s: int | None = None

    @property
    def name(self) -> str:
        """Where its bytes are under the data root."""
        return paths.upload(self.id, self.form)

    def shown(self) -> dict[str, Any]:
        """OpenAI's File object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": self.created_s,
            "expires_at": self.expires_s,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


def new_id(now_ms: int) -> str:
    """Ids sort by their time, so that a list goes on behind any id, one that is gone included."""
    return f"file-{now_ms:012x}{secrets.token_hex(10)}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def made_s(text: str) -> float | None:
    """When a file's id was made, unix seconds; None for what is no file's id."""
    found = _ID.fullmatch(text)
    return int(found[1], 16) / 1000 if found else None


async def keep(redis: Redis, keys: wire.Keys, upload: Upload, *, listed: bool = True) -> None:
    """Makes a file known whose bytes are there; twice is once. One that is not listed is known by its id alone."""
    pipe = redis.pipeline(transaction=True)
    pipe.hset(keys.api_file(upload.id), mapping={"record": wire.dump(msgspec.to_builtins(upload))})
    pipe.hdel(keys.api_file(upload.id), "gone")  # it was deleted, and is sent again with its key
    pipe.zrem(keys.api_expiring, upload.id)
    if listed:
        pipe.zadd(keys.api_files(upload.client), {upload.id: 0})
    if upload.expires_s is not None:
        pipe.zadd(keys.api_expiring, {upload.id: upload.expires_s})
    await pipe.execute()


async def get(redis: Redis, keys: wire.Keys, client: str, file_id: str) -> Upload | None:
    """A client's file; None for what is not there, is gone, or is somebody else's: nobody can tell which."""
    pipe = redis.pipeline(transaction=False)
    pipe.hmget(keys.api_file(file_id if is_id(file_id) else "-"), ["record", "gone"])
    pipe.time()
    (raw, gone), (now_s, _) = await pipe.execute()
    found = _read(raw)
    if found is None or gone or found.client != client or (found.expires_s or now_s + 1) <= now_s:
        return None
    return found


async def even_if_gone(redis: Redis, keys: wire.Keys, file_id: str) -> Upload | None:
    """A file that its client has deleted, for the batch that reads it."""
    raw = await redis.hget(keys.api_file(file_id), "record")
    return _read(raw)


async def page(
    redis: Redis, keys: wire.Keys, client: str, *, after: str | None, limit: int, purpose: str | None, newest: bool
) -> tuple[list[Upload], bool]:
    """Up to `limit` files behind `after`, and whether there are more."""
    found: list[Upload] = []
    while len(found) <= limit:
        ids = await behind(redis, keys.api_files(client), after, min(500, limit + 1), newest=newest)
        if not ids:
            break
        pipe = redis.pipeline(transaction=False)
        for file_id in ids:
            pipe.hmget(keys.api_file(file_id), ["record", "gone"])
        pipe.time()
        *records, (now_s, _) = await pipe.execute()
        there = (_read(raw) for raw, gone in records if not gone)
        found += [
            one
            for one in there
            if one is not None and purpose in (None, one.purpose) and (one.expires_s or now_s + 1) > now_s
        ]
        after = ids[-1]
    return found[:limit], len(found) > limit


async def behind(redis: Redis, name: str, after: str | None, count: int, *, newest: bool) -> list[str]:
    """The next ids of a list, newest or oldest first."""
    end = f"({after}" if after else None
    if newest:
        found = await redis.zrevrangebylex(name, end or "+", "-", start=0, num=count)
    else:
        found = await redis.zrangebylex(name, end or "-", "+", start=0, num=count)
    return list(found)


async def delete(redis: Redis, keys: wire.Keys, store: Store, upload: Upload) -> None:
    """The client has no such file any more; the bytes go with the last batch that reads them."""
    if await _forget(redis, keys, upload):
        await _drop(redis, keys, store, upload)


async def hold(redis: Redis, keys: wire.Keys, client: str, file_id: str, batch_id: str) -> bool:
    """Keeps a file's bytes for a batch of the same client; False when there is no such file."""
    names = [keys.api_file(file_id), keys.api_held(file_id)]
    return bool(await redis.eval(_HOLD, 2, *names, batch_id, client))


async def release(redis: Redis, keys: wire.Keys, store: Store, file_id: str, batch_id: str) -> None:
    """A batch that read this file has ended."""
    await redis.srem(keys.api_held(file_id), batch_id)
    raw, gone = await redis.hmget(keys.api_file(file_id), ["record", "gone"])
    found = _read(raw)
    if found is not None and gone and await _forget(redis, keys, found):
        await _drop(redis, keys, store, found)


async def sweep(
    redis: Redis, keys: wire.Keys, store: Store, ended: Callable[[Iterable[str]], Awaitable[list[str]]]
) -> None:
    """Deletes what has expired, and what was to be deleted by somebody who was killed; `ended` says which of some batches
    read their files no more."""
    now_s = (await redis.time())[0]
    for file_id in await redis.zrangebyscore(keys.api_expiring, "-inf", now_s, start=0, num=SWEEP_ROWS):
        raw, gone = await redis.hmget(keys.api_file(file_id), ["record", "gone"])
        found = _read(raw)
        if found is None:
            await redis.zrem(keys.api_expiring, file_id)
            continue
        if gone and (over := await ended(await redis.smembers(keys.api_held(file_id)))):
            await redis.srem(keys.api_held(file_id), *over)
        if await _forget(redis, keys, found, only_due=True):
            await _drop(redis, keys, store, found)


async def _forget(redis: Redis, keys: wire.Keys, upload: Upload, *, only_due: bool = False) -> bool:
    names = [
        keys.api_file(upload.id),
        keys.api_held(upload.id),
        keys.api_files(upload.client),
        keys.api_expiring,
    ]
    now_s = int((await redis.time())[0])
    told = [upload.id, str(now_s), str(now_s + AGAIN_S), "1" if only_due else ""]
    return bool(await redis.eval(_FORGET, len(names), *names, *told))


async def _drop(redis: Redis, keys: wire.Keys, store: Store, upload: Upload) -> None:
    await asyncio.to_thread(store.delete, upload.name)
    pipe = redis.pipeline(transaction=True)
    pipe.zrem(keys.api_expiring, upload.id)
    pipe.delete(keys.api_file(upload.id))
    await pipe.execute()


def _read(raw: str | None) -> Upload | None:
    return msgspec.json.decode(raw, type=Upload) if raw else None
