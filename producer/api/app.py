"""Puts the server together: routers, limits, errors, and what is open while it runs. It serves no request itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from pipelines import route, wire
from pipelines.settings import Settings
from producer import schedules
from producer.answers import Answers
from producer.api import (
    batches,
    chat,
    clients,
    costs,
    errors,
    estimates,
    files,
    health,
    messages,
    metrics,
    models,
    runs,
    targets,
)
from producer.api.direct import Direct
from producer.api.ending import release
from producer.api.keeper import Keeper
from producer.api.likely import Likely
from producer.api.limits import Limits
from producer.api.meter import Meter
from producer.api.state import State
from producer.clients import find_all
from producer.inbox import Inboxes
from producer.queue import connected
from producer.records import Records
from producer.schedules import Desk
from producer.together import Together

ROUTERS = tuple(
    each.router
    for each in (chat, health, clients, models, files, batches, messages, runs, estimates, targets, costs, metrics)
)
UPLOADS = ("/v1/files", "/v1/runs", "/v1/messages/batches")
"""Paths whose body may be written to the data root as it comes."""


def create_app(settings: Settings, redis_url: str) -> ASGIApp:
    """The server for one data root and one Redis."""

    @asynccontextmanager
    async def open_(app: FastAPI) -> AsyncIterator[None]:
        async with connected(redis_url) as redis, connected(redis_url, text=False) as raw:
            keys, records = wire.Keys(settings.spillway.prefix), Records(settings.spillway.data)
            channel = keys.told(secrets.token_hex(8))
            answers = Answers(raw, keys, records.store, channel)
            names = lru_cache(1024)(partial(_names, settings))
            finder = Together(partial(find_all, redis, keys))
            likely = Likely(redis, keys)
            inboxes = Inboxes(redis, keys, records, channel, settings.api.inbox_open)
            state = app.state.spillway = State(
                settings, redis, keys, records, asyncio.Queue(), inboxes, answers, finder, likely, names
            )
            beside = [
                asyncio.create_task(each)
                for each in (Keeper(state).run(), answers.run(), likely.run(), release(answers))
            ]
            stopping = asyncio.Event()
            clock = asyncio.create_task(schedules.keep(Desk(redis, keys, records, settings), stopping))
            await answers.listening.wait()
            try:
                yield
            finally:
                stopping.set()
                await inboxes.close()
                await likely.tell()
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, clock, return_exceptions=True)

    about = {"title": "Spillway", "version": version("spillway-batch")}
    # Pages about the API would load their scripts from somebody else's server; openapi.json needs none.
    app = FastAPI(**about, lifespan=open_, redirect_slashes=False, docs_url=None, redoc_url=None)  # type: ignore[arg-type]
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    api = settings.api
    inside: ASGIApp = app
    if api.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=api.cors_origins, allow_methods=["*"], allow_headers=["*"])
    else:
        inside = Direct(app, chat.ENDPOINTS)
    # Around everything, Starlette's own answer to a failure included: that one needs an id most.
    return Meter(Limits(inside, api.max_body_bytes, dict.fromkeys(UPLOADS, api.max_upload_bytes)))


def _names(settings: Settings, client: str) -> Collection[str] | None:
    return route.table(settings, client).names if settings.targets else None
