"""What a call that brought no answer of use means for its prompt: once more here, on to the next target, or later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pipelines import truth
from pipelines.types import Failure
from worker.context import Context
from worker.drain.asking import Asking
from worker.drain.history import CHECK_TRIES, MAX_ERRORS, backoff_s
from worker.drain.lane import Lane
from worker.drain.running import Prompt
from worker.drain.standing import Standing

MAX_WAITS = 12
"""Waits a prompt sits out at one target (rates, overloads, refused connections) before it looks for another, or comes back
later."""
LATER_S = 8.0
"""The longest that a prompt waits for its next try; a target that names a longer wait is not called meanwhile."""


class Setbacks:
    """Those of this process; its target hears of them, too (standing.py). `route` sends a prompt on its way again."""

    def __init__(
        self, context: Context, lanes: Mapping[str, Lane], standing: Standing, asking: Asking, route: Callable[[Prompt], None],
    ) -> None:  # fmt: skip
        self._context, self._lanes, self._standing, self._asking, self._route = context, lanes, standing, asking, route

    def check_failed(self, prompt: Prompt, name: str, problem: str) -> None:
        """An answer was not of the form that was asked for."""
        prompt.last = Failure("invalid", "check_failed", problem)
        self._again_or_on(prompt, name)

    def failed(self, prompt: Prompt, name: str, failure: Failure, *, lost: bool) -> None:
        """There was no answer. `lost`: it may have been paid."""
        prompt.last = failure
        told_s = failure.retry_after_s or (1.0 if failure.kind == "rate" else 0.0)
        if failure.kind == "rate" or told_s > LATER_S:
            self._standing.asked_to_wait(name, failure, told_s)
        match "transient" if failure.code == "not_json" else failure.kind:
            case "invalid" | "context":
                self._standing.healthy(name)
                self._context.targets.refused(name, failure, prompt.item.body)
                prompt.given_up.add(name)
                self._route(prompt)
            case truth.DOUBT:
                if failure.code in truth.OF_SERVER:
                    self._standing.unhealthy(name, failure)
                else:
                    self._standing.healthy(name)
                self._again_or_on(prompt, name, on=self._asking.elsewhere(prompt, name))
            case "late":
                self._route(prompt)
            case "auth" | "funds" | "model":
                self._standing.closed(name, failure)
                self._route(prompt)
            case "rate" | "overload" | "connect":
                if failure.code == "model_loading":  # for all prompts alike, and for a while
                    self._standing.broken(name, failure)
                if failure.kind != "rate":
                    self._standing.unhealthy(name, failure)
                prompt.waits += 1
                if prompt.waits % MAX_WAITS == 0:
                    prompt.passed.add(name)
                self.later(prompt, told_s or backoff_s(prompt.waits))
            case _:  # transient, unknown: may have been paid
                in_a_row = self._standing.unhealthy(name, failure)
                tries = prompt.paid[name] = prompt.paid.get(name, 0) + 1
                if failure.code == "stalled" and self._asking.elsewhere(prompt, name):
                    prompt.given_up.add(name)
                elif tries >= self._context.settings.targets[name].max_paid_attempts:
                    if lost or in_a_row < tries or tries >= MAX_ERRORS:
                        prompt.given_up.add(name)
                    else:  # nobody was answered since its first try: not the prompt's fault
                        self._standing.broken(name, failure)
                self.later(prompt, told_s or backoff_s(prompt.paid[name]))

    def later(self, prompt: Prompt, seconds: float) -> None:
        """Back into the queue after a wait; no slot is held meanwhile. There is none for a target that is down by now."""
        wait_s = min(seconds, LATER_S) if self._lanes[prompt.target].up else 0.0
        asyncio.get_running_loop().call_later(wait_s, self._route, prompt)

    def _again_or_on(self, prompt: Prompt, name: str, *, on: bool = False) -> None:
        """An answer that cannot be used is asked for once more, or goes on to the next target at once."""
        prompt.checks[name] = prompt.checks.get(name, 0) + 1
        if on or prompt.checks[name] >= CHECK_TRIES:
            prompt.given_up.add(name)
        self._route(prompt)
