"""Small submissions, sealed together: the rows of some milliseconds become one segment file of an inbox run and one step in
Redis, and only then their submitters are told that they are accepted. Who answers them, and when, is not its matter.

A run takes rows for a while, then closes; a server that is killed leaves one that closes by Redis' clock. What is refused
because it has closed meanwhile goes into the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Iterator

import msgspec

from pipelines import files, paths, registration, wire
from pipelines.errors import QueueError, StoreError
from pipelines.registration import Registration
from pipelines.types import Options, Source
from producer import intake, placed
from producer.placed import Place
from producer.queue import Redis, RedisError, now_ms
from producer.records import Records

log = logging.getLogger("spillway.api")

APART_S = 0.03
"""Between the beginnings of two segments of an inbox: what comes meanwhile gathers. Who submits alone waits for nobody."""
GRACE = 1.5
"""A run takes rows as long as the configuration says; Redis would let it half as long again, for a server that is slow."""
MOST_ROWS, MOST_SEGMENTS = 4096, 256
SEGMENT_ROWS, SEGMENT_BYTES = 2048, 8 << 20

# KEYS: 1 run  2 wake  3 prepare's bell | ARGV: 1 segments before this one  2 source as JSON  3 rows  4 bytes  5 the newest's number
# Returns 1 when it is in (again is once), 0 when the run takes no more and never will have the newest, -1 - n when Redis knows only
# the first n segments, nil when it has forgotten the run: whoever registers it again finds the newest on the disk, or does not.
# What is refused is on the disk for a moment more: the end of the run must not take it for one of its own, and `cut_at` has its number.
_APPEND = """
local r = redis.call('HMGET', KEYS[1], 'inbox', 'segments', 'sources', 'cancel')
local t = redis.call('TIME')
local before, has = tonumber(ARGV[1]), tonumber(r[2] or 0)
if not r[1] then return false end
if has == before + 1 then return 1 end
if (r[4] or '') ~= '' or (tonumber(r[1]) or 0) < t[1] * 1000 + math.floor(t[2] / 1000) then
  if r[1] ~= 'sealed' then redis.call('HSET', KEYS[1], 'cut_at', ARGV[5]) end
  return 0
end
if has < before then return -1 - has end
local sources = string.sub(r[3], 1, -2) .. (before > 0 and ',' or '') .. ARGV[2] .. ']'
redis.call('HSET', KEYS[1], 'sources', sources, 'segments', before + 1)
redis.call('HINCRBY', KEYS[1], 'rows_estimate', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'bytes_estimate', ARGV[4])
for i = 2, 3 do
  redis.call('LPUSH', KEYS[i], 'x')
  redis.call('LTRIM', KEYS[i], 0, 3)
end
return 1
"""


class _Waiting(msgspec.Struct):
    lines: list[bytes]
    name: str
    accepted: asyncio.Future[Place]


class _Run:
    """The run that takes rows now."""

    def __init__(self, run_id: str, until_s: float) -> None:
        self.id, self.until_s = run_id, until_s
        self.rows = 0
        self.sources: list[tuple[Source, int]] = []

    @property
    def full(self) -> bool:
        late = asyncio.get_running_loop().time() >= self.until_s
        return late or self.rows >= MOST_ROWS or len(self.sources) >= MOST_SEGMENTS


class Inboxes:
    """One server's; `channel` is where it listens for answers, `open_s` how long a run takes rows."""

    def __init__(self, redis: Redis, keys: wire.Keys, records: Records, channel: str, open_s: float) -> None:
        self.redis, self.keys, self.records, self.channel, self.open_s = redis, keys, records, channel, open_s
        self._of: dict[tuple[str, bytes], _Inbox] = {}

    async def submit(self, client: str, lines: list[bytes], options: Options | None = None, name: str = "") -> Place:
        """Accepts the rows, JSON objects of one line each: they are on the disk and in Redis when this returns. Under
        `name`, a key of Redis, `placed.find` knows them again.

        Raises StoreError or QueueError when they may not be; they are asked nevertheless if they are.
        """
        options = options or Options()
        whose = (client, wire.pack_options(options))
        inbox = self._of.get(whose)
        if inbox is None:
            inbox = self._of[whose] = _Inbox(self, client, options)
            inbox.task = asyncio.create_task(self._serve(whose, inbox))
        return await inbox.put(lines, name)

    async def _serve(self, whose: tuple[str, bytes], inbox: _Inbox) -> None:
        try:
            await inbox.run()
        finally:
            self._of.pop(whose, None)

    async def close(self) -> None:
        """What has come in is accepted; runs that are open close."""
        tasks = [inbox.stop() for inbox in self._of.values()]
        await asyncio.gather(*tasks, return_exceptions=True)


class _Inbox:
    """The submissions of one client on the same terms."""

    def __init__(self, all_: Inboxes, client: str, options: Options) -> None:
        self._all, self._client, self._options = all_, client, options
        self._waiting: list[_Waiting] = []
        self._news, self._stopping = asyncio.Event(), False
        self._run: _Run | None = None
        self.task: asyncio.Task[None] | None = None

    def put(self, lines: list[bytes], name: str) -> asyncio.Future[Place]:
        accepted: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(lines, name, accepted))
        self._news.set()
        return accepted

    def stop(self) -> asyncio.Task[None]:
        assert self.task is not None
        self._stopping = True
        self._news.set()
        return self.task

    async def run(self) -> None:
        """Until nothing has come in for as long as a run takes rows."""
        loop, next_s = asyncio.get_running_loop(), 0.0
        while True:
            left_s = self._all.open_s if self._run is None else self._run.until_s - loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.0, left_s))
            if not self._waiting:
                await self._close()
                if not self._waiting:
                    return
            await asyncio.sleep(next_s - loop.time())
            next_s = loop.time() + APART_S
            await self._accept(self._group())
            if not self._waiting and not self._stopping:
                self._news.clear()

    def _group(self) -> list[_Waiting]:
        rows = size = count = 0
        for each in self._waiting:
            rows, size, count = rows + len(each.lines), size + sum(map(len, each.lines)), count + 1
            if rows >= SEGMENT_ROWS or size >= SEGMENT_BYTES:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _accept(self, group: list[_Waiting]) -> None:
        try:
            run_id, row = await self._written(group)
        except Exception as error:
            told = error
            if isinstance(error, RedisError | OSError):
                told = QueueError("the queue cannot be reached")
            elif not isinstance(error, StoreError | QueueError):
                log.exception("an inbox of %s failed", self._client)
            self._run = None  # whether its last segment is in, nobody knows
            for each in group:
                if not each.accepted.done():
                    each.accepted.set_exception(told)
            return
        for each, place in _places(group, run_id, row):
            if not each.accepted.done():
                each.accepted.set_result(place)

    async def _written(self, group: list[_Waiting]) -> tuple[str, int]:
        """One segment, in the next run if this one has closed meanwhile; the run and its first row there."""
        content = b"".join(line + b"\n" for each in group for line in each.lines)
        rows = sum(len(each.lines) for each in group)
        while True:
            if self._run is not None and self._run.full:
                await self._close()
            run = self._run = self._run or await self._open()
            if named := {each.name: place for each, place in _places(group, run.id, run.rows) if each.name}:
                await placed.note(self._all.redis, len(run.sources), named)
            name = paths.inbox_segment(run.id, len(run.sources))
            await asyncio.to_thread(self._write, name, content)
            run.sources.append((_source(self._all.records.path(name), content), rows))
            if await self._append(run):
                first, run.rows = run.rows, run.rows + rows
                return run.id, first
            await asyncio.to_thread(self._all.records.store.delete, name)
            self._run = None

    def _write(self, name: str, content: bytes) -> None:
        with self._all.records.store.create(name) as out:
            out.write(content)

    async def _append(self, run: _Run) -> bool:
        """The newest segment; and before it those that Redis has forgotten with its last seconds. False when the run takes no
        more; QueueError when Redis does not know it, so that nobody knows whether the newest will be in."""
        redis, keys = self._all.redis, self._all.keys
        names, at, newest = [keys.run(run.id), keys.wake, keys.arrived], len(run.sources) - 1, str(len(run.sources) - 1)
        while at < len(run.sources):
            source, rows = run.sources[at]
            told = [str(at), msgspec.json.encode(source).decode(), str(rows), str(source.size_bytes), newest]
            done: int | None = await redis.eval(_APPEND, 3, *names, *told)
            if done is None:
                raise QueueError(f"Redis has forgotten run {run.id}")
            if done == 0:
                return False
            at = at + 1 if done == 1 else -1 - done
        return True

    async def _open(self) -> _Run:
        """A new run, of which the record is on the disk before Redis knows it."""
        redis, keys, records = self._all.redis, self._all.keys, self._all.records
        at_ms, since_s = await now_ms(redis), asyncio.get_running_loop().time()
        run_id = intake.private_run_id(at_ms)
        new = Registration(
            run_id=run_id, client=self._client, fingerprint=f"inbox {run_id}", created_ms=at_ms, options=self._options,
            sources=(), redis=await intake.memory_of(redis, keys), origin="inbox", tell=self._all.channel,
            inbox_until_ms=at_ms + round(1000 * GRACE * self._all.open_s),
        )  # fmt: skip
        await asyncio.to_thread(records.write, run_id, registration.record(new))
        await intake.put(redis, keys, run_id, at_ms, registration.fields(new))
        return _Run(run_id, since_s + self._all.open_s)

    async def _close(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            with contextlib.suppress(RedisError, OSError):  # it closes by itself
                await placed.close(self._all.redis, self._all.keys, run.id)


def _places(group: list[_Waiting], run_id: str, row: int) -> Iterator[tuple[_Waiting, Place]]:
    """One behind the other, from `row` on."""
    for each in group:
        yield each, Place(run_id, row)
        row += len(each.lines)


def _source(path: str, content: bytes) -> Source:
    return Source(path, "jsonl", "", len(content), 0, files.digest(io.BytesIO(content), len(content)))
