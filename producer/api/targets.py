"""`/v1/targets`: which targets answer a client's prompts and at what price; for the admin also where and how busy they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from pipelines import route
from pipelines.money import Unknown, cost_pusd, pusd_to_usd_str
from pipelines.types import Usage
from producer import runs
from producer.api import child
from producer.api.auth import Admin, Anyone
from producer.api.errors import not_found
from producer.api.state import Here, State
from producer.runs import LaneView

router = APIRouter(prefix="/v1/targets", tags=["targets"])

MTOK = 1_000_000


@router.get("")
async def list_targets(here: Here, asked: Anyone) -> dict[str, Any]:
    """The targets behind the routes that the caller may use, in the order of the configuration."""
    routes = here.settings.routes
    may = routes if asked.admin else route.allowed(here.settings, asked.client)
    wanted = {target for name in may for target in routes[name].targets}
    seen = {lane.name: lane for lane in await runs.lanes(here.redis, here.keys)}
    shown = [
        {**_public(here, name, seen.get(name)), **(_private(here, name, seen.get(name)) if asked.admin else {})}
        for name in here.settings.targets
        if name in wanted or asked.admin
    ]
    return {"object": "list", "data": shown}


@router.post("/{name}/check")
async def check(request: Request, name: str, here: Here, admin: Admin) -> dict[str, Any]:
    """A look at a target and one real call of a few tokens; at a paid target it costs what it costs."""
    if name not in here.settings.targets:
        raise not_found("target", name)
    return {"object": "target.check", **await child.ask(request, here, "check", "check", name=name)}


def _public(here: State, name: str, seen: LaneView | None) -> dict[str, Any]:
    """`up` is None while no worker has looked."""
    target = here.settings.targets[name]
    return {
        "object": "target",
        "name": name,
        "lane": target.lane,
        "kind": target.kind,
        "model": target.model,
        "up": seen.up if seen else None,
        "price": _price(here, name),
    }


def _private(here: State, name: str, seen: LaneView | None) -> dict[str, Any]:
    """What tells of other clients or of the network: for the admin."""
    target = here.settings.targets[name]
    busy = seen or LaneView(name)
    return {
        "base_url": target.base_url,
        "reason": busy.reason or None,
        "max_concurrency": target.concurrency,
        "rpm": target.rpm,
        "tpm": target.tpm,
        "slots": busy.slots,
        "in_flight": busy.in_flight,
        "rows_per_s": busy.rows_per_s,
    }


def _price(here: State, name: str) -> dict[str, str] | None:
    """Dollars for a million tokens as decimal text; None where the price is unknown and the target is refused."""
    from pipelines.prices import price_of

    price = price_of(here.settings.targets[name], here.settings.prices, datetime.now(UTC), name=name)
    if isinstance(price, Unknown):
        return None
    input_pusd, output_pusd = (cost_pusd(price, Usage(**{side: MTOK})) for side in ("input_tokens", "output_tokens"))
    return {
        "input_usd_per_mtok": pusd_to_usd_str(input_pusd),
        "output_usd_per_mtok": pusd_to_usd_str(output_pusd),
        "price_id": price.price_id,
    }
