"""Which batches of audit calls may go now: none with money that rows of their run may still need."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.money import PUSD_PER_NUSD
from worker.context import Context, RunContext
from worker.money import budget
from worker.schedule.seen import Seen

AMPLE = 10
"""A budget that has room for so many times what a run's rows are expected to cost still is no reason to wait: on a slow lane audits
that begin when all rows have ended would not be done in time (settle/audits.py: PATIENCE_S)."""


async def let_go(
    context: Context, run: RunContext, fields: Mapping[str, str], waiting: list[str], seen: Mapping[str, Seen]
) -> list[str]:
    """What waits of a run, without the audits that are held back; `seen` has all that waits or is out."""
    audits = {batch for batch in waiting if batch in seen and seen[batch].head.purpose == "audit"}
    if not audits or await _may_pay(context, run, fields, seen):
        return waiting
    return [batch for batch in waiting if batch not in audits]


async def _may_pay(context: Context, run: RunContext, fields: Mapping[str, str], seen: Mapping[str, Seen]) -> bool:
    """Once all rows have ended, as settle says; before, where nothing limits the run, or has ample room."""
    heads = [each.head for each in seen.values() if each.head.run == run.id and each.head.purpose != "audit"]
    if fields.get("audit_due") and not heads:
        return True
    left = await left_nusd(context, run)
    room_nusd = min((each for each in left.values() if each is not None), default=None)
    rows = sum(head.rows for head in heads)
    if room_nusd is None or not rows:
        return room_nusd is None
    perhaps = sum(int(fields.get(name) or 0) for name in ("borrowed", "fallen"))  # followers that may have to be asked
    need_pusd = sum(head.cloud_pusd for head in heads) * (1 + perhaps / rows)
    return room_nusd * PUSD_PER_NUSD > AMPLE * need_pusd


async def left_nusd(context: Context, run: RunContext) -> dict[str, int | None]:
    """By scope that the run's calls must fit into; None where nothing limits it."""
    return await budget.room_nusd(context.redis, context.keys, list(run.wanted_scopes(context.clock)))
