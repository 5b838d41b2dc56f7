"""Who waits for which row, and the answers as they come: by messages as the journal gets them, else found by looking.

A message can be lost only with its connection, and then everything that is waited for is looked up at once; beside that,
what has ended or was settled is looked at every second, and the journals now and then. So a lost message costs a second or
some, never an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, defaultdict

import msgspec

from pipelines import told, wire
from pipelines.told import Key, Row, Sorted, Unasked
from producer import finding
from producer.queue import Redis, RedisError
from producer.store import Store

log = logging.getLogger("spillway.api")

LOOK_S, LEAST_S = 1.0, 0.05
PATIENCE_S, PATIENCE_MOST_S = 2.0, 16.0
"""Between two looks into the journals of a run whose answers do not come."""
KNOWN_MOST, KNOWN_BYTES, LINKS_MOST = 8192, 16 << 20, 16_384
READ_S = 5.0


class _Seen(msgspec.Struct):
    """What was looked at of a run."""

    settled: str = ""
    parts: set[str] = msgspec.field(default_factory=set)
    next_s: float = 0.0
    patience_s: float = PATIENCE_S


class Known:
    """The newest answers; so many, and of so much text."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Key, Row] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> Row | None:
        return self._rows.get(key)

    def put(self, key: Key, row: Row) -> None:
        if key in self._rows:
            return
        self._rows[key] = row
        self._bytes += _size(row)
        while len(self._rows) > KNOWN_MOST or self._bytes > KNOWN_BYTES:
            self._bytes -= _size(self._rows.popitem(last=False)[1])


class Answers:
    """One server's; `redis` answers bytes, `channel` is where workers tell it of the runs that it opened."""

    def __init__(self, redis: Redis, keys: wire.Keys, store: Store, channel: str) -> None:
        self._redis, self._keys, self._store, self._channel = redis, keys, store, channel
        self._known = Known()
        self._wanted: dict[Key, set[asyncio.Future[Row]]] = {}
        self._leader: OrderedDict[Key, Key] = OrderedDict()
        self._followers: dict[Key, set[Key]] = defaultdict(set)
        self._seen: dict[str, _Seen] = {}
        self._urgent: set[str] = set()
        self._look_now = asyncio.Event()
        self._released = False
        self.listening = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Rows that somebody waits for."""
        return len(self._wanted)

    async def wait(self, key: Key, seconds: float, *, old: bool = False) -> Row | None:
        """How the row ended; None when that is not known after so long. `old`: its message may have come long ago."""
        if (row := self._known.get(key)) is not None:
            return row
        if self._released:
            return None
        found: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(key, set()).add(found)
        if old:
            self._hurry(key[0])
        try:
            async with asyncio.timeout(max(seconds, LOOK_S) if old else seconds):
                return await found
        except TimeoutError:
            return None
        finally:
            if futures := self._wanted.get(key):
                futures.discard(found)
                if not futures:
                    del self._wanted[key]

    def release(self) -> None:
        """Whoever waits has waited long enough, and so has who comes now."""
        self._released = True
        for future in [each for futures in self._wanted.values() for each in futures]:
            if not future.done():
                future.set_exception(TimeoutError())

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.to_thread(finding.load)  # not while the first one waits
        await asyncio.gather(self._listen(), self._look_again())

    # -- messages ----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    while True:
                        message = await channel.get_message(timeout=READ_S)
                        if message is not None and message["type"] == "subscribe":  # again: it was away in between
                            self._hurry(*{run for run, _ in self._wanted})
                            self.listening.set()
                        elif message is not None and message["type"] == "message":
                            self._take(told.read(message["data"]))
            except (RedisError, OSError) as error:
                log.warning("answers: %s; listening again", error)
                await asyncio.sleep(0.5)

    def _take(self, message: list[Row] | Sorted) -> None:
        if isinstance(message, Sorted):
            for each in message.rows:
                self._unasked(message.run_id, each)
        else:
            for row in message:
                self._answer(row)

    def _answer(self, row: Row) -> None:
        """The first answer to a row stands; what follows it is answered too."""
        key = (row["run_id"], row["row"])
        self._known.put(key, row)
        for future in self._wanted.pop(key, ()):
            if not future.done():
                future.set_result(row)
        self._unlink(key)
        for follower in list(self._followers.pop(key, ())):
            self._leader.pop(follower, None)
            if row["status"] in ("ok", "duplicate"):  # else it is asked itself
                self._answer(told.copied(follower, row))

    def _unasked(self, run_id: str, row: Unasked) -> None:
        key = (run_id, row.row)
        if row.leader_row is None:
            self._answer(told.invalid(key, row))
            return
        leader = (row.leader_run or run_id, row.leader_row)
        if (found := self._known.get(leader)) is not None:
            if found["status"] in ("ok", "duplicate"):
                self._answer(told.copied(key, found))
            return
        if key not in self._leader:
            self._leader[key] = leader
            self._followers[leader].add(key)
            if len(self._leader) > LINKS_MOST:
                self._unlink(next(iter(self._leader)))
        if leader[0] not in self._seen or leader[0] != run_id:
            self._hurry(leader[0])

    def _unlink(self, key: Key) -> None:
        leader = self._leader.pop(key, None)
        if leader is not None:
            self._followers[leader].discard(key)
            if not self._followers[leader]:
                del self._followers[leader]

    # -- looking -----------------------------------------------------------------------------------------------------

    def _hurry(self, *runs: str) -> None:
        self._urgent.update(runs)
        self._look_now.set()

    async def _look_again(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), LOOK_S)
            self._look_now.clear()
            try:
                await self._look()
            except (RedisError, OSError) as error:
                log.warning("answers: %s; looking again", error)
            except Exception:
                log.exception("looking for answers failed; trying again")
            await asyncio.sleep(LEAST_S)

    async def _look(self) -> None:
        wanted: dict[str, set[int]] = defaultdict(set)
        for key in list(self._wanted):
            for run, row in (key, self._leader.get(key, key)):
                wanted[run].add(row)
        urgent, self._urgent = self._urgent, set()
        self._seen = {run: seen for run, seen in self._seen.items() if run in wanted}
        pipe = self._redis.pipeline(transaction=False)
        for run in wanted:
            pipe.hmget(self._keys.run(run), ["status", "settled", "cursor"])
        states = await pipe.execute() if wanted else []
        for (run, rows), state in zip(wanted.items(), states, strict=True):
            await self._look_at(run, rows, [(each or b"").decode(errors="replace") for each in state], run in urgent)

    async def _look_at(self, run: str, rows: set[int], state: list[str], urgent: bool) -> None:
        status, settled, cursor = state
        now = asyncio.get_running_loop().time()
        seen = self._seen.get(run)
        if seen is None:
            seen = self._seen[run] = _Seen(next_s=now + PATIENCE_S)
        if status not in wire.RUN_OPEN:
            self._take(await asyncio.to_thread(finding.in_results, self._store, run, rows))
            return
        full = urgent or now >= seen.next_s
        if full:
            seen.parts.clear()
            seen.patience_s = PATIENCE_S if urgent else min(2 * seen.patience_s, PATIENCE_MOST_S)
            seen.next_s = now + seen.patience_s
        if full or settled != seen.settled:
            seen.settled = settled
            self._take(await asyncio.to_thread(finding.in_parts, self._store, run, rows, seen.parts))
        if full:
            await self._look_closely(run, rows, cursor)

    async def _look_closely(self, run: str, rows: set[int], cursor: str) -> None:
        self._take(await finding.in_journals(self._redis, self._keys, run, rows))
        committed = _row_of(cursor)
        left = {row for row in rows if (run, row) in self._wanted and (run, row) not in self._leader}
        if left and committed:
            found = await asyncio.to_thread(finding.unasked, self._store, run, left, committed)
            self._take(Sorted(run, found))


def _row_of(cursor: str) -> int:
    row = wire.load_object(cursor).get("row")
    return row if isinstance(row, int) else 0


def _size(row: Row) -> int:
    return 500 + len(row["output"] or "") + len(row["response"] or "")
