"""A call as it will be sent, or why its target can never be asked this prompt; sends nothing, and knows nothing of queues."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends import Sendable, ready
from worker.drain.local import Local
from worker.drain.running import Prompt
from worker.money.ledger import Ledger
from worker.targets import Targets


class Ready(NamedTuple):
    """A target as it is to be asked, the call, and the most that it may cost in pico-dollars."""

    target: Target
    request: Sendable
    bound_pusd: int


class Asking:
    """Prompts and targets of one process. A Failure of kind `auth` is the target's trouble, any other the prompt's."""

    def __init__(self, targets: dict[str, Target], known: Targets, local: Local, ledger: Ledger) -> None:
        self._targets, self._known, self._local, self._ledger = targets, known, local, ledger

    def ready(self, name: str, prompt: Prompt) -> Ready | Failure:
        """The call."""
        item, target = prompt.item, self._local.fitted(name, prompt.item)
        if isinstance(target, Failure):
            return target
        schema, price = prompt.batch.run.schema, self._ledger.price(name)
        request = ready(target, item.body, schema=schema, price=price)
        if isinstance(request, Failure):
            return request
        bound = self._ledger.bound_pusd(name, item)
        return bound if isinstance(bound, Failure) else Ready(target, request, bound)

    def too_large(self, name: str, prompt: Prompt) -> bool:
        """Whether no minute of the target has room for the prompt, however long it waits; it is refused then."""
        target, item = self._targets[name], prompt.item
        tpm, needs = target.tpm, target.charged_tokens(item.input_tokens, item.max_tokens)
        if not tpm or needs <= tpm:
            return False
        limit = "max_tokens" if item.max_tokens else "its max_output_tokens"
        message = f"needs {needs:,} tokens, and {name} admits {tpm:,} a minute; raise its tpm, or lower {limit}"
        prompt.refused(name, Failure("invalid", "rate_impossible", message))
        return True

    def may(self, name: str, prompt: Prompt) -> bool:
        """Whether it is worth it to take a prompt to the lane of this target: one that refuses it as well, before any call,
        would only send it back."""
        if self.too_large(name, prompt):
            return False
        failure = self.ready(name, prompt)
        if not isinstance(failure, Failure) or failure.kind == "auth":
            return True
        prompt.refused(name, failure)
        return False

    def elsewhere(self, prompt: Prompt, name: str) -> bool:
        """Whether another target may still answer the prompt."""
        batch, known = prompt.batch, self._known
        lanes = (prompt.lane,) if batch.lanes == "none" else ("local", "cloud")
        others = [other for lane in lanes for other in known.route_targets(batch.head.route, lane) if other != name]
        return any(o not in prompt.given_up and not known.states.get(o, {}).get("closed") for o in others)
