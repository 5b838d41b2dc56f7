"""vLLM: OpenAI's shape throughout; it queues without bound, so the cap is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.sections import Target
from worker.backends import looks
from worker.backends.compatible import Compatible
from worker.backends.looks import Seen

if TYPE_CHECKING:
    from worker.backends.http import Web

ADAPTER = Compatible("vllm")


async def look(web: Web, target: Target) -> Seen:
    """A model that it does not list answers 404 to every call, so then it is down for this target."""
    seen = await looks.models(web, target)
    if seen.up and seen.models and target.model not in seen.models:
        return Seen(False, looks.lacking(target, seen.models), seen.models[0], seen.models)
    return seen
