"""What calls need beyond the call itself: a window that is large enough, and at local servers an end to waiting for a slot
that has stalled and a look at whether the answer may be believed (pipelines/truth.py)."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable

import msgspec

from pipelines import truth
from pipelines.batch import work
from pipelines.config.sections import Target
from pipelines.types import Completion, Failure, Item
from worker.targets import Targets

ANSWER_TOKENS = 1_024
"""Room for an answer where the row names no limit."""
LEAST_WINDOW = 4_096
STALL_LEAST_S, STALL_STEP_S, STALL_TIMES = 60.0, 15.0, 8.0
"""A slot counts as stalled when its call takes so many times as long as the slowest call for as much work, and a minute
more: a model may have to be loaded first."""
PACE_CALLS = 64
_LOADING = re.compile(r"\bload(?:ing)?\b.{0,40}\bmodel\b|\bmodel\b.{0,40}\bload", re.IGNORECASE)


class Local:
    """The local targets of one process."""

    def __init__(self, targets: Targets, configured: dict[str, Target]) -> None:
        self._targets, self._configured = targets, configured
        self._sizes: dict[str, int] = {}
        self._sized: dict[tuple[str, int], Target] = {}
        self._pace: dict[str, deque[float]] = {}

    def fitted(self, name: str, item: Item) -> Target | Failure:
        """The target as this prompt should be sent to it: Ollama is told how large a window it needs, since it would
        drop what does not fit. A Failure when the prompt is certainly larger than the window: as configured, as a local server
        tells it, or as it was named when a prompt was refused.

        Another window makes Ollama load its model again, so without `context_tokens` the window grows in powers of two
        and never shrinks, for all workers alike: they start from what is loaded.
        """
        target = self._configured[name]
        grows = target.lane == "local" and target.kind == "ollama"
        size = (target.context_tokens or self._grown(name, item)) if grows else self._window(name, target)
        if size and item.input_tokens > size and (least := truth.least_tokens(item.body)) > size:
            message = f"a prompt of at least {least} tokens for a window of {size}; route it to another target"
            return Failure("context", "context_overflow", message, context_tokens=size)
        if not grows or size is None or size == target.context_tokens:
            return target
        if (name, size) not in self._sized:
            self._sized[name, size] = target.model_copy(update={"context_tokens": size})
        return self._sized[name, size]

    def _window(self, name: str, target: Target) -> int | None:
        state = self._targets.states.get(name, {})
        told = state.get("window_tokens") if target.lane == "local" else target.context_tokens
        return min(filter(None, (told, self._targets.refused_tokens(name))), default=None)

    def _grown(self, name: str, item: Item) -> int:
        most = self._targets.window(name)
        need = item.input_tokens + (item.max_tokens or ANSWER_TOKENS)
        loaded = self._targets.states.get(name, {}).get("window_tokens") or 0
        size = max(self._sizes.get(name, LEAST_WINDOW), loaded, 1 << (need - 1).bit_length())
        self._sizes[name] = size = min(size, most) if most else size
        return size

    def patience_s(self, name: str, item: Item) -> float:
        """Seconds after which a call is given up: `timeout_s`, or less where the row's own limit on its answer says how
        long it may take at the pace of the last calls."""
        target, pace = self._configured[name], self._pace.get(name, ())
        if target.lane != "local" or not item.max_tokens or len(pace) < PACE_CALLS:
            return target.timeout_s
        longest_s = STALL_LEAST_S + STALL_TIMES * max(pace) * work(item.input_tokens, item.max_tokens)
        return min(target.timeout_s, math.ceil(longest_s / STALL_STEP_S) * STALL_STEP_S)

    def weigh(
        self, name: str, target: Target, item: Item, outcome: Completion | Failure, seconds: float,
        elsewhere: Callable[[], bool],
    ) -> Completion | Failure:  # fmt: skip
        """The outcome, or what is wrong with it; `target` as it was sent."""
        if isinstance(outcome, Completion) and (few := truth.too_few(item, outcome)) is not None:
            return few
        if target.lane != "local":
            return outcome
        if isinstance(outcome, Failure):
            return _named(outcome)
        state = self._targets.states.get(name, {})
        window = target.context_tokens if target.kind == "ollama" else state.get("window_tokens")
        doubted = truth.doubt(
            target, item, outcome, window=window, known=state.get("model"),
            elsewhere=any(each.finish == "length" for each in (outcome, *outcome.others)) and elsewhere(),
        )  # fmt: skip
        if doubted is None and outcome.usage.output_tokens:
            pace = self._pace.setdefault(name, deque(maxlen=PACE_CALLS))
            pace.append(seconds / work(outcome.usage.input_tokens, outcome.usage.output_tokens))
        return doubted or outcome


def _named(failure: Failure) -> Failure:
    """A server of one's own that does not answer in time has a stalled slot; one that is busy may be loading its model."""
    if failure.code == "timeout":
        return msgspec.structs.replace(failure, code="stalled", message=f"{failure.message}: its slot has stalled")
    if failure.kind == "overload" and _LOADING.search(failure.message):
        return msgspec.structs.replace(failure, code="model_loading")
    return failure
