"""What Redis knows of schedules: since when each is to fire, the firing under way, its files and its history.

A firing begins and ends in one step each, and each step compares what was seen: whoever was killed in between is finished
by somebody else, whoever slept in between changes nothing. It decides nothing and starts no run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from pipelines import wire
from pipelines.firing import Firing, Past
from producer.arrivals import Mark
from producer.queue import Redis

T = TypeVar("T")

HISTORY = 100
KEEP_S = 400 * 86_400

BEGUN, OVERTAKEN, BUSY = 1, 0, 2

# A schedule that is new, or whose times were changed, fires from `since` on; its files stay known.
# KEYS: 1 schedule  2 files | ARGV: 1 rule as seen ('' none)  2 rule  3 since_ms  4 keep_s, then url mark ...
_ADOPT = """
if (redis.call('HGET', KEYS[1], 'rule') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'rule', ARGV[2], 'since_ms', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""

# KEYS: 1 schedule  2 its last run | ARGV: 1 number of firings as seen  2 firing  3 keep_s  4 states of open runs
# Returns 1 begun, 0 somebody else was faster, 2 the last run has not ended.
_BEGIN = """
local s = redis.call('HMGET', KEYS[1], 'number', 'firing')
if (s[1] or '0') ~= ARGV[1] or (s[2] or '') ~= '' then return 0 end
local status = redis.call('HGET', KEYS[2], 'status')
if status and string.find(ARGV[4], ' ' .. status .. ' ', 1, true) then return 2 end
redis.call('HSET', KEYS[1], 'firing', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

# KEYS: 1 schedule  2 files  3 history
# ARGV: 1 firing as begun  2 due_ms ('' fired by hand)  3 run id ('' none)  4 entry  5 history kept  6 keep_s, then url mark ...
_END = """
if redis.call('HGET', KEYS[1], 'firing') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'firing', '')
redis.call('HINCRBY', KEYS[1], 'number', 1)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'since_ms', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'last', ARGV[3]) end
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('LPUSH', KEYS[3], ARGV[4])
redis.call('LTRIM', KEYS[3], 0, tonumber(ARGV[5]) - 1)
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[6]) end
return 1
"""


class State(msgspec.Struct, frozen=True):
    """A schedule as Redis has it; `raw` is the firing under way as it was written."""

    rule: str = ""
    since_ms: int = 0
    number: int = 0
    last: str = ""
    raw: str = ""
    firing: Firing | None = None


class Timetable:
    """The schedules of one installation."""

    def __init__(self, redis: Redis, keys: wire.Keys) -> None:
        self._redis, self._keys = redis, keys

    async def state(self, name: str) -> State:
        fields = await self._redis.hgetall(self._keys.schedule(name))
        raw = fields.get("firing", "")
        return State(
            rule=fields.get("rule", ""),
            since_ms=_whole(fields.get("since_ms")),
            number=_whole(fields.get("number")),
            last=fields.get("last", ""),
            raw=raw,
            firing=_read(raw, Firing) if raw else None,
        )

    async def files(self, name: str) -> dict[str, Mark]:
        """Every file that firings took, by URL."""
        found = await self._redis.hgetall(self._keys.schedule_files(name))
        marks = {url: _read(raw, Mark) for url, raw in found.items()}
        return {url: mark for url, mark in marks.items() if mark is not None}

    async def history(self, name: str) -> list[Past]:
        """The last HISTORY firings, newest first."""
        raws = await self._redis.lrange(self._keys.schedule_history(name), 0, HISTORY - 1)
        return [each for raw in raws if (each := _read(raw, Past)) is not None]

    async def adopt(self, name: str, seen: State, rule: str, since_ms: int, files: Mapping[str, Mark]) -> None:
        """From when on the schedule fires, by which rule; what `seen` was must still hold."""
        keys = [self._keys.schedule(name), self._keys.schedule_files(name)]
        await self._redis.eval(_ADOPT, len(keys), *keys, seen.rule, rule, str(since_ms), str(KEEP_S), *_flat(files))

    async def touch(self, name: str, files: Mapping[str, Mark]) -> None:
        """Files that were written again without a change: the next look need not read them."""
        if files:
            told = {url: text(mark) for url, mark in files.items()}
            await self._redis.hset(self._keys.schedule_files(name), mapping=told)
            await self._redis.expire(self._keys.schedule_files(name), KEEP_S)

    async def begin(self, seen: State, firing: Firing) -> int:
        """BEGUN, OVERTAKEN (look again) or BUSY (the schedule's last run has not ended)."""
        keys = [self._keys.schedule(firing.schedule), self._keys.run(seen.last)]
        states = f" {' '.join(wire.RUN_OPEN)} "
        return int(await self._redis.eval(_BEGIN, 2, *keys, str(seen.number), text(firing), str(KEEP_S), states))

    async def end(self, firing: Firing, raw: str, entry: Past, *, by_clock: bool, files: Mapping[str, Mark]) -> bool:
        """Closes the firing that began as `raw`; False when somebody else has done so."""
        name = firing.schedule
        keys = [self._keys.schedule(name), self._keys.schedule_files(name), self._keys.schedule_history(name)]
        due = str(firing.due_ms) if by_clock else ""
        told = [raw, due, firing.run_id, text(entry), str(HISTORY), str(KEEP_S), *_flat(files)]
        return bool(await self._redis.eval(_END, len(keys), *keys, *told))

    async def discard(self, name: str, raw: str) -> None:
        """Forgets a firing that nobody of ours wrote."""
        entry = text(Past(0, 0, "", "", 0, "what Redis held of a firing could not be read"))
        keys = [self._keys.schedule(name), self._keys.schedule_files(name), self._keys.schedule_history(name)]
        await self._redis.eval(_END, len(keys), *keys, raw, "", "", entry, str(HISTORY), str(KEEP_S))


def _flat(files: Mapping[str, Mark]) -> list[str]:
    return [part for url, mark in files.items() for part in (url, text(mark))]


def text(value: msgspec.Struct) -> str:
    """A value as Redis holds it."""
    return msgspec.json.encode(value).decode()


def _read(raw: str, kind: type[T]) -> T | None:
    with contextlib.suppress(msgspec.MsgspecError, RecursionError, UnicodeError):
        return msgspec.json.decode(raw, type=kind)
    return None


def _whole(text: str | None) -> int:
    with contextlib.suppress(ValueError):
        return int(text or 0)
    return 0
