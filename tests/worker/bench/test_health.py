"""All targets looked at, one tried with a real call, and a machine searched, against real sockets."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.config.sections import Target
from pipelines.settings import parse_settings
from pipelines.wire import Keys, dump
from tests.support_net import free_port
from tests.worker.backends.local_servers import LMSTUDIO, OLLAMA, PLAIN, WEBSITE
from tests.worker.backends.server import Scripted, answer
from worker.bench import health
from worker.bench.health import check, find_local, survey
from worker.queue import connect


async def test_the_survey_keeps_the_order_and_looks_at_all_together() -> None:
    slow = {"/v1/models": [1.0, *answer(200, {"data": [{"id": "a"}]})]}
    async with Scripted(paths=slow) as server:
        config = {"kind": "openai", "lane": "cloud", "model": "a", "base_url": f"{server.url}/v1", "rpm": 60}
        gone = {**config, "base_url": f"http://127.0.0.1:{free_port()}/v1"}
        names = [f"t{number}" for number in range(9)]
        settings = parse_settings({"targets": {name: gone if name == "t1" else config for name in names}})
        began = time.monotonic()
        records = await survey(settings)
        assert time.monotonic() - began < 7.0, "one after the other they take eight seconds"
    assert [(record["name"], record["up"]) for record in records] == [(name, name != "t1") for name in names]
    assert (records[0]["model"], records[0]["rpm"], records[0]["loaded_model"]) == ("a", 60, "a")
    assert all(type(value) in (str, int, bool, list, type(None)) for record in records for value in record.values())


async def test_a_key_that_is_missing_is_named_by_its_variable() -> None:
    async with Scripted(paths={"/v1/models": answer(401, {"error": "no key"})}) as server:
        config = {"kind": "openai", "model": "a", "base_url": f"{server.url}/v1", "api_key": "env:OPENAI_API_KEY"}
        settings = parse_settings({"targets": {"mini": config}})
        (record,) = await survey(settings)
    assert record["reason"] == "the environment variable OPENAI_API_KEY is not set; set it, or api_key"


COMPLETION = {
    "model": "a-2026", "choices": [{"message": {"role": "assistant", "content": "one two"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 15, "completion_tokens": 48},
}  # fmt: skip


PRICED = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}


def booked(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "costs/**/*.parquet", hive_partitioning=False).to_dicts()


async def test_a_check_makes_one_real_call_and_the_ledger_has_it(tmp_path: Path) -> None:
    paths = {**PLAIN, "/v1/chat/completions": [0.1, *answer(200, COMPLETION)]}
    async with Scripted(paths=paths) as server:
        target = {"kind": "openai", "lane": "local", "model": "a", "base_url": f"{server.url}/v1", **PRICED}
        settings = parse_settings({"targets": {"gpu": target}, "spillway": {"data": str(tmp_path)}})
        record = await check(settings, "gpu")
        asked = [request for request in server.requests if request.method == "POST"]
    assert len(asked) == 1
    assert asked[0].json["max_tokens"] == 48
    assert (record["ok"], record["answer"], record["served_model"], record["output_tokens"]) == (
        True,
        "one two",
        "a-2026",
        48,
    )
    assert record["call_s"] >= 0.1
    assert 0 < record["tokens_per_s"] <= 480
    (row,) = booked(tmp_path)
    assert (row["purpose"], row["run_id"], row["outcome"], row["target"]) == ("probe", None, "ok", "gpu")
    assert row["cost_usd"] == record["cost_usd"] == Decimal("0.000111")  # 15 and 48 tokens


async def test_a_free_local_target_is_asked_several_things_at_once(tmp_path: Path) -> None:
    paths = {**PLAIN, "/v1/chat/completions": [0.3, *answer(200, COMPLETION)]}
    async with Scripted(paths=paths) as server:
        target = {"kind": "openai", "lane": "local", "model": "a", "base_url": f"{server.url}/v1"}
        where = {"data": str(tmp_path)}
        record = await check(parse_settings({"targets": {"gpu": target}, "spillway": where}), "gpu", climb=True)
        assert record["ok"] and record["parallel_measured"] >= 4, "this one takes any number at once"
        assert [speed["concurrency"] for speed in record["throughput"]][:3] == [1, 2, 4]
        assert record["max_concurrency"] == record["parallel_measured"]
        priced = parse_settings({"targets": {"gpu": {**target, **PRICED}}, "spillway": where})
        assert "throughput" not in await check(priced, "gpu", climb=True), "what costs money is asked once"


def test_calls_at_once_are_as_configured_or_as_measured_within_what_is_told() -> None:
    def at_once(configured: Any, *told_and_measured: int | None) -> int | str:
        target = Target(kind="vllm", model="m", max_concurrency=configured)
        return health._at_once(target, *told_and_measured)

    assert at_once("auto", 4, None) == at_once("auto", None, None) == "auto", "the climb finds it"
    assert (at_once("auto", 4, 16), at_once("auto", 16, 4), at_once("auto", None, 16)) == (4, 4, 16)
    assert at_once(12, 4, 16) == 12
    measured = Target(kind="vllm", model="m").beginning_at(16)
    assert (health._at_once(measured, 4), health._at_once(measured, None)) == (4, 16)


async def test_a_check_that_fails_says_why(tmp_path: Path) -> None:
    async with Scripted(paths={**PLAIN, "/v1/chat/completions": WEBSITE}) as server:
        target = {"kind": "openai", "model": "a", "base_url": f"{server.url}/v1"}
        settings = parse_settings({"targets": {"gpu": {**target, **PRICED}}, "spillway": {"data": str(tmp_path)}})
        record = await check(settings, "gpu")
        assert record["ok"] is False
        assert "text/html" in record["error"]
        assert [(row["outcome"], row["error_code"]) for row in booked(tmp_path)] == [("rejected", "not_json")]
        settings = parse_settings({"targets": {"gpu": target}, "spillway": {"data": str(tmp_path)}})
        before = len(server.requests)
        record = await check(settings, "gpu")
        assert (record["ok"], "[prices]" in record["error"]) == (False, True), "what it costs is not known"
        assert [request.method for request in server.requests[before:] if request.method == "POST"] == []


async def test_checks_must_fit_into_the_budgets_and_count_in_them(server: str, tmp_path: Path) -> None:
    """A worst case is 167 micro-dollars (64 tokens and a tenth in, 48 out), what it comes to 111."""
    redis = await connect(server)
    await redis.flushall()
    async with Scripted(paths={**PLAIN, "/v1/chat/completions": [0.3, *answer(200, COMPLETION)]}) as web:
        target = {
            "kind": "openai",
            "lane": "cloud",
            "model": "a",
            "base_url": f"{web.url}/v1",
            "api_key": "k",
            **PRICED,
        }
        settings = parse_settings({
            "targets": {"mini": target}, "budget": {"daily_usd": "0.000400", "emergency_cutoff_usd": 1},
            "spillway": {"data": str(tmp_path), "redis_url": server},
        })  # fmt: skip
        several = await asyncio.gather(*(check(settings, "mini") for _ in range(4)))
        later = await check(settings, "mini")
        assert [record["ok"] for record in several].count(True) == 2, "two worst cases fit at once"
        refused = next(record for record in several if not record["ok"])
        assert refused["error"].startswith("the budget day:") and "cost_usd" not in refused
        assert later["ok"] and len(booked(tmp_path)) == 3
        keys = Keys()
        for scope in await redis.keys(keys.budget("*")):
            assert await redis.hget(scope, "spent") == b"333000", "nano-dollars: what was not needed is back"
        told = {"closed": True, "up": False, "reason": "emergency cut-off", "cutoff": "2026-01-01"}
        await redis.hset(keys.targets, "mini", dump(told))
        assert (await check(settings, "mini"))["error"] == "emergency cut-off"
        assert len([request for request in web.requests if request.method == "POST"]) == 3
    await redis.aclose()


async def test_a_check_that_is_killed_is_in_the_ledger_at_its_bound(server: str, tmp_path: Path) -> None:
    redis = await connect(server)
    await redis.flushall()
    async with Scripted(paths={**PLAIN, "/v1/chat/completions": [30.0, *answer(200, COMPLETION)]}) as web:
        config = tmp_path / "spillway.toml"
        config.write_text(
            f'[targets.mini]\nkind = "openai"\nmodel = "a"\nbase_url = "{web.url}/v1"\napi_key = "k"\n'
            f"input_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n"
        )
        told = ["--config", str(config), "--data", str(tmp_path / "data"), "--redis", server]
        command = [sys.executable, "-m", "producer.cli", "targets", "check", "mini", *told]
        checking = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(40):
            while not any(request.method == "POST" for request in web.requests):
                await asyncio.sleep(0.05)
        checking.kill()
        await checking.communicate()
    (row,) = booked(tmp_path / "data")
    assert (row["purpose"], row["outcome"], row["cost_usd"]) == ("probe", "lost", Decimal("0.0001664"))
    for scope in await redis.keys(Keys().budget("*")):
        assert await redis.hget(scope, "spent") == b"166400"
    await redis.aclose()


async def test_a_machine_is_searched_at_the_usual_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scripted(paths=LMSTUDIO) as one, Scripted(paths=OLLAMA) as two:
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        usual = {
            "lmstudio": f"{one.url}/v1",
            "vllm": f"{two.url}/v1",
            "llamacpp": nobody,
            "openai": "https://x.example",
        }
        found = await health._local_targets(usual)
    assert found == {
        "lmstudio": {
            "kind": "lmstudio",
            "lane": "local",
            "base_url": usual["lmstudio"],
            "model": "qwen/qwen2.5-14b-instruct",
        },
        # what answers decides, not the port
        "vllm": {"kind": "ollama", "lane": "local", "base_url": usual["vllm"], "model": "llama3.2:latest"},
    }


async def test_keys_in_the_environment_are_targets(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    async def nothing() -> dict[str, Any]:
        return {}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(health, "_local_targets", nothing)
    assert find_local() == {}
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "  ")
    found = find_local()
    assert found == {
        "targets": {"openai": {"kind": "openai", "model": "gpt-4o-mini"}}, "routes": {"default": {"targets": ["openai"]}},
    }  # fmt: skip
    assert "sk-1" not in str(found)
    parse_settings(found)


def test_what_is_found_has_a_price() -> None:
    """A target of unknown price would be refused at the first call."""
    from datetime import UTC, datetime

    from pipelines.money import Price
    from pipelines.prices import price_of

    for kind, model in health.CLOUD_MODELS.items():
        wanted = Target(kind=kind, model=model)  # type: ignore[arg-type]
        assert isinstance(price_of(wanted, {}, datetime.now(UTC), name=kind), Price), (kind, model)
