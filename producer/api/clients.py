"""Clients and their keys over HTTP, for the admin: the same as `spillway clients`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from pipelines.errors import UsageError
from producer import clients
from producer.api.auth import Admin
from producer.api.errors import conflict, not_found
from producer.api.state import Here

router = APIRouter(prefix="/v1/clients", tags=["clients"])


class New(BaseModel):
    """A client to be."""

    model_config = ConfigDict(extra="forbid")
    name: str
    admin: bool = False


@router.get("")
async def list_clients(here: Here, admin: Admin) -> dict[str, Any]:
    """Every client with a key; keys themselves are known to nobody."""
    return {"object": "list", "data": [each.shown() for each in await clients.listed(here.redis, here.keys)]}


@router.post("")
async def add(new: New, here: Here, admin: Admin) -> dict[str, Any]:
    """A new client; `key` is shown this once."""
    known = {each.client for each in await clients.listed(here.redis, here.keys)}
    if new.name in known:
        raise conflict(f"Client '{new.name}' has a key already; rotate it.")
    key, made = await clients.add(here.redis, here.keys, new.name, admin=new.admin)
    return {**made.shown(), "key": key}


@router.post("/{name}/rotate")
async def rotate(name: str, here: Here, admin: Admin) -> dict[str, Any]:
    """A new key, shown this once; the old one is worthless from now on."""
    try:
        key, made = await clients.rotate(here.redis, here.keys, name)
    except UsageError:
        raise not_found("client", name) from None
    return {**made.shown(), "key": key}


@router.post("/{name}/disable")
async def disable(name: str, here: Here, admin: Admin) -> dict[str, Any]:
    """Its key and its tokens are refused until the key is rotated."""
    tokens = here.settings.api.jwt is not None
    try:
        return (await clients.disable(here.redis, here.keys, name, tokens=tokens)).shown()
    except UsageError:
        raise not_found("client", name) from None
