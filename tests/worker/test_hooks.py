"""Webhooks on a real Redis to a real web server; the signatures are checked by two libraries that are not ours."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from pipelines import hooks
from pipelines.config.portable import plain
from pipelines.errors import ConfigError
from pipelines.settings import parse_settings
from tests.worker.backends.server import Request, Scripted, answer
from worker.context import Context
from worker.hooks import Hooks, announce
from worker.money.alerts import Alerts
from worker.queue import connect

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()


@pytest.fixture
async def made(server: str, tmp_path: Path) -> AsyncIterator[Any]:
    """A worker's context for a client with this webhook."""
    redis = await connect(server)
    await redis.flushall()

    async def make(url: str, secret: str = SECRET) -> Context:
        clients = {"acme": {"webhook": url, "webhook_secret": "env:HOOK"}}
        settings = parse_settings(
            {"spillway": {"data": str(tmp_path / "data")}, "clients": clients}, environ={"HOOK": secret}
        )
        context = Context(settings, redis, server)
        await context.clock.set(redis)
        await context.scripts.load()
        return context

    yield make
    await redis.aclose()


def told(subject: str = "batch_1 0", kind: str = "batch.completed") -> hooks.Notice:
    return hooks.notice("acme", kind, subject, 1_790_000_000_000, {"id": subject.split()[0]})


async def due_now(context: Context, notice: hooks.Notice) -> None:
    assert await context.redis.zadd(context.keys.hooks, {notice.id: 0}, xx=True, ch=True) == 1, (
        "it is to be tried again"
    )


def verified(request: Request, secret: str = SECRET) -> Any:
    body = request.body.decode()
    assert (
        OpenAI(api_key="-", webhook_secret=secret).webhooks.unwrap(body, request.headers).id == json.loads(body)["id"]
    )
    return Webhook(secret).verify(request.body, request.headers)


async def test_a_notice_is_signed_and_delivered_once(made: Any) -> None:
    async with Scripted(answer(204)) as web:
        context = await made(f"{web.url}/hook?x=1")
        for _ in range(2):
            await announce(context, told())
        await asyncio.gather(*(Hooks(context)._deliver_due() for _ in range(3)))
        await announce(context, told())
        await Hooks(context)._deliver_due()
        await Hooks(context).finish()
    [request] = web.requests
    assert (request.method, request.path) == ("POST", "/hook?x=1")
    said = verified(request)
    assert (said["type"], said["data"], said["id"]) == ("batch.completed", {"id": "batch_1"}, told().id)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(request.body, request.headers)
    assert await context.redis.zcard(context.keys.hooks) == 0
    assert 0 < await context.redis.ttl(context.keys.hook(told().id)) <= hooks.KEPT_S


async def test_what_fails_is_tried_again_with_the_same_id_and_later_each_time(made: Any) -> None:
    elsewhere = answer(302, headers={"location": "/elsewhere"})
    huge = answer(500, b"x" * 200_000)
    async with Scripted(answer(500), elsewhere, huge, answer(200)) as web:
        context = await made(web.url)
        await announce(context, told())
        for pause_s in hooks.PAUSES_S[:3]:
            before = context.clock.now_ms()
            assert await Hooks(context)._deliver_due() == 1
            due = await context.redis.zscore(context.keys.hooks, told().id)
            assert before + pause_s * 1000 <= due <= context.clock.now_ms() + pause_s * 1000
            await due_now(context, told())
        await Hooks(context)._deliver_due()
    assert [request.path for request in web.requests] == ["/"] * 4, "a redirect is not followed"
    assert {verified(request)["id"] for request in web.requests} == {told().id}
    assert await context.redis.zcard(context.keys.hooks) == 0


async def test_a_killed_deliverer_leaves_its_notice_to_the_next(made: Any) -> None:
    async with Scripted([60.0], answer(200)) as web:
        context = await made(web.url)
        await announce(context, told())
        first = asyncio.create_task(Hooks(context)._deliver_due())
        await asyncio.wait_for(web.asked.wait(), 20)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await Hooks(context)._deliver_due() == 0, "not at once: the first may still be at it"
        await due_now(context, told())
        assert await Hooks(context)._deliver_due() == 1
    assert len({request.headers["webhook-id"] for request in web.requests}) == 1 and len(web.requests) == 2


async def test_what_is_no_notice_holds_up_no_other(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Scripted(answer(200)) as web:
        context = await made(web.url)
        redis, keys = context.redis, context.keys
        await redis.set(keys.hook("a kind of its own"), "x")
        await redis.hset(keys.hook("tried often"), mapping={"notice": "{}", "tried": "often"})
        await redis.hset(keys.hook("text"), "notice", b"\xff{")
        await redis.hset(keys.hook("fields"), "notice", '{"id": 7}')
        await redis.zadd(keys.hooks, dict.fromkeys(("a kind of its own", "tried often", "text", "fields", "gone"), -1))
        await announce(context, told())
        await Hooks(context)._deliver_due()
    assert [verified(request)["id"] for request in web.requests] == [told().id]
    assert set(await redis.zrange(keys.hooks, 0, -1)) == {b"text", b"fields"}, "forgotten when their keys are"
    assert caplog.text.count("not ours") == 2


async def test_it_is_given_up_at_last(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Scripted(answer(503)) as web:
        context = await made(f"{web.url}/t0ps3cret")
        await announce(context, told())
        for _ in hooks.PAUSES_S:
            await Hooks(context)._deliver_due()
            await due_now(context, told())
        await Hooks(context)._deliver_due()
        assert await context.redis.zcard(context.keys.hooks) == 0
        await announce(context, told("batch_2 0"))
        assert await Hooks(context)._deliver_due() == 1
    assert len(web.requests) == len(hooks.PAUSES_S) + 2
    assert caplog.text.count("given up") == 1 and "t0ps3cret" not in caplog.text


async def test_nothing_is_sent_unsigned_or_to_one_who_is_gone(made: Any) -> None:
    async with Scripted(answer(410)) as web:
        context = await made(web.url, secret="not a secret")  # noqa: S106
        await announce(context, told())
        await Hooks(context)._deliver_due()
        assert web.requests == [] and await context.redis.zcard(context.keys.hooks) == 1
        context = await made(web.url)
        await due_now(context, told())
        await Hooks(context)._deliver_due()
        assert len(web.requests) == 1 and await context.redis.zcard(context.keys.hooks) == 0


async def test_a_clients_budget_alert_is_told_once_however_often_it_is_looked_at(made: Any) -> None:
    async with Scripted(answer(200)) as web:
        context = await made(web.url)
        day = context.clock.date("UTC")
        await context.redis.sadd(context.keys.open_runs, "r-1")
        await context.redis.hset(context.keys.run("r-1"), "client", "acme")
        await context.redis.hset(context.keys.budget("run:r-1"), mapping={"limit": 10, "spent": 9})
        await context.redis.hset(context.keys.budget(f"client:acme:day:{day}"), mapping={"limit": 10, "spent": 1})
        for _ in range(3):
            await Alerts(context)._look()
            await Hooks(context)._deliver_due()
    [said] = [verified(request) for request in web.requests]
    assert (said["type"], said["data"]["scope"], said["data"]["run_id"]) == ("budget.alert", "run:r-1", "r-1")


def test_a_webhook_needs_a_secret_and_an_address() -> None:
    for given in ({"webhook": "http://127.0.0.1/x"}, {"webhook_secret": SECRET}):
        with pytest.raises(ConfigError, match="needs both webhook and webhook_secret"):
            parse_settings({"clients": {"acme": given}})
    with pytest.raises(ConfigError, match="webhook"):
        parse_settings({"clients": {"acme": {"webhook": "ftp://127.0.0.1/x", "webhook_secret": SECRET}}})


def test_workers_of_this_machine_get_the_secret_and_do_without_a_missing_one(tmp_path: Path) -> None:
    given = {"clients": {"acme": {"webhook": "http://127.0.0.1/x", "webhook_secret": "env:HOOK"}}}
    for environ, secret in (({"HOOK": SECRET}, SECRET), ({}, None)):
        there = (
            parse_settings(plain(parse_settings(given, environ=environ), str(tmp_path))).clients["acme"].webhook_secret
        )
        assert (there.get_secret_value() if there else None) == secret


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_***", SECRET[6:], "whsec_" + base64.b64encode(b"short").decode()]
)
def test_secrets(secret: str) -> None:
    assert hooks.key_of(secret) is None and hooks.key_of(SECRET) == b"a secret of thirty-two bytes, ok"
