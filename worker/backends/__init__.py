"""One provider, one file: each turns a chat request into what its server wants, and what the server says into a value.

Nothing here sends anything: hot.py does, and the drain decides what an outcome means for a prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure
from worker.backends.exchange import Response

log = logging.getLogger("spillway.backends")

Sendable = tuple[str, Mapping[str, str], bytes]
"""Address, headers and body of one POST. The headers belong to the target: never change them."""


class Adapter(Protocol):
    """What a provider's file offers as `ADAPTER`; neither method raises for what a row or a server says."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        """`item_body` is a JSON object of OpenAI's chat API without `model`. A Failure names what cannot be asked. `price`: what
        is reserved for the call, so that who only passes it on must pass it to nobody who is dearer."""
        ...

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        """What a complete answer means (PROVIDERS: outcome classes)."""
        ...


@cache
def load(kind: str) -> Adapter:
    """The adapter of a target's kind, which is the name of its file."""
    return cast(Adapter, import_module(f"worker.backends.{kind}").ADAPTER)


def ready(
    target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
) -> Sendable | Failure:
    """`Adapter.request` for a row of anybody's: should that raise all the same, this one row cannot be asked there."""
    try:
        return load(target.kind).request(target, item_body, schema=schema, price=price)
    except Exception:
        log.exception("a row for a target of kind %s failed in our own code", target.kind)
        return Failure(
            "invalid", "internal", f"{target.kind} cannot be asked this: internal error; see the worker's log"
        )
