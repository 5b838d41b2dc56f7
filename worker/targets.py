"""What a process knows of its targets: configured facts, and the state that health and calls report."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import wire
from pipelines.climb import START
from pipelines.config.sections import BASE_URLS
from pipelines.settings import Settings
from pipelines.types import BatchHead, Failure
from worker.backends.waits import Limits, limits
from worker.clock import Clock
from worker.queue import Redis

log = logging.getLogger("spillway.targets")

BREAKER_MS = 2_000
ORDER_ROWS_PER_S = 1_000.0
ANSWERED_EVERY_MS = 1_000
CLOSED_MS = 24 * 3_600_000
REFUSED_MS = 3_600_000
"""How long a window holds that a server named when it refused a prompt: it may be started again with a larger one."""
LIMITS_MS = 7 * 24 * 3_600_000
"""How long a limit holds that answers named, and that it said it was asked too much: an account may be raised, or used less by
others."""
STEADY_MS = 600_000
"""So long after a 429 calls keep the pace of a limit that answers named: who admits a minute's calls at once says none before."""
_FIELDS: dict[str, tuple[type, ...]] = {
    "up": (bool,), "closed": (bool,), "reason": (str,), "until_ms": (int,), "paused_ms": (int,), "failing_since": (int,),
    "parallel": (int,), "context_tokens": (int,), "window_tokens": (int,), "model": (str,), "cutoff": (str,),
    "refused_tokens": (int,), "refused_until_ms": (int,),
    "changed_ms": (int,), "told": (str,), "told_model": (str,), "cap": (int,), "waiting": (int,), "waits": (int,),
    "batch_price": (int, float), "batch_s": (list,), "batch_full_ms": (int,), "batch_off_ms": (int,), "batch_reason": (str,),
    "answered_ms": (int,), "batch_cancel_s": (int, float), "batch_rows": (int,), "lane": (str,), "provider": (str,),
    "asked_for": (str,), "told_rpm": (int,), "told_tpm": (int,), "told_limits_ms": (int,), "told_limits_of": (str,),
}  # fmt: skip
"""What workers say of a target."""
_STATE = (Path(__file__).parent / "scripts" / "state.lua").read_text()


CLOSING = frozenset({"auth", "funds", "model"})
"""Kinds of Failure that hold for all prompts, until a person mends them: keys, funds, a model that the provider does not know."""


class Targets:
    """States by name; what this process learns is published to the others with its next heartbeat."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self.clock = settings, clock
        self._of_routes: dict[tuple[str, str], list[str]] = {}
        for name, route in settings.routes.items():
            for target in route.targets:
                self._of_routes.setdefault((name, settings.targets[target].lane), []).append(target)
        self.states: dict[str, dict[str, Any]] = {}
        self._reports: dict[str, dict[str, Any]] = {}
        self._told_ms: dict[str, int] = {}

    def cap(self, name: str) -> int:
        """Slots of a target over all workers: configured, else where the climb is, else what was measured, what the
        server says, or a careful default; never more than the server says."""
        target = self._settings.targets[name]
        if isinstance(target.max_concurrency, int):
            return target.max_concurrency
        state = self.states.get(name, {})
        said = max(0, state.get("parallel") or 0)
        known = target.concurrency if isinstance(target.concurrency, int) else said or START
        found = max(0, state.get("cap") or 0) or known
        return min(found, said) if said else found

    def window(self, name: str) -> int | None:
        """Context of a target in tokens: what the server says, else as configured; None: unknown."""
        said = self.states.get(name, {}).get("context_tokens")
        return int(said) if said else self._settings.targets[name].context_tokens

    def refused(self, name: str, failure: Failure, body: bytes) -> None:
        """Learns the window that a server names when a prompt does not fit. A number that stands in the refused prompt may be the
        prompt's: servers quote what they refuse, and nobody's prompt may close a target to all others'."""
        window = failure.context_tokens if failure.kind == "context" and failure.http_status else None
        if window and window != self.refused_tokens(name) and b"%d" % window not in body:
            self.say(name, {"refused_tokens": window, "refused_until_ms": self.clock.now_ms() + REFUSED_MS})

    def refused_tokens(self, name: str) -> int | None:
        """The window that the target named lately when it refused a prompt."""
        state = self.states.get(name, {})
        return state.get("refused_tokens") if self.clock.now_ms() < state.get("refused_until_ms", 0) else None

    def told(self, name: str, headers: Mapping[str, str]) -> None:
        """Learns the limits that an answer's headers name, once a second. What a configuration names is no looser for it."""
        now = self.clock.now_ms()
        if self._settings.targets[name].lane == "local" or now - self._told_ms.get(name, 0) < ANSWERED_EVERY_MS:
            return
        if not any(found := limits(headers)):
            return  # refusals often say none
        self._told_ms[name], known = now, self._told(name)
        new = Limits(found.rpm or known.rpm, found.tpm or known.tpm)
        old = now - self.states.get(name, {}).get("told_limits_ms", 0) > LIMITS_MS / 7
        if new != known or old:
            named = {"told_rpm": new.rpm, "told_tpm": new.tpm}
            self.say(name, {**named, "told_limits_ms": now, "told_limits_of": self._settings.targets[name].model})

    def _told(self, name: str) -> Limits:
        """Limits that its answers named lately."""
        state = self.states.get(name, {})
        fresh = self.clock.now_ms() - state.get("told_limits_ms", 0) < LIMITS_MS
        if not fresh or state.get("told_limits_of") != self._settings.targets[name].model:
            return Limits()
        return Limits(max(0, state.get("told_rpm") or 0), max(0, state.get("told_tpm") or 0))

    def is_throttled(self, name: str) -> bool:
        """Whether it has said lately that it was asked too much."""
        return self.clock.now_ms() - (self.states.get(name, {}).get("paused_ms") or 0) < LIMITS_MS

    def steady_rpm(self, name: str) -> int:
        """Requests a minute that its answers named, which calls must keep to one by one, since it has just said 429; 0: none."""
        lately = self.clock.now_ms() - (self.states.get(name, {}).get("paused_ms") or 0) < STEADY_MS
        return self._told(name).rpm if lately else 0

    def calls_per_s(self, name: str) -> float:
        """That a target's limits admit, as configured and as its answers say; infinite without any."""
        named = [rpm for rpm in (self._settings.targets[name].rpm, self._told(name).rpm) if rpm]
        return min(named, default=math.inf) / 60

    def counts_tokens(self, name: str) -> bool:
        """Whether anything is known of its limits on tokens."""
        return bool(self._settings.targets[name].tpm or self._told(name).tpm)

    def tokens_s(self, name: str, head: BatchHead, output_tokens: float) -> float:
        """The least seconds that its limits on tokens leave for a batch whose answers are likely so long; 0 without any. What only
        its answers say is counted by likely lengths, unless its vendor is known to count what an answer may be: taken for
        less than it is, a limit would keep from a target what it could do."""
        target, told = self._settings.targets[name], self._told(name).tpm
        charged = target.charged_tokens(head.input_tokens, head.max_tokens, head.rows)
        by_limits = target.kind == "cerebras" or (target.kind, target.base_url) == ("openai", BASE_URLS["openai"])
        likely = charged if by_limits else min(charged, head.input_tokens + output_tokens)
        return 60 * max(charged / target.tpm if target.tpm else 0.0, likely / told if told else 0.0)

    def limits_s(self, name: str, head: BatchHead) -> float:
        """The least time that a target's own rate limits leave for a batch."""
        return max(head.rows / self.calls_per_s(name), self.tokens_s(name, head, head.output_tokens))

    def route_targets(self, route: str, lane: str) -> list[str]:
        """Names of a route's targets on a lane, in order of preference."""
        return self._of_routes.get((route, lane), [])

    def order_rate(self, route: str) -> float:
        """Rows a second by which a route's batches are cut, where they go to providers' batch APIs: as large as they may be.
        0: they are cut by what the lanes really answer."""
        clouds = (self._settings.targets[name].provider_batch for name in self.route_targets(route, "cloud")[:1])
        return ORDER_ROWS_PER_S if not self.route_targets(route, "local") and any(clouds) else 0.0

    def is_up(self, name: str) -> bool:
        return bool(self.states.get(name, {}).get("up", True))

    def close(self, name: str, reason: str) -> None:
        """Keys, funds, an unknown model or a missing price: nothing helps but a person."""
        if not self.states.get(name, {}).get("closed"):
            log.error("target %s is closed: %s", name, reason)
        until_ms = self.clock.now_ms() + CLOSED_MS
        self.say(name, {"up": False, "closed": True, "reason": reason, "until_ms": until_ms, "cutoff": ""})

    def open(self, name: str) -> None:
        """What had closed it is over; the next call says whether it works."""
        self.say(name, {"up": True, "closed": False, "reason": "", "until_ms": 0, "cutoff": ""})

    async def trust_again(self, redis: Redis, keys: wire.Keys) -> None:
        """A worker that starts may have a mended key, or another model: what was closed for that is tried once more, and a window
        is learned anew. Call it before the first heartbeat; a price that is missing stays so, since this process has just said
        it."""
        for raw, value in (await redis.hgetall(keys.targets)).items():
            name = raw.decode(errors="replace")
            state = _state(value)
            if name not in self._settings.targets or name in self._reports:
                continue
            if state.get("closed"):
                self.states[name] = state
                if not state.get("cutoff"):
                    self.open(name)
            elif state.get("refused_until_ms"):
                self.states[name] = state
                self.say(name, {"refused_until_ms": 0})

    def open_breaker(self, name: str, reason: str, for_ms: int = BREAKER_MS) -> None:
        """Too many failures in a row, or a long wait that it named: nobody calls until then, and a probe succeeds."""
        log.warning("target %s is down: %s", name, reason)
        now = self.clock.now_ms()
        since = self.states.get(name, {}).get("failing_since") or now
        self.say(name, {"up": False, "reason": reason, "until_ms": now + for_ms, "failing_since": since})

    def answered(self, name: str) -> None:
        """A call succeeded: whatever was wrong is over. That it answers is said once a second, for whoever looks at it."""
        state, now = self.states.get(name, {}), self.clock.now_ms()
        if state.get("failing_since"):
            self.say(name, {"failing_since": 0})
        if self._settings.targets[name].lane == "local" and now - state.get("answered_ms", 0) >= ANSWERED_EVERY_MS:
            self.say(name, {"answered_ms": now})

    def introduce(self) -> None:
        """Says what each target is, for a ledger that has calls of it when the configuration names it no more."""
        for name, target in self._settings.targets.items():
            what = {"lane": target.lane, "provider": target.provider or target.kind, "asked_for": target.model}
            self.say(name, what)

    def say(self, name: str, state: dict[str, Any]) -> None:
        """Learns something of a target; `changed_ms` is when it last went up or down. With another window a server was loaded anew:
        what it named when it refused is over."""
        if "up" in state and state["up"] != self.is_up(name):
            state = {**state, "changed_ms": self.clock.now_ms()}
        if state.get("window_tokens") not in (None, self.states.get(name, {}).get("window_tokens")):
            state = {**state, "refused_until_ms": 0}
        self.states[name] = {**self.states.get(name, {}), **state}
        self._reports[name] = {**self._reports.get(name, {}), **state}

    async def publish(self, redis: Redis, keys: wire.Keys) -> None:
        """Tells the other workers what this one learned."""
        for name, state in list(self._reports.items()):
            await redis.eval(_STATE, 1, keys.targets, name, wire.dump(state))
            if self._reports.get(name) is state:  # what a Redis that is away did not hear is said again, and so is news
                del self._reports[name]

    def learn(self, raw: dict[bytes, bytes]) -> None:
        """What the others said, unless this process knows better by now."""
        for name, state in raw.items():
            if name.decode(errors="replace") not in self._reports:
                self.states[name.decode(errors="replace")] = _state(state)


def _state(raw: bytes) -> dict[str, Any]:
    """What somebody wrote about a target, without what no worker writes."""
    told = wire.load_object(raw)
    return {field: told[field] for field, kinds in _FIELDS.items() if type(told.get(field)) in kinds}
