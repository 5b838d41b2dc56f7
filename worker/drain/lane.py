"""One target inside this process: its queue of prompts, its leased slots, its rates, its health; calls are made here.

A prompt holds a slot only while its call is in flight. What a finished call means for the prompt is drain.py's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from worker.drain.rates import Rates
from worker.drain.slots import Slots
from worker.queue import RedisError

if TYPE_CHECKING:
    from worker.drain.running import Prompt

log = logging.getLogger("spillway.lane")

BLOCK = 64
"""Calls for which rates are asked at once."""
ASK_LEAST_S, ASK_MOST_S = 0.02, 0.25
"""Between two questions for slots that others hold: a quarter of a call's time, so that a hand-over costs little of it."""
LATEST = 0.05
"""How much one call says of how long calls take; the first ones each as much as the others, for who ends first is fast."""
BOLDER_S = 0.5
"""A server of one's own that is back and has not failed its first call for so long gets twice as many, and so on: a call that
takes half a minute shows nothing sooner, and slots are idle meanwhile."""


class Lane:
    """Runs `call(prompt)` for queued prompts, never more at once than the slots granted to this process."""

    def __init__(
        self, name: str, cap: int, slots: Slots, rates: Rates, call: Callable[[Prompt], Awaitable[None]], *, own: bool
    ) -> None:
        """`own`: a server of one's own, where a call that fails costs nothing."""
        self.name, self.cap, self.slots, self.rates, self._own = name, cap, slots, rates, own
        self._call = call
        self.ready: deque[Prompt] = deque()
        self.in_use = 0
        self.done = 0
        self.input_tokens = self.output_tokens = 0
        self.held_s, self.refused = 0.0, 0
        self.latency_s = 0.0
        self._busy_s = self._each_s = self._since_s = self._asked_until_s = 0.0
        self.up = True
        self.paused_ms = 0
        self.trial = 0
        """Just back from being down: so many calls at once until one succeeds; 0: it is trusted."""
        self._growing = False
        self._running: set[asyncio.Task[None]] = set()
        self._allowance = 0
        self._changed = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self.ready)

    @property
    def busy_s(self) -> float:
        """Seconds with at least one call in flight, or with none because the server had asked to wait; only grows. What it
        answers in a second of calls alone is more than it admits."""
        return self._busy_s + self._lately_s

    @property
    def each_s(self) -> float:
        """The same, each moment of it divided by the calls in flight: what it grows by during a call is that call's part of the
        seconds in which this process kept the server busy."""
        return self._each_s + self._lately_s / max(1, self.in_use)

    @property
    def _lately_s(self) -> float:
        """Of the seconds since the number of calls in flight changed."""
        now = asyncio.get_running_loop().time()
        return max(0.0, (now if self.in_use else min(now, self._asked_until_s)) - self._since_s)

    def _hold(self, more: int) -> None:
        """So many slots more are in use."""
        self._busy_s, self._each_s = self.busy_s, self.each_s
        self._since_s = asyncio.get_running_loop().time()
        self.in_use += more

    def submit(self, prompt: Prompt) -> None:
        self.ready.append(prompt)
        self._pump()

    def withdraw(self, of: Callable[[Prompt], bool]) -> list[Prompt]:
        """Takes back queued prompts that were not sent yet."""
        taken = [prompt for prompt in self.ready if of(prompt)]
        if taken:
            self.ready = deque(prompt for prompt in self.ready if not of(prompt))
        return taken

    def finished(self, input_tokens: int, output_tokens: int, seconds: float) -> None:
        """Counts an answer, for rates and the display. All of its input, cached or not: so waiting prompts are weighed, and a
        cache that makes reading cheap shows as a lower weight of input."""
        self.done += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.latency_s += max(LATEST, 1 / self.done) * (seconds - self.latency_s)

    def _pump(self) -> None:
        """Starts slot loops while there is work, a free slot and leave to call."""
        if self.rates.limited and self._allowance == 0 and self.ready:
            self._changed.set()
        while self.ready and self.in_use < self._most and (not self.rates.limited or self._allowance > 0):
            self._hold(1)
            if self.trial and self._own and not self._growing:
                self._growing = True
                asyncio.get_running_loop().call_later(BOLDER_S, self._bolder)
            task = asyncio.get_running_loop().create_task(self._slot(self._next()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self._surplus or (self.ready and self.in_use >= self.slots.granted and self.slots.granted < self.cap):
            self._changed.set()

    @property
    def _most(self) -> int:
        return min(self.trial, self.slots.aim) if self.trial else self.slots.aim

    @property
    def _surplus(self) -> bool:
        """Slots are ours that nothing here will use: others may be waiting for them."""
        return self.slots.granted > max(self.in_use, min(self.slots.aim, self.in_use + len(self.ready)))

    @property
    def _ask_every_s(self) -> float:
        return min(ASK_MOST_S, max(ASK_LEAST_S, self.latency_s / 4))

    def trusted(self) -> None:
        """A call succeeded."""
        if self.trial:
            self.trial = 0
            self._pump()

    def tried(self) -> None:
        """It is back from being down."""
        self.trial = 1

    def _bolder(self) -> None:
        """No call of the trial has failed yet: one that had would have ended it."""
        self._growing = bool(self.trial and self.up and self.in_use)
        if self._growing:
            self.trial *= 2
            asyncio.get_running_loop().call_later(BOLDER_S, self._bolder)
            self._pump()

    def _next(self) -> Prompt:
        self._allowance -= 1
        return self.ready.popleft()

    async def _slot(self, prompt: Prompt | None) -> None:
        """One slot: call after call until there is nothing to do or the slot was taken away."""
        try:
            while prompt is not None:
                began = asyncio.get_running_loop().time()
                try:
                    await self._call(prompt)
                except Exception:
                    log.exception("%s: a call failed in our own code", self.name)
                    prompt.give_up("internal", "internal error; see the worker's log")
                self.held_s += asyncio.get_running_loop().time() - began
                more = self.ready and self.in_use <= self._most
                prompt = self._next() if more and (not self.rates.limited or self._allowance > 0) else None
        except asyncio.CancelledError:
            self._hold(-1)  # the process ends: no call begins in its place
            raise
        self._hold(-1)
        self._pump()

    async def run(self) -> None:
        """Keeps the slots leased and the rate allowance filled."""
        await asyncio.gather(self._keep_slots(), self._keep_allowance())

    async def _keep_slots(self) -> None:
        """Renews the lease, asks for more when there is work for them, gives up at once what is not used."""
        loop = asyncio.get_running_loop()
        due, last, asked = 0.0, 0.0, -1
        while True:
            want = min(self.cap, self.in_use + len(self.ready))
            eager = self._surplus or (want > self.slots.granted and want != asked)
            try:
                if loop.time() >= due or (eager and loop.time() - last >= ASK_LEAST_S):
                    self.slots.aim = min(self.slots.aim, self.in_use)  # what we say is in use must stay the most
                    await self.slots.renew(want, self.in_use, self.cap)
                    asked, last = want, loop.time()
                    due = last + (self._ask_every_s if want > self.slots.granted else 1.0 if want else 3.0)
                    self._pump()
            except (RedisError, OSError) as error:
                log.warning("%s: slots: %s", self.name, error)
                await asyncio.sleep(0.5)
            self._changed.clear()
            rest_s = ASK_LEAST_S if eager else max(0.0, due - loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(ASK_MOST_S, rest_s))
                await asyncio.sleep(0.002)

    def limit(self, seconds: float) -> None:
        """The server said 429 and asks to wait: from now on calls need leave, also where the configuration names no limit."""
        self._hold(0)  # until now it had nothing to do
        self._asked_until_s = max(self._asked_until_s, asyncio.get_running_loop().time() + seconds)
        self.rates.limited = True
        self._allowance = 0

    async def _keep_allowance(self) -> None:
        while True:
            wait_s = 0.05
            if self.rates.limited and self._allowance <= 0 and self.ready:
                items = [prompt.item for prompt in list(self.ready)[:BLOCK]]
                try:
                    admitted, wait_s = await self.rates.admit(items)
                except (RedisError, OSError) as error:
                    log.warning("%s: rates: %s", self.name, error)
                    admitted, wait_s = 0, 0.5
                self._allowance = admitted
                self._pump()
                wait_s = min(max(wait_s, 0.002), 2.0)
            await asyncio.sleep(wait_s)

    async def idle(self) -> None:
        """Returns when no call is in flight."""
        while self._running:
            await asyncio.wait(set(self._running))
