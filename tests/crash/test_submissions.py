"""Small submissions while everything is killed: what was accepted is answered, once, and the ledger is the bill."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from pipelines import invariants
from tests.crash.judge import ledger
from tests.crash.stage import Field
from tests.support_program import CLOUD, GPU, wait_until
from tests.support_serving import ADMIN, Server
from tests.support_upstream import Upstream

MODEL = "gpt-4o-mini"
OPEN_S = 4
RATE = 20
VICTIMS = ("server", "worker", "worker", "server", "worker", "server")
"""In an order by chance."""
ROUTE = {"targets": ["gpu", "cloud"], "models": [MODEL], "dedupe": "exact"}


def body(number: int) -> dict[str, Any]:
    """One in five prompts was asked before."""
    which = number if number % 5 else number // 2
    return {"model": MODEL, "messages": [{"role": "user", "content": f"What comes after {which}?"}]}


async def submit(server: Server, over: asyncio.Event) -> dict[str, int]:
    """Submits as fast as RATE says until it is over, whatever happens to the server; the accepted ids, with the number of their prompt."""
    accepted: dict[str, int] = {}
    key = server.key()
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=0)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        headers = {"authorization": f"Bearer {key}", "x-spillway-wait-s": "0" if number % 2 else "20"}
        try:
            told = await client.post(f"{server.url}/v1/chat/completions", json=body(number), headers=headers)
        except httpx.HTTPError:
            return  # killed: whether it was accepted, nobody knows
        if told.status_code in (200, 202):
            said = told.json()
            accepted[said["spillway"]["id"]] = number

    async with httpx.AsyncClient(trust_env=False, timeout=25, limits=limits) as client:
        tasks: list[asyncio.Task[None]] = []
        while not over.is_set():
            tasks.append(asyncio.create_task(one(client, len(tasks))))
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*tasks)
    return accepted


async def kill(there: Field, server: Server, chance: random.Random, over: asyncio.Event) -> None:
    """kill -9 of the server and of workers, one after the other; they are started anew."""
    for victim in chance.sample(VICTIMS, len(VICTIMS)):
        await asyncio.sleep(chance.uniform(0.5, 1.5))
        if victim == "server":
            server.kill()
            await asyncio.to_thread(server.start)
        else:
            there.workers.signal(chance.randrange(len(there.roles)), signal.SIGKILL)
            await asyncio.sleep(0.1)
            there.workers.mend()
    await asyncio.sleep(1.0)
    over.set()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_accepted_is_answered_once_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    roles = ["prepare,schedule,settle", "local,cloud", ""]
    settings = {"routes": {"small": ROUTE}, "api": {"admin_key": ADMIN, "inbox_open": f"{OPEN_S}s"}}
    servers = {"gpu": GPU, "cloud": CLOUD}
    with Upstream({"servers": servers}) as upstream, Field(tmp_path, upstream, roles, **settings) as there:
        server = Server(there.program, redis_url=there.redis.url)
        try:

            async def storm() -> dict[str, int]:
                over = asyncio.Event()
                accepted, _ = await asyncio.gather(submit(server, over), kill(there, server, random.Random(seed), over))
                return accepted

            accepted = asyncio.run(storm())
            assert len(accepted) > 40, "some were accepted between the kills"
            there.workers.mend()
            answers = fetched(server, accepted)
        finally:
            server.stop()
        redis = there.redis.client
        wait_until(lambda: not redis.scard("spillway:runs:open"), 90)
        wrong = ledger(there.program.costs(), upstream.calls())
        for run in sorted({name.removeprefix("chatcmpl-").rpartition("-")[0] for name in accepted}):
            results = there.program.results(run)
            assert results["row"].to_list() == list(range(results.height))
            assert set(results["status"]) <= {"ok", "duplicate"}
            ours = there.program.costs().filter(pl.col("run_id") == run)
            wrong += [
                f"{run}: {one.row} {one.what}" for one in invariants.check(results.lazy(), ours.lazy(), results.height)
            ]
            for row in results.iter_rows(named=True):
                name = f"chatcmpl-{run}-{row['row']}"
                if name in answers:
                    assert row["output"] == answers[name], "the file says what the client was told"
    assert not wrong, wrong


def fetched(server: Server, accepted: dict[str, int]) -> dict[str, str]:
    """The answer to everything that was accepted; the same prompt has the same answer, and no other has it."""
    answers: dict[str, str] = {}
    with server.http() as http:
        for name in accepted:
            told = http.get(f"/v1/chat/completions/{name}", headers={"x-spillway-wait-s": "60"})
            assert told.status_code == 200, (name, told.status_code, told.text)
            answers[name] = told.json()["choices"][0]["message"]["content"]
    by_prompt: dict[str, set[str]] = {}
    for name, number in accepted.items():
        by_prompt.setdefault(body(number)["messages"][0]["content"], set()).add(answers[name])
    assert all(len(given) == 1 for given in by_prompt.values())
    assert len({next(iter(given)) for given in by_prompt.values()}) == len(by_prompt)
    return answers
