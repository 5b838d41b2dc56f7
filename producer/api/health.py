"""`GET /health`: whether this server can do its work; needs no key and says nothing about anybody."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from producer import runs
from producer.api.state import Here

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(here: Here) -> dict[str, Any]:
    """`ok`, and how many workers are alive; 503 while Redis cannot be reached."""
    await here.redis.ping()
    return {"status": "ok", "workers": await runs.workers(here.redis, here.keys)}
