"""`/v1/models` as OpenAI has it: the names that a client's rows may give as their model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from producer.api.auth import Caller
from producer.api.errors import not_found
from producer.api.state import Here

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
async def list_models(here: Here, caller: Caller) -> dict[str, Any]:
    """Routes, their aliases and the targets that the caller may use; none where this server knows no targets."""
    return {"object": "list", "data": [_shown(name) for name in here.models(caller.client) or ()]}


@router.get("/{model:path}")
async def retrieve(model: str, here: Here, caller: Caller) -> dict[str, Any]:
    """One of them; names may have slashes."""
    if model not in (here.models(caller.client) or ()):
        raise not_found("model", model)
    return _shown(model)


def _shown(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "spillway"}
