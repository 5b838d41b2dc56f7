"""An answer whose message is lost is found all the same: in the journal, in the parts, in the results, and so is who follows it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis

from pipelines import wire
from pipelines.told import Key, Row
from producer.answers import Answers
from producer.queue import connected
from producer.store import Store
from tests.support_program import wait_until
from tests.support_serving import Server
from tests.support_upstream import Upstream
from worker.embedded import socket_path

KEYS = wire.Keys()


def socket(server: Server) -> str:
    return socket_path(server.program.data.resolve() / "redis")


def submit(server: Server, *prompts: str, **more: Any) -> list[Key]:
    """Rows of one run, accepted and not waited for."""
    places = []
    with server.http() as http:
        for prompt in prompts:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}
            told = http.post("/v1/chat/completions", json=body, headers={"x-spillway-wait-s": "0"})
            where = told.json()["spillway"]
            places.append((where["run"], where["row"]))
    return places


@asynccontextmanager
async def deaf(server: Server) -> AsyncIterator[Answers]:
    """Answers that hear nothing, because nobody speaks on their channel."""
    async with connected(f"unix://{socket(server)}", text=False) as redis:
        answers = Answers(redis, KEYS, Store(str(server.program.data)), "a channel without a voice")
        running = asyncio.create_task(answers.run())
        try:
            yield answers
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def found(server: Server, places: list[Key], seconds: float) -> list[Row | None]:
    async with deaf(server) as answers:
        return list(await asyncio.gather(*(answers.wait(place, seconds) for place in places)))


def test_answers_that_nobody_told_are_found_while_the_run_is_open(server: Server) -> None:
    places = submit(server, "Untold one.", "Untold two.", "Untold one.", "REFUSE what is untold.")
    rows = asyncio.run(found(server, places, 25))
    assert all(rows)
    assert [row and row["status"] for row in rows] == ["ok", "ok", "duplicate", "failed"]
    assert rows[0] and rows[2] and rows[0]["output"] == rows[2]["output"]
    assert [(row["run_id"], row["row"]) for row in rows if row] == places
    assert server.openai().chat.completions.retrieve(f"chatcmpl-{places[0][0]}-{places[0][1]}").choices


def test_answers_of_a_run_that_has_ended_are_in_its_results(server: Server) -> None:
    places = submit(server, "Old one.", "Old two.", "Old one.")
    results = server.program.data / f"results/run={places[0][0]}/results.parquet"
    wait_until(results.exists, 90)
    began = time.monotonic()
    rows = asyncio.run(found(server, places, 20))
    assert [row and row["status"] for row in rows] == ["ok", "ok", "duplicate"]
    assert rows[2] is not None
    assert rows[2]["duplicate_of"] == places[0][1]
    assert time.monotonic() - began < 10


def test_a_connection_that_breaks_costs_a_moment_and_no_answer(server: Server, upstream: Upstream) -> None:
    upstream.control(latency_ms=1000)
    stop = threading.Event()

    def cut() -> None:
        with Redis(unix_socket_path=socket(server)) as redis:
            while not stop.wait(0.2):
                redis.client_kill_filter(_type="pubsub")

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:

        async def all_() -> list[Any]:
            async with server.async_openai() as client:
                asked = [{"role": "user", "content": "Said into a broken wire."}]
                calls = (
                    client.chat.completions.create(
                        model="gpt-4o-mini", messages=[*asked, {"role": "user", "content": f"{n}"}]
                    )  # type: ignore[list-item]
                    for n in range(10)
                )
                return await asyncio.gather(*calls)

        since = time.monotonic()
        answers = asyncio.run(all_())
        took_s = time.monotonic() - since
    finally:
        stop.set()
        cutting.join()
        upstream.control(latency_ms=20)
    assert len({answer.choices[0].message.content for answer in answers}) == 10
    assert took_s < 25


@pytest.mark.parametrize("place", [("nothing", 0), ("20260101-000000-abcdef", 7)])
async def test_what_there_is_not_is_not_waited_for_longer_than_said(server: Server, place: Key) -> None:
    async with deaf(server) as answers:
        since = time.monotonic()
        assert await answers.wait(place, 0.5, old=True) is None
        assert time.monotonic() - since < 5
        assert answers.waiting == 0
