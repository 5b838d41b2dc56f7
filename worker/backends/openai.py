"""OpenAI itself, and any server that only claims to be compatible with it; by `api`, its chat or its responses.

What a row asks for goes out as it is: OpenAI refuses what it does not know. What another server makes of it is its word.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure
from worker.backends import Adapter, Sendable
from worker.backends.compatible import Compatible
from worker.backends.exchange import Response
from worker.backends.responses import Responses


def _cap(target: Target) -> str:
    """OpenAI's reasoning models refuse `max_tokens`, at Azure too; many compatible servers know nothing else."""
    host = f".{urlsplit(target.base_url or '').hostname}"
    return "max_completion_tokens" if host.endswith((".api.openai.com", ".openai.azure.com")) else "max_tokens"


APIS: dict[str, Adapter] = {"chat": Compatible("openai", cap=_cap, developer=True), "responses": Responses()}


class OpenAI:
    """See `Adapter`."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        return APIS[target.api].request(target, item_body, schema=schema, price=price)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        return APIS[target.api].parse(target, response)


ADAPTER = OpenAI()
