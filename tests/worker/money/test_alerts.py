"""Alerts on a real Redis, to a real web server and a real SMTP server; and the emergency cut-off beside them."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from standardwebhooks import Webhook

from pipelines import budgets
from pipelines.settings import parse_settings
from tests.support_net import free_port, wait_for_port
from tests.worker.backends.server import Scripted, answer
from worker.context import Context
from worker.hooks import Hooks
from worker.money import alerts as alerts_module
from worker.money import budget, reported
from worker.money.alerts import Alerts
from worker.queue import connect
from worker.settle.audits import Audits

NANO = 10**9
SMTP = """
import json, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

class Keep:
    async def handle_DATA(self, server, session, envelope):
        with open(sys.argv[2], "a") as out:
            out.write(json.dumps([envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()]) + "\\n")
        return "250 kept"

def known(server, session, envelope, mechanism, data):
    good = data.login == b"bot" and data.password == b"hush-hush"
    return AuthResult(success=good, handled=good)

Controller(Keep(), hostname="127.0.0.1", port=int(sys.argv[1]), authenticator=known, auth_require_tls=False).start()
time.sleep(600)
"""


class Mailbox:
    """A mail server process and what it has received."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port, self._file = port or free_port(), folder / "mail.jsonl"
        self._process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SMTP, str(self.port), str(self._file)])
        wait_for_port(self.port)

    @property
    def mails(self) -> list[Any]:
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    found = Mailbox(tmp_path)
    yield found
    found.stop()


@pytest.fixture
async def made(server: str, tmp_path: Path) -> AsyncIterator[Any]:
    """Makes a worker's context for a configuration."""
    redis = await connect(server)
    await redis.flushall()

    def make(**config: Any) -> Context:
        settings = parse_settings(
            {"spillway": {"data": str(tmp_path / "data")}, **config}, environ={"MAIL_PW": "hush-hush"}
        )
        return Context(settings, redis, server)

    yield make
    await redis.aclose()


async def spend(context: Context, nusd: int, reserved: int = 0, client: str = "default", run: str = "r-1") -> str:
    """Opens a run and books money in its scopes; returns the day."""
    day = context.clock.date("UTC")
    scopes = budgets.scopes(context.settings, client, run, None, day)
    await budget.ensure(context.redis, context.keys, scopes)
    await context.redis.sadd(context.keys.open_runs, run)
    for name in scopes:
        await context.redis.hincrby(context.keys.budget(name), "spent", nusd)
        await context.redis.hincrby(context.keys.budget(name), "reserved", reserved)
    return day


async def look(context: Context, *, workers: int = 2) -> None:
    """Several workers look at once, twice."""
    alerts = [Alerts(context) for _ in range(workers)]
    for _ in range(2):
        await asyncio.gather(*(each._look() for each in alerts))
    await asyncio.gather(*(each.finish() for each in alerts))
    await asyncio.gather(*(Hooks(context).finish() for _ in range(workers)))


async def again(context: Context) -> None:
    """What could not be delivered is due once more."""
    keys = context.keys
    for name in await context.redis.zrange(keys.hooks, 0, -1):
        await context.redis.zadd(keys.hooks, {name: 0})
    await Hooks(context).finish()


async def test_every_way_is_told_once_a_day(made: Any, mailbox: Mailbox, tmp_path: Path) -> None:
    async with Scripted(answer(204)) as web:
        smtp = {"host": "127.0.0.1", "port": mailbox.port, "from": "spill@example.org", "to": ["a@example.org", "b@example.org"],
                "user": "bot", "password": "env:MAIL_PW", "starttls": False}  # fmt: skip
        context = made(
            budget={"daily_usd": 1, "alert_at": 0.8, "webhook": f"{web.url}/hook?token=t0ps3cret", "smtp": smtp}
        )
        day = await spend(context, 790_000_000)
        await look(context)
        assert (web.requests, mailbox.mails) == ([], []), "below its share nobody is told"
        await spend(context, 10_000_000, reserved=5)
        await look(context)
        await spend(context, 500_000_000)
        await look(context)
    assert [request.path for request in web.requests] == ["/hook?token=t0ps3cret"]
    said = web.requests[0].json
    assert (said["event"], said["scope"], said["spent_usd"], said["limit_usd"], said["reserved_usd"]) == (
        "budget_alert", f"day:{day}", "0.80", "1.00", "0.000000005",
    )  # fmt: skip
    [(sender, to, text)] = mailbox.mails
    assert (sender, to) == ("spill@example.org", ["a@example.org", "b@example.org"])
    assert f"Subject: Spillway: budget day:{day}: $0.80 of $1.00 is spent (80%)" in text
    rows = pl.read_parquet(tmp_path / f"data/events/day={day}/*.parquet")
    assert rows.select("kind", "scope").rows() == [("budget_alert", f"day:{day}")]
    assert str(rows["spent_usd"][0]) == "0.800000000000"


async def test_an_alert_is_signed_where_a_secret_is_configured(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With the same id each time it is tried; a secret that cannot be used sends nothing rather than something unsigned."""
    secret, other = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))
    async with Scripted(answer(500), answer(204)) as web, Scripted(answer(204)) as acme:
        own = {"daily_usd": 1, "webhook": acme.url, "webhook_secret": other}
        context = made(
            budget={"daily_usd": 1, "webhook": web.url, "webhook_secret": secret}, clients={"acme": {"budget": own}}
        )
        await context.clock.set(context.redis)
        await spend(context, NANO, client="acme")
        await look(context, workers=1)
        await again(context)
    first, second = web.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for request, key in ((first, secret), (second, secret), (acme.requests[0], other)):
        assert Webhook(key).verify(request.body, request.headers)["event"] == "budget_alert"
    async with Scripted(answer(204)) as web:
        context = made(budget={"monthly_usd": 1, "webhook": web.url, "webhook_secret": "env:NOT_SET"})
        await spend(context, NANO)
        await look(context, workers=1)
    assert web.requests == [] and "webhook_secret is missing" in caplog.text


async def test_who_dies_while_telling_loses_no_alert_and_nobody_is_told_twice(made: Any) -> None:
    async with Scripted(answer(200)) as web:
        context = made(budget={"daily_usd": 1, "webhook": web.url})
        day = await spend(context, NANO)
        scope = budgets.Scope(f"day:{day}", NANO, NANO)
        await Alerts(context)._announce(budgets.Event("budget_alert", day, scope, 1, "nearly"))  # and no further
        assert web.requests == [] and not await context.redis.exists(context.keys.alerts(day))
        await look(context)
        await again(context)
    assert len(web.requests) == 1
    assert await context.redis.hexists(context.keys.alerts(day), f"day:{day}")


async def test_a_pause_of_reuse_goes_to_the_operators_webhook_once(made: Any) -> None:
    async with Scripted(answer(200)) as web:
        target = {"kind": "openai", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"}
        routes = {"small": {"targets": ["mini"]}}
        context = made(budget={"webhook": web.url}, targets={"mini": target}, routes=routes)
        await context.scripts.load()
        audits = Audits(context)
        for grounds in ("proof", "canonical", "proof"):
            await audits._judge(("small", grounds), (100, 100, 0, 100), datetime.now(UTC))
            await again(context)
        await audits._teller.finish(5)
    scopes = [(r.json["event"], r.json["scope"]) for r in web.requests]
    assert scopes == [("dedupe_paused", "route:small"), ("dedupe_paused", "route:small canonical")]
    assert set(await context.redis.hkeys(context.keys.paused)) == {b"small", b"small canonical"}


async def test_a_route_that_is_paused_again_is_told_of_again(made: Any) -> None:
    """Its last pause is over, by time or by a higher limit, though another one keeps what was said of it."""
    async with Scripted(answer(200)) as web:
        target = {"kind": "openai", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"}
        routes = {"small": {"targets": ["mini"], "max_false_reuse": 0.1}}
        context = made(budget={"webhook": web.url}, targets={"mini": target}, routes=routes)
        await context.scripts.load()
        audits, now = Audits(context), datetime.now(UTC)

        async def judge(grounds: str, days: float, wrong: int = 100) -> None:
            await audits._judge(("small", grounds), (wrong, 100, 0, 100), now + timedelta(days=days))
            await again(context)

        await judge("proof", 0, wrong=40)
        await judge("proof", 1, wrong=40)  # still paused: nothing new
        await judge("canonical", 5)
        await judge("proof", 8.5, wrong=40)  # the pause ended half a day ago
        raised = {"max_false_reuse": 0.5}
        context.settings.routes["small"] = context.settings.routes["small"].model_copy(update=raised)
        await judge("proof", 10)  # the limit was raised, and even so
        await audits._teller.finish(5)
    told = [(request.json["scope"], request.json["day"]) for request in web.requests]
    days = [(now + timedelta(days=days)).date().isoformat() for days in (0, 5, 8.5, 10)]
    scopes = ["route:small", "route:small canonical", "route:small", "route:small"]
    assert told == list(zip(scopes, days, strict=True))
    rows = pl.read_parquet(context.store.path("events/**/*.parquet"), hive_partitioning=False)
    assert len(rows) == 4


async def test_a_client_and_a_run_have_their_own_alerts(made: Any) -> None:
    async with Scripted(answer(200)) as everybody, Scripted(answer(200)) as acme:
        clients = {"acme": {"budget": {"daily_usd": 1, "alert_at": 0.5, "webhook": acme.url}}}
        context = made(budget={"daily_usd": 100, "webhook": everybody.url}, clients=clients)
        day = await spend(context, 600_000_000, client="acme")
        await context.redis.hset(context.keys.budget("run:r-1"), "limit", 700_000_000)
        await look(context)
    assert [request.json["scope"] for request in acme.requests] == [f"client:acme:day:{day}"]
    assert [(r.json["scope"], r.json["run_id"]) for r in everybody.requests] == [("run:r-1", "r-1")]


async def test_a_run_that_has_just_ended_is_looked_at_once_more(made: Any) -> None:
    context = made(budget={})
    await spend(context, 0)
    alerts = Alerts(context)
    await alerts._look()
    await context.redis.srem(context.keys.open_runs, "r-1")
    await context.redis.hset(context.keys.budget("run:r-1"), mapping={"limit": 10, "spent": 10})
    await alerts.finish()
    assert await context.redis.hexists(context.keys.alerts(context.clock.date("UTC")), "run:r-1")


async def test_deliveries_are_tried_again_and_hold_nothing_up(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Scripted(answer(500), answer(500), answer(200)) as web:
        smtp = {
            "host": "127.0.0.1",
            "port": free_port(),
            "from": "s@example.org",
            "to": "a@example.org",
            "password": "hush-hush",
        }
        context = made(budget={"daily_usd": 1, "webhook": f"{web.url}/hook?token=t0ps3cret", "smtp": smtp})
        await spend(context, NANO)
        alerts = Alerts(context)
        began = time.monotonic()
        await alerts._look()
        assert time.monotonic() - began < 0.5
        await alerts.finish()
        for _ in range(4):
            await again(context)
    assert len(web.requests) == 3, "until it is taken"
    assert "mail of the budgets" in caplog.text and "(try 4)" in caplog.text, "the mail server is not there"
    assert "t0ps3cret" not in caplog.text and "hush-hush" not in caplog.text


async def test_a_mail_goes_out_once_its_server_is_back_whoever_was_killed_meanwhile(made: Any, tmp_path: Path) -> None:
    """What is to be told lies in Redis: another process delivers it, once, with the same id."""
    port = free_port()
    smtp = {"host": "127.0.0.1", "port": port, "from": "s@example.org", "to": "a@example.org", "starttls": False}
    context = made(budget={"daily_usd": 1, "smtp": smtp})
    await spend(context, NANO)
    await Alerts(context)._look()  # and no further: it was killed
    await Hooks(context).finish()
    there = Mailbox(tmp_path, port)
    try:
        for _ in range(2):
            await again(context)
        [(_, _, text)] = there.mails
    finally:
        there.stop()
    assert "Message-ID: <msg_" in text and "is spent (100%)" in text


async def test_a_wrong_password_is_one_line_without_it(
    made: Any, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    smtp = {"host": "127.0.0.1", "port": mailbox.port, "from": "s@example.org", "to": "a@example.org", "user": "bot",
            "password": "not-this-one", "starttls": False}  # fmt: skip
    context = made(budget={"daily_usd": 1, "smtp": smtp})
    await spend(context, NANO)
    await look(context, workers=1)
    assert mailbox.mails == [] and "mail of the budgets" in caplog.text and "not-this-one" not in caplog.text


# -- limits ------------------------------------------------------------------------------------------------------------


async def limit_of(context: Context, name: str) -> bytes:
    return bytes(await context.redis.hget(context.keys.budget(name), "limit"))


async def test_a_limit_set_by_hand_stays_until_the_configuration_changes(made: Any) -> None:
    context = made()
    for wanted, by_hand, expected in ((100, None, b"100"), (100, "900", b"900"), (100, None, b"900"), (200, None, b"200"),
                                      (None, None, b"unlimited")):  # fmt: skip
        if by_hand:
            await context.redis.hset(context.keys.budget("day:x"), "limit", by_hand)
        await budget.ensure(context.redis, context.keys, {"day:x": wanted})
        assert await limit_of(context, "day:x") == expected


async def test_a_limit_set_before_the_day_began_stays(made: Any) -> None:
    context = made()
    await context.redis.hset(context.keys.budget("day:x"), "limit", "5")
    for wanted, limit in ((100, b"5"), (100, b"5"), (7, b"7")):
        await budget.ensure(context.redis, context.keys, {"day:x": wanted})
        assert await limit_of(context, "day:x") == limit


async def test_settling_after_midnight_goes_to_the_day_that_reserved(made: Any) -> None:
    context = made(budget={"daily_usd": 1})
    run = await context.run("r-1")
    before = run.scopes(context.clock)
    context.clock._offset_us += 86_400 * 10**6
    after = run.scopes(context.clock)
    assert before[0] != after[0] and before[-1] == after[-1] == context.keys.budget("run:r-1")
    assert before is not after, "a call keeps the scopes that it reserved in: drain hands them on to the journal"


# -- the emergency cut-off ---------------------------------------------------------------------------------------------

TARGETS = {
    "gpu": {"kind": "lmstudio", "model": "qwen"},
    "mini": {"kind": "openai", "model": "gpt-4o-mini"},
    "maxi": {"kind": "openai", "model": "gpt-4o"},
}


def up(context: Context) -> set[str]:
    return {name for name in TARGETS if context.targets.is_up(name)}


async def test_the_cutoff_closes_cloud_targets_for_everybody_and_opens_them_again(made: Any) -> None:
    context, other = (made(budget={"emergency_cutoff_usd": 2}, targets=TARGETS) for _ in range(2))
    alerts = Alerts(context)
    day = await spend(context, 2 * NANO - 1)
    await alerts._look()
    assert up(context) == set(TARGETS)
    await spend(context, 1)
    context.targets.close("maxi", "no key")
    await alerts._look()
    assert up(context) == {"gpu"}
    other.targets.learn(await context.redis.hgetall(context.keys.targets))
    assert up(other) == {"gpu"} and "emergency_cutoff_usd $2.00" in other.targets.states["mini"]["reason"]
    context.targets.say("mini", {"up": True, "closed": False})  # a worker that did not know
    await alerts._look()
    assert up(context) == {"gpu"}, "closed again"
    await context.redis.hset(context.keys.budget(f"cutoff:{day}"), "limit", 5 * NANO)
    await alerts._look()
    assert up(context) == {"gpu", "mini"}, "what somebody else closed stays closed"
    await alerts.finish()


async def test_the_day_turns_and_the_cloud_opens(made: Any) -> None:
    context = made(budget={"emergency_cutoff_usd": 1}, targets=TARGETS)
    alerts = Alerts(context)
    await spend(context, NANO)
    await alerts._look()
    assert up(context) == {"gpu"}
    context.clock._offset_us += 86_400 * 10**6
    await alerts._look()
    assert up(context) == set(TARGETS)
    await alerts.finish()


async def test_what_a_provider_reports_for_the_key_counts_for_the_cutoff(made: Any) -> None:
    """Also what others spend with the same key; the day's first look is where it starts."""
    async with Scripted(paths={"/key": answer(200, {"data": {"usage": 90.5}})}) as provider:
        router = {
            "kind": "openrouter",
            "model": "openai/gpt-4o-mini",
            "base_url": provider.url,
            "api_key": "sk-or-0123",
        }
        targets = {"gpu": TARGETS["gpu"], "mini": router, "maxi": {**router, "model": "openai/gpt-4o"}}
        context = made(budget={"emergency_cutoff_usd": 2}, targets=targets)
        alerts = Alerts(context)
        day = await spend(context, NANO)  # half of it with the key: of what it reports, so much is not others'
        key = reported.key_of(context.settings.targets["mini"])
        assert key == reported.key_of(context.settings.targets["maxi"]) and "sk-or" not in str(key)
        for own, usage, still_up in (
            (NANO // 4, 90.5, set(TARGETS)), (NANO // 4, 90.6, set(TARGETS)), (0, 91.74, set(TARGETS)), (0, 91.75, {"gpu"}),
        ):  # fmt: skip
            async with context.redis.pipeline() as pipe:
                reported.count(pipe, context.keys.reported(day), {str(key): own})
                await pipe.execute()
            provider._paths = {"/key": answer(200, {"data": {"usage": usage}})}
            await alerts._cutoff._reported.look(day)
            await alerts._look()
            assert up(context) == still_up, usage
        told = json.loads(await context.redis.hget(context.keys.alerts(day), f"cutoff:{day}"))
        assert (told["event"], told["spent_usd"]) == ("emergency_cutoff", "2.00")
        kept = await context.redis.hgetall(context.keys.reported(day))
        assert len(kept) == 2 and b"sk-or" not in b"".join(kept), "one look for each key, which is not in Redis"
        assert await context.redis.ttl(context.keys.reported(day)) > 0
        provider._paths = {"/key": answer(500)}
        await alerts._cutoff._reported.look(day)
        await alerts._look()
        assert up(context) == {"gpu"}, "a provider that does not tell changes nothing"
        await alerts.finish()


async def test_a_worker_that_starts_tries_closed_targets_but_keeps_the_cutoff(made: Any) -> None:
    context = made(budget={"emergency_cutoff_usd": 1}, targets=TARGETS)
    context.targets.close("maxi", "the key is wrong")
    await context.targets.publish(context.redis, context.keys)
    await spend(context, NANO)
    await Alerts(context)._cutoff.step(context.clock.date("UTC"))
    fresh = made(budget={"emergency_cutoff_usd": 1}, targets=TARGETS)
    await fresh.targets.trust_again(fresh.redis, fresh.keys)
    assert up(fresh) == {"gpu", "maxi"}


async def test_a_clients_cutoff_is_its_wall(made: Any) -> None:
    context = made(clients={"acme": {"budget": {"daily_usd": 3, "emergency_cutoff_usd": 2}}})
    assert budgets.shared(context.settings, "acme", "2026-01-01")["client:acme:day:2026-01-01"] == 2 * NANO


async def test_a_process_that_ends_does_not_rest_between_two_looks(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease was not given back in time, and the next process knew for ten seconds nothing of a cut-off that was raised."""
    monkeypatch.setattr(alerts_module, "LOOK_EVERY_S", 3600.0)
    stopping = asyncio.Event()
    stopping.set()
    await asyncio.wait_for(Alerts(context, stopping).step(), 30)
