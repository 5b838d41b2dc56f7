"""`spillway plan`: what a run would be; the figures are worker/dryrun.py's."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from producer.cli import rehearse, say
from producer.cli.options import Intake, taking
from producer.cli.run import order, until_interrupted

if TYPE_CHECKING:
    from pipelines.settings import Settings


@taking(Intake)
def plan(ask: Intake) -> int:
    """Dry run: rows, duplicates, routes, tokens, cost and time per lane; calls nobody."""
    return until_interrupted(_plan(ask))


async def _plan(ask: Intake) -> int:
    async with rehearse.working(ask, ask.simulate) as settings:
        return await _planned(ask, settings)


async def _planned(ask: Intake, settings: Settings) -> int:
    from worker.dryrun import plan_run

    wanted = order(ask, settings)
    deadline_s = wanted.options.deadline_s
    said = await asyncio.to_thread(plan_run, settings, wanted.sources, wanted.options, wanted.client, deadline_s)
    if ask.json:
        say.as_json(said)
        return 0
    plain = {name: value for name, value in said.items() if name not in ("lanes", "routes", "lacks", "assumption")}
    say.upright(_readable(plain), list(_readable(plain)))
    for name in ("lanes", "routes"):
        say.rows([_readable(row) for row in said.get(name, [])], as_json=False)
    if lacks := said["lacks"]:
        print(f"infeasible: needs {lacks['text'] or 'another lane: neither money nor time would do'}")
    if said.get("assumption"):
        say.note(said["assumption"])
    return 0


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """`cost_usd_p50` -> `p50_cost_usd`, `seconds_p50` -> `p50_s`: the unit where the table looks for it."""
    named: dict[str, Any] = {}
    for name, value in row.items():
        head, _, quantile = name.rpartition("_")
        new = {"cost_usd": f"{quantile}_cost_usd", "seconds": f"{quantile}_s"}.get(head, name)
        named[new] = Decimal(value) if new.endswith("_usd") and value is not None else value
    return named
