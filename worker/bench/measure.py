"""How fast a model answers: time to the first token, and tokens per second by how many calls are made at once.

Every call goes the way of a real one (its backend, the hot client). It judges no answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.performance import Speed
from pipelines.types import Completion, Failure
from worker.backends import Sendable, load
from worker.backends.hot import Hot

LOAD_S = 600.0
"""The first call may have to load the model."""
LEVELS = (1, 2, 4, 8, 16)
TOKENS, CALLS_EACH = 64, 2
FIRST_TOKEN_CALLS = 5
GAIN = 1.05
TOPICS = ("a lighthouse", "the sea", "an old train", "winter in the mountains", "a baker", "two rivers", "a lost key")


class Answered(msgspec.Struct, frozen=True):
    """How one call went."""

    outcome: Completion | Failure
    seconds: float


class Caller:
    """Calls to one target; use it with `async with`."""

    def __init__(self, target: Target) -> None:
        self._target, self._adapter, self._hot = target, load(target.kind), Hot(max(LEVELS))
        self._number = 0

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._hot.close()

    async def ask(self, body: dict[str, Any], timeout_s: float | None = None) -> Answered:
        """One call with an OpenAI chat body; a Failure also for what cannot be asked there."""
        request = self.ready(msgspec.json.encode(body))
        return Answered(request, 0.0) if isinstance(request, Failure) else await self.send(request, timeout_s)

    def ready(self, body: bytes, price: Price | None = None) -> Sendable | Failure:
        """The call that `send` makes, by hosts that are not dearer; a Failure for what cannot be asked there."""
        return self._adapter.request(self._target, body, price=price)

    async def send(self, request: Sendable, timeout_s: float | None = None) -> Answered:
        target, began = self._target, time.monotonic()
        limit_s = timeout_s or target.timeout_s
        response = await self._hot.post(*request, limit_s, connect_timeout_s=target.connect_timeout_s)
        seconds = time.monotonic() - began
        return Answered(response if isinstance(response, Failure) else self._adapter.parse(target, response), seconds)

    async def tell(self, max_tokens: int, timeout_s: float | None = None) -> Answered:
        """A call whose prompt no cache knows and whose answer is as long as it may be, if the model plays along."""
        self._number += 1
        text = f"{self._number}. Tell a long story about {TOPICS[self._number % len(TOPICS)]}."
        messages = [{"role": "user", "content": text}]
        return await self.ask({"messages": messages, "max_tokens": max_tokens, "temperature": 0}, timeout_s)


async def first_token(caller: Caller, calls: int = FIRST_TOKEN_CALLS) -> tuple[float, float] | None:
    """Median and 90th percentile of seconds until one token is there: calls that ask for one token, one at a time."""
    times = [found.seconds for _ in range(calls) if isinstance((found := await caller.tell(1)).outcome, Completion)]
    return (_quantile(times, 50), _quantile(times, 90)) if times else None


def _quantile(values: Sequence[float], percent: int) -> float:
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


async def curve(
    caller: Caller,
    levels: Sequence[int] = LEVELS,
    tokens: int = TOKENS,
    said: Callable[[str], None] = lambda _: None,
    most_s: float = 600.0,
) -> list[Speed]:
    """Throughput by concurrency, from few to many; ends early when two steps brought nothing, a call failed, or after
    `most_s`."""
    found: list[Speed] = []
    until_s = time.monotonic() + most_s
    for number in levels:
        if (len(found) >= 3 and found[-1].tokens_per_s < GAIN * found[-3].tokens_per_s) or time.monotonic() > until_s:
            break
        said(f"{number} at once")
        speed = await _level(caller, number, tokens)
        if speed is None:
            break
        found.append(speed)
    return found


async def _level(caller: Caller, number: int, tokens: int) -> Speed | None:
    async def slot() -> list[Answered]:
        return [await caller.tell(tokens) for _ in range(CALLS_EACH)]

    began = time.monotonic()
    done = [each for slots in await asyncio.gather(*(slot() for _ in range(number))) for each in slots]
    seconds = time.monotonic() - began
    answers = [each.outcome for each in done if isinstance(each.outcome, Completion)]
    if len(answers) < len(done) or not seconds:
        return None
    written = sum(answer.usage.output_tokens for answer in answers)
    median_s = _quantile([each.seconds for each in done], 50)
    return Speed(number, round(written / seconds, 2), round(len(done) / seconds, 3), round(median_s, 4))
