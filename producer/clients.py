"""Clients and their keys: one key for one client, kept in Redis as its SHA-256. Who asks what is for `api/auth.py`.

A key is `sk-spill-` and 32 random bytes; it is shown once. Two hashes: client -> record with the digest of its key, and
digest -> client, so that a key is found in one step and a new one makes the old one worthless at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from typing import Any

import msgspec

from pipelines import wire
from pipelines.config.sections import NAME
from pipelines.errors import UsageError
from producer.queue import Redis, now_ms

PREFIX = "sk-spill-"
ID_CHARS = 8
"""How much of a key is public, so that people can tell keys apart."""

# KEYS: 1 clients  2 digests   ARGV: 1 client  2 record  3 digest  4 the record as seen ('' none)
_PUT = """
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[4] then return 0 end
if now ~= '' then redis.call('HDEL', KEYS[2], cjson.decode(now)['digest']) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], ARGV[1]) end
return 1
"""

# KEYS: 1 clients  2 digests  ARGV: 1 prefix of the counters, then digest, requests ...
# Returns for each {client, record, requests this minute, ms left}, or nothing
_FIND = """
local found = {}
for i = 2, #ARGV, 2 do
  local client = redis.call('HGET', KEYS[2], ARGV[i])
  found[i / 2] = {}
  if client then
    local counter = ARGV[1] .. client
    local asked = redis.call('INCRBY', counter, ARGV[i + 1])
    if asked == tonumber(ARGV[i + 1]) then redis.call('PEXPIRE', counter, 60000) end
    found[i / 2] = {client, redis.call('HGET', KEYS[1], client) or '', asked, redis.call('PTTL', counter)}
  end
end
return found
"""

# KEYS: 1 clients  2 counter of the client  ARGV: 1 client -> {requests this minute, ms left}, nothing when it is disabled
_COUNT = """
local record = redis.call('HGET', KEYS[1], ARGV[1])
if record and cjson.decode(record)['disabled'] then return {} end
local asked = redis.call('INCR', KEYS[2])
if asked == 1 then redis.call('PEXPIRE', KEYS[2], 60000) end
return {asked, redis.call('PTTL', KEYS[2])}
"""


class ClientKey(msgspec.Struct, frozen=True):
    """What is known of a client's key; `digest` is its SHA-256, hex, '' of one that comes by tokens and has none."""

    client: str
    key_id: str
    digest: str
    created_ms: int
    admin: bool = False
    disabled: bool = False

    def shown(self) -> dict[str, Any]:
        """Without the digest: for lists."""
        return {
            "client": self.client,
            "key_id": self.key_id,
            "created_ms": self.created_ms,
            "admin": self.admin,
            "disabled": self.disabled,
        }


class Found(msgspec.Struct, frozen=True):
    """The client of a key, and how often it has asked in this minute."""

    key: ClientKey
    asked: int
    resets_ms: int


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def add(redis: Redis, keys: wire.Keys, client: str, *, admin: bool = False) -> tuple[str, ClientKey]:
    """A new client's key, to be shown once; UsageError when the name is no name or has a key already."""
    if not NAME.fullmatch(client):
        raise UsageError(f"{client[:80]!r} is not a name; use letters, digits, `_`, `-` and `.`")
    made, record = _made(client, await now_ms(redis), admin)
    if not await _put(redis, keys, record, ""):
        raise UsageError(f"client {client!r} has a key already; `spillway clients rotate {client}` makes a new one")
    return made, record


async def rotate(redis: Redis, keys: wire.Keys, client: str) -> tuple[str, ClientKey]:
    """A new key for a client; the old one is worthless from now on. UsageError for an unknown client."""
    while True:
        seen = await _raw(redis, keys, client)
        made, record = _made(client, await now_ms(redis), _read(seen).admin)
        if await _put(redis, keys, record, seen):
            return made, record


async def disable(redis: Redis, keys: wire.Keys, client: str, *, tokens: bool = False) -> ClientKey:
    """Refuses a client's key, and its tokens, until the key is rotated; twice is once. UsageError for an unknown client;
    where `tokens` are taken, one without a key may come too."""
    while True:
        try:
            seen = await _raw(redis, keys, client)
            record = msgspec.structs.replace(_read(seen), disabled=True)
        except UsageError:
            if not tokens or not NAME.fullmatch(client):
                raise
            seen, record = "", ClientKey(client, "", "", await now_ms(redis), disabled=True)
        if await _put(redis, keys, record, seen):
            return record


async def listed(redis: Redis, keys: wire.Keys) -> list[ClientKey]:
    """Every client with a key, by name."""
    found = await redis.hvals(keys.clients)
    return sorted((_read(raw) for raw in found), key=lambda each: each.client)


async def find(redis: Redis, keys: wire.Keys, key: str) -> Found | None:
    """Whose key this is, counting the request; None for a key that is not valid."""
    [found] = await find_all(redis, keys, [key])
    return found


async def find_all(redis: Redis, keys: wire.Keys, given: list[str]) -> list[Found | None]:
    """`find` for several requests in one step; most of them come with the same few keys."""
    times = Counter(given)
    digests = {key: digest_of(key) for key in times}
    told = [each for key, count in times.items() for each in (digests[key], str(count))]
    replies = await redis.eval(_FIND, 2, keys.clients, keys.client_keys, keys.asked(""), *told)
    known = {key: _found(digests[key], reply) for key, reply in zip(times, replies, strict=True)}
    return [_nth(known[key], times, key) for key in given]


def _nth(found: Found | None, later: Counter[str], key: str) -> Found | None:
    """As if each had asked alone, one after the other."""
    later[key] -= 1
    return found and msgspec.structs.replace(found, asked=found.asked - later[key])


async def count(redis: Redis, keys: wire.Keys, client: str) -> tuple[int, int] | None:
    """Counts a request of a client that came without a key: how many in this minute, and ms until it is over; None for
    one that is disabled."""
    found = await redis.eval(_COUNT, 2, keys.clients, keys.asked(client), client)
    return (int(found[0]), int(found[1])) if found else None


def _found(digest: str, reply: list[Any]) -> Found | None:
    if not reply or not reply[1]:
        return None
    record = _read(reply[1])
    if record.disabled or not hmac.compare_digest(record.digest, digest):
        return None
    return Found(record, int(reply[2]), int(reply[3]))


def _made(client: str, created_ms: int, admin: bool) -> tuple[str, ClientKey]:
    key = PREFIX + secrets.token_urlsafe(32)
    return key, ClientKey(client, key[: len(PREFIX) + ID_CHARS], digest_of(key), created_ms, admin)


async def _raw(redis: Redis, keys: wire.Keys, client: str) -> str:
    seen = await redis.hget(keys.clients, client)
    if seen is None:
        raise UsageError(f"no client {client[:80]!r}; `spillway clients list` names them")
    return seen


def _read(raw: str) -> ClientKey:
    return msgspec.json.decode(raw, type=ClientKey)


async def _put(redis: Redis, keys: wire.Keys, record: ClientKey, seen: str) -> bool:
    given: list[Any] = [record.client, wire.dump(msgspec.to_builtins(record)), record.digest, seen]
    return bool(await redis.eval(_PUT, 2, keys.clients, keys.client_keys, *given))
