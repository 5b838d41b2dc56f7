"""Rate limits as vendors keep them: buckets of requests and tokens per minute, and a limit on calls at once."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict

from worker.simulator.core.config import ServerConfig
from worker.simulator.core.faults import Problem


class Bucket:
    """Fills at `per_minute` and holds `burst_s` seconds of it; time is handed in."""

    def __init__(self, per_minute: float, burst_s: float, now_s: float) -> None:
        self.rate = per_minute / 60
        self.size = max(1.0, self.rate * burst_s)
        self._level, self._at_s = self.size, now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` could be taken; more than the bucket holds is possible when it is full."""
        self._level = min(self.size, self._level + (now_s - self._at_s) * self.rate)
        self._at_s = now_s
        return max(0.0, (min(amount, self.size) - self._level) / self.rate)

    def take(self, amount: float) -> None:
        self._level -= amount

    def left(self) -> int:
        return max(0, int(self._level))


class Limits:
    """One server's limits."""

    def __init__(self, config: ServerConfig, now_s: float) -> None:
        self.requests = Bucket(config.rpm, config.burst_s, now_s) if config.rpm else None
        self.tokens = Bucket(config.tpm, config.burst_s, now_s) if config.tpm else None

    def refuse(self, config: ServerConfig, tokens: int, in_flight: int, now_s: float) -> Problem | None:
        """Takes a request's share, or says why not and for how long."""
        if config.max_parallel is not None and in_flight > config.max_parallel:
            return Problem("rate", 429, "Too many requests at once.", config.retry_after_s)
        buckets = ((self.requests, 1.0, "requests"), (self.tokens, float(tokens), "tokens"))
        for bucket, amount, what in buckets:
            wait_s = bucket.wait_s(amount, now_s) if bucket else 0.0
            if wait_s > 0:
                return Problem(
                    "rate", 429, f"Rate limit reached for {what} per minute.", math.ceil(wait_s * 1000) / 1000
                )
        for bucket, amount, _ in buckets:
            if bucket:
                bucket.take(amount)
        return None


class PrefixCache:
    """Which prompt heads a server still holds, in blocks, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def cached_tokens(self, config: ServerConfig, prompt: str, input_tokens: int) -> tuple[int, int]:
        """Tokens at the prompt's head that were seen before, and those that are known from now on."""
        if config.prefix_cache_tokens <= 0 or input_tokens < config.prefix_min_tokens:
            return 0, 0
        data = prompt.encode("utf-8", "surrogatepass")
        step = config.prefix_block_tokens * config.bytes_per_token
        chain, known, blocks, is_known = b"", 0, 0, True
        for start in range(0, len(data) - step + 1, step):
            chain = hashlib.blake2b(chain + data[start : start + step], digest_size=8).digest()
            is_known = is_known and chain in self._blocks
            known += is_known
            blocks += 1
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) * config.prefix_block_tokens > config.prefix_cache_tokens:
            self._blocks.popitem(last=False)
        size = config.prefix_block_tokens
        return min(known * size, input_tokens), min(blocks * size, input_tokens)
