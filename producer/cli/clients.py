"""`spillway clients`: the keys with which clients ask the HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli import say, session
from producer.cli.options import Output, taking
from producer.cli.session import Session

if TYPE_CHECKING:
    from producer.clients import ClientKey


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClient(Output):
    """Which client."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="The client.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(OfClient):
    """Which client, and whether it is the admin."""

    admin: Annotated[bool, typer.Option("--admin", help="Its key may also add, rotate and disable clients.")] = False


@taking(Add)
def add(ask: Add) -> int:
    """Makes a client's key and prints it: this once, for only its hash is kept."""
    from producer import clients

    return asyncio.run(_with_key(ask, lambda now: clients.add(now.redis, now.keys, ask.name, admin=ask.admin)))


@taking(OfClient)
def rotate(ask: OfClient) -> int:
    """Makes a new key and prints it; the old one is refused from now on."""
    from producer import clients

    return asyncio.run(_with_key(ask, lambda now: clients.rotate(now.redis, now.keys, ask.name)))


@taking(OfClient)
def disable(ask: OfClient) -> int:
    """Refuses a client's key and tokens from now on; what it has submitted goes on."""
    return asyncio.run(_disable(ask))


@taking(Output)
def list_(ask: Output) -> int:
    """Every client with a key."""
    return asyncio.run(_list(ask))


async def _with_key(ask: OfClient, make: Callable[[Session], Awaitable[tuple[str, ClientKey]]]) -> int:
    async with session.draining(session.settings_of(ask), workers=False) as now:
        key, made = await make(now)
    if ask.json:
        say.as_json({**made.shown(), "key": key})
    else:
        say.note(f"client {made.client}: keep this key, it is not shown again")
        print(key)
    return 0


async def _disable(ask: OfClient) -> int:
    from producer import clients

    settings = session.settings_of(ask)
    async with session.draining(settings, workers=False) as now:
        record = await clients.disable(now.redis, now.keys, ask.name, tokens=settings.api.jwt is not None)
    if ask.json:
        say.as_json(record.shown())
    else:
        print(
            f"client {record.client}: {f'its key {record.key_id}…' if record.key_id else 'it'} is refused from now on"
        )
    return 0


async def _list(ask: Output) -> int:
    from producer import clients

    async with session.draining(session.settings_of(ask), workers=False) as now:
        found = [each.shown() for each in await clients.listed(now.redis, now.keys)]
    if ask.json:
        say.as_json(found)
    elif found:
        rows = [
            {
                "client": each["client"],
                "key": f"{each['key_id']}…" if each["key_id"] else "",
                "since": datetime.fromtimestamp(each["created_ms"] / 1000, UTC),
                "admin": "yes" if each["admin"] else "",
                "state": "disabled" if each["disabled"] else "active",
            }
            for each in found
        ]
        say.table(rows, list(rows[0]))
    else:
        say.note("no client has a key yet; `spillway clients add NAME` prints one")
    return 0
