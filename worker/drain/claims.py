"""A batch comes to this process with its journal, and leaves it: drained, or back to waiting with what is left of it.

Both are one script each, which compares holder and epoch: who slept takes nothing, and gives nothing back.
"""

from __future__ import annotations

import logging

from pipelines import wire
from pipelines.journal import fold
from pipelines.learn import Length, tell
from worker import aside
from worker.context import Context
from worker.drain.history import paid_most
from worker.drain.journal import Journal
from worker.drain.running import Prompt, Running, prompts_of

log = logging.getLogger("spillway.drain")


async def claim(context: Context, journal: Journal, batch_id: str, epoch: int) -> tuple[Running, list[Prompt]] | None:
    """The batch and its prompts that have not ended, as far as earlier lives of it say; None when it is not ours to run."""
    keys = context.keys
    reply = await context.scripts.claim(
        keys=[keys.batch(batch_id), keys.journal(batch_id), keys.run(batch_id.partition(".")[0])],
        args=[epoch, context.owner],
    )
    if not reply:
        return None
    head, payload, lanes, lane, target, entries, started_ms, cancel = reply
    try:
        batch, items = wire.unpack_head(head), wire.unpack_items(payload)
        run = await context.run(batch.run, started_ms.decode())
    except wire.Unreadable as error:
        await aside.batch(context, batch_id, error)
        return None
    state = fold(wire.readable_entries(entries))
    run.stopped = cancel not in (b"", b"0")
    running = Running(batch, epoch, lane.decode(), lanes.decode(), run, journal, target.decode())
    left = [item for item in items if item.row not in state.done]
    running.open = len(left)
    return running, list(prompts_of(running, left, state, paid_most(context.settings.targets)))


async def release(context: Context, running: Running, lengths: dict[str, Length]) -> None:
    """Drained when every prompt ended; else back to waiting, for the other lane if one is exhausted. How long its answers were goes
    into `lengths`."""
    keys, head = context.keys, running.head
    state = "waiting" if running.unresolved else "drained"
    tell(lengths, head, running.answers)
    score = head.cloud_pusd / max(head.work, 1e-9)
    names = [keys.batch(running.id), keys.waiting(head.run), keys.rung, keys.drained(head.run), keys.wake]
    args = [running.epoch, running.id, state, running.lanes_left, score, context.owner, running.refused]
    if not await context.scripts.release(keys=names, args=[*args, "left", len(running.unresolved)]):
        log.warning("batch %s was taken over; nothing published", running.id)
