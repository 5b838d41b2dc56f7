"""`GET /v1/costs/summary`: what a client has spent and saved, from the ledger; the admin sees all clients.

The figures are those of `spillway report savings`, made by that very command in a child process; limits come from Redis.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from pipelines import budgets, days
from pipelines.errors import QueueError
from producer import limits
from producer.api import child
from producer.api.auth import Anyone
from producer.api.errors import ApiError
from producer.api.state import Here, State
from producer.queue import now_ms

router = APIRouter(prefix="/v1/costs", tags=["costs"])

WRONG_USAGE = 2
By = Literal["day", "week", "month", "run", "route", "client"]
When = Annotated[str | None, Query(max_length=40, description="2026-03-01, 2026-03-01T08:00, or 24h ago")]


@router.get("/summary")
async def summary(
    request: Request,
    here: Here,
    asked: Anyone,
    since: When = None,
    until: When = None,
    by: By | None = None,
    client: str | None = None,
) -> dict[str, Any]:
    """One row, or one for each group: calls, money spent, avoided by cause, and what all cloud would have cost; money as
    decimal text. `client` is for the admin."""
    whose = client if asked.admin else asked.client
    if not asked.admin and client not in (None, asked.client):
        raise ApiError(403, "Only the admin may name a client here.", code="admin_only", param="client")
    given = {"--since": since, "--until": until, "--by": by, "--client": whose}
    options = [f"{name}={value}" for name, value in given.items() if value]
    rows = await _report(request, here, asked.client or "admin", options)
    return {
        "object": "costs.summary", "client": whose, "since": since, "until": until, "data": rows,
        "budgets": await _budgets(here, whose),
    }  # fmt: skip


async def _report(request: Request, here: State, caller: str, options: list[str]) -> list[dict[str, Any]]:
    root = here.store.path("").rstrip("/")  # wherever the child stands
    command = [
        "producer.cli", "report", "savings", "--format=json", f"--config={os.devnull}", f"--data={root}", *options,
    ]  # fmt: skip
    environment = {"SPILLWAY_TIMEZONE": here.settings.spillway.timezone}
    ended = await child.run(request, f"costs {caller}", command, environment=environment)
    if ended.code == WRONG_USAGE:
        raise ApiError(400, f"{ended.err.strip().removeprefix('spillway: ')[:300]}.", code="invalid_value")
    if ended.code != 0:
        raise QueueError(f"the report ended with status {ended.code}: {ended.err[-500:]}")
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


async def _budgets(here: State, client: str | None) -> list[dict[str, Any]]:
    """Today's and this month's limit of the client, or of everybody."""
    day = days.day(await now_ms(here.redis), here.settings.spillway.timezone)
    own = f"client:{client}:" if client else ""
    scopes = budgets.shared(here.settings, client or "", day)
    wanted = {name: limit for name, limit in scopes.items() if name.startswith(own)}
    return [
        {
            "scope": scope.name,
            "limit_usd": None if scope.limit_nusd is None else budgets.usd(scope.limit_nusd),
            "spent_usd": budgets.usd(scope.spent_nusd),
            "reserved_usd": budgets.usd(scope.reserved_nusd),
        }
        for scope in await limits.some(here.redis, here.keys, wanted)
    ]
