"""What waits for a person beside the runs: closed targets, batches set aside, routes whose reuse is paused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.printable import one_line
from producer.cli import session

if TYPE_CHECKING:
    from pipelines.sections import Route


async def show(found: session.Session, routes: Mapping[str, Route], shown: set[str], closed: Mapping[str, str]) -> None:
    """Prints it all; batches only of the runs that are shown."""
    from pipelines.pauses import paused
    from producer.queue import now_ms

    for name, reason in closed.items():
        print(one_line(f"target {name} is closed: {reason}"))
    aside = await found.redis.hgetall(found.keys.poison)
    for batch, reason in sorted(aside.items()):
        run_id = batch.partition(".")[0]
        if run_id in shown:
            print(one_line(f"{run_id}: batch {batch} is set aside, its rows fail: {reason}"))
    allowed = {name: route.max_false_reuse for name, route in routes.items()}
    said = paused(await found.redis.hgetall(found.keys.paused), allowed, await now_ms(found.redis))
    for message in filter(None, said.values()):
        print(one_line(message))


async def closed_targets(found: session.Session) -> dict[str, str]:
    """Targets that workers have closed (keys, funds, prices, the emergency cut-off), and why."""
    from producer import runs

    states = await runs.target_states(found.redis, found.keys)
    return {state.name: state.reason for state in states if state.closed}
