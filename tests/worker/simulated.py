"""A scenario with one stand-in server, and what tests ask of it over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support_net import CERTIFICATES
from worker.simulator import Running, serve

CLOUD = {"personality": "openai", "model": "gpt-4o-mini", "usd_per_mtok_in": 0.15, "usd_per_mtok_out": 0.6}
GPU = {"personality": "lmstudio", "model": "qwen", "slots": 4}


class Client:
    """What the tests ask of a running scenario."""

    def __init__(self, running: Running, http: httpx.AsyncClient) -> None:
        self.running, self.http = running, http

    async def chat(
        self, prompt: str, server: str = "s", *, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        config = self.running.servers[server].config
        body = {"model": config.model, "messages": [{"role": "user", "content": prompt}], **more}
        return await self.http.post(f"{self.running.base_urls[server]}/chat/completions", json=body, headers=headers)

    async def get(self, path: str, server: str = "s") -> httpx.Response:
        return await self.http.get(self.running.url(server) + path)

    async def control(self, **body: Any) -> httpx.Response:
        return await self.http.post(f"{self.running.control_url}/control", json=body)

    async def bill(self, server: str = "s") -> dict[str, Any]:
        return dict((await self.http.get(f"{self.running.control_url}/bill")).json()["servers"][server])

    async def calls(self) -> list[dict[str, Any]]:
        text = (await self.http.get(f"{self.running.control_url}/bill/calls")).text
        return [json.loads(line) for line in text.splitlines()]

    async def status(self, server: str = "s") -> dict[str, Any]:
        return dict((await self.http.get(f"{self.running.control_url}/status")).json()["servers"][server])


@asynccontextmanager
async def one(timeout_s: float = 10.0, **config: Any) -> AsyncIterator[Client]:
    """A scenario of one server called `s`."""
    scenario = {"servers": {"s": {**CLOUD, **config}}}
    async with (
        serve(scenario) as running,
        httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=CERTIFICATES) as http,
    ):
        yield Client(running, http)


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])
