"""Batches that wait in Redis, as prepare leaves them."""

from __future__ import annotations

from pipelines import wire
from pipelines.types import BatchHead, Item
from worker.context import Context

WORK = 110.0


async def waiting_batch(
    context: Context, run: str, number: int = 0, route: str = "all", purpose: str = "answer"
) -> str:
    """Of two rows that any lane may answer; its id."""
    head = BatchHead(f"{run}.0.0.{number}", run, route, 0, 2, 100, 100, WORK, 2200, 100, purpose)
    payload = wire.pack_items([Item(row, b"{}", 50, 0) for row in range(2)])
    said = {
        "state": "waiting",
        "epoch": 0,
        "lanes": "any",
        "tries": 0,
        "head": wire.pack_head(head),
        "payload": payload,
    }
    await context.redis.hset(context.keys.batch(head.id), mapping=said)
    await context.redis.zadd(context.keys.waiting(run), {head.id: 1.0})
    return head.id
