"""`POST /v1/estimate`: what a run would cost and take, before anything is spent; nothing is enqueued or kept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Request

from pipelines.types import Source
from producer import uploads
from producer.api import ask, child
from producer.api.ask import Asked
from producer.api.auth import Caller
from producer.api.errors import not_found
from producer.api.runs import look
from producer.api.state import Here, State

router = APIRouter(prefix="/v1/estimate", tags=["runs"])


@router.post("", openapi_extra=ask.document(form=False))
async def estimate(request: Request, here: Here, caller: Caller) -> dict[str, Any]:
    """The dry run of `spillway plan`: rows, duplicates among them, routes, tokens, cost and time for each lane."""
    asked = ask.of_body(here, caller.client, await request.body())
    with tempfile.TemporaryDirectory(prefix="spillway-") as folder:
        source = await _source(here, caller.client, asked, Path(folder) / "rows.jsonl")
        said = await child.ask(
            request,
            here,
            f"estimate {caller.client}",
            "plan",
            client=caller.client,
            sources=[msgspec.to_builtins(source)],
            options=msgspec.to_builtins(asked.options),
        )
    return {"object": "estimate", **said}


async def _source(here: State, client: str, asked: Asked, path: Path) -> Source:
    if asked.prompts is not None:
        await asyncio.to_thread(path.write_bytes, b"".join(ask.rows(asked.prompts)))
        return (await asyncio.to_thread(look, str(path))).source
    file = await uploads.get(here.redis, here.keys, client, asked.file_id or "")
    if file is None:
        raise not_found("file", asked.file_id or "", "file_id")
    return (await asyncio.to_thread(look, here.store.path(file.name))).source
