"""How each target's batch API stands, as plan wants to know it: whether it takes orders, and how long they take.

Told to everybody by the state of the target; how long the last orders took is kept in Redis.
"""

from __future__ import annotations

from statistics import median

from pipelines.types import Failure
from worker.backends.batching import Remote
from worker.context import Context
from worker.money.ledger import Ledger

KEPT, KEEP_S = 40, 30 * 86_400
FULL_LEAST_S, FULL_MOST_S = 5.0, 600.0
"""How long a provider that has its fill is not asked again: twice as long each time, less when an order ends."""
OFF_S = 900.0
"""How long a batch API that refuses what we send is left alone; its rows are asked in real time."""
FULL = frozenset({"token_limit_exceeded", "rate", "overload", "connect"})


class Standing:
    """What is known of the batch APIs."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context, self._ledger = context, ledger
        self._full_s: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._learned = False

    async def learn(self) -> None:
        """Once: the price, and how long orders took before this process was there."""
        if not self._learned:
            for name, target in self._context.settings.targets.items():
                if target.provider_batch:
                    self._context.targets.say(name, {"batch_price": self._ledger.batch_share(name)})
                    await self._tell_latency(name)
            self._learned = True

    def refused(self, name: str, failure: Failure) -> None:
        """An order was not taken."""
        targets = self._context.targets
        if failure.kind in ("auth", "funds"):
            targets.close(name, failure.message)
        elif failure.kind in FULL:
            self._wait(name, failure.retry_after_s)
        else:
            self._off(name, failure.message)

    def failed(self, name: str, remote: Remote) -> bool:
        """An order was taken and failed before anything of it was run. False: it only has to wait. Two in a row that need not
        are not their rows' fault."""
        if remote.code in FULL:
            self._wait(name, None)
            return False
        self._failed[name] = self._failed.get(name, 0) + 1
        if self._failed[name] > 1:
            self._off(name, f"{remote.code}: {remote.message}")
        return True

    async def ended(self, name: str, seconds: float, remote: Remote) -> None:
        """An order came back: there is room, and one more figure of how long they take. One that was cancelled says nothing
        of that."""
        self._full_s.pop(name, None)
        self._failed.pop(name, None)
        self._context.targets.say(name, {"batch_full_ms": 0, "batch_off_ms": 0, "batch_reason": ""})
        if remote.code != "cancelled":
            key = self._context.keys.latencies(name)
            pipe = self._context.redis.pipeline(transaction=True)
            pipe.lpush(key, f"{seconds:.3f}")
            pipe.ltrim(key, 0, KEPT - 1)
            pipe.expire(key, KEEP_S)
            await pipe.execute()
            await self._tell_latency(name)

    def _wait(self, name: str, seconds: float | None) -> None:
        self._full_s[name] = min(FULL_MOST_S, 2 * self._full_s.get(name, FULL_LEAST_S / 2))
        until_ms = self._context.clock.now_ms() + int(1000 * max(seconds or 0.0, self._full_s[name]))
        self._context.targets.say(name, {"batch_full_ms": until_ms})

    def _off(self, name: str, reason: str) -> None:
        until_ms = self._context.clock.now_ms() + int(1000 * OFF_S)
        self._context.targets.say(name, {"batch_off_ms": until_ms, "batch_reason": reason[:300]})

    async def _tell_latency(self, name: str) -> None:
        raw = await self._context.redis.lrange(self._context.keys.latencies(name), 0, KEPT - 1)
        seconds = sorted(_number(each) for each in raw)
        if seconds:
            late = seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))] * (1 + 2 / len(seconds))
            self._context.targets.say(name, {"batch_p50_s": median(seconds), "batch_p90_s": late})


def _number(raw: bytes) -> float:
    try:
        return max(0.0, float(raw))
    except ValueError:
        return 0.0
