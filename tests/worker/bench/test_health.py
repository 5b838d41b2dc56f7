"""Discovery and health against real sockets that answer as each kind of server does."""

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

from pipelines.sections import Target
from pipelines.settings import parse_settings
from pipelines.wire import Keys, dump
from tests.support_net import free_port
from tests.worker.backends.server import RESET, Play, Scripted, answer
from worker.backends import discovery
from worker.backends.discovery import TargetStatus, identify, inspect
from worker.bench import health
from worker.bench.health import check, find_local, survey
from worker.queue import connect

LMSTUDIO: dict[str, Play] = {
    "/api/v1/models": answer(200, {"models": [
        {"type": "llm", "key": "qwen/qwen2.5-14b-instruct", "max_context_length": 131072, "loaded_instances": [
            {"id": "qwen2.5-14b-instruct", "config": {"context_length": 8192, "parallel": 4, "flash_attention": True}}]},
        {"type": "llm", "key": "google/gemma-3-4b", "max_context_length": 131072, "loaded_instances": []},
        {"type": "embedding", "key": "nomic-embed", "loaded_instances": []},
    ]}),
    "/v1/models": answer(200, {"data": [{"id": "qwen2.5-14b-instruct"}]}),
}  # fmt: skip
LMSTUDIO_OLD: dict[str, Play] = {
    "/api/v1/models": answer(200, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}),
    "/api/v0/models": answer(200, {"object": "list", "data": [
        {"id": "gemma", "type": "llm", "state": "not-loaded", "max_context_length": 8192},
        {"id": "qwen", "type": "llm", "state": "loaded", "max_context_length": 32768, "loaded_context_length": 4096},
    ]}),
}  # fmt: skip
OLLAMA: dict[str, Play] = {
    "/api/tags": answer(200, {"models": [{"name": "llama3.2:latest"}, {"name": "qwen3:4b"}]}),
    "/api/ps": answer(200, {"models": [
        {"name": "llama3.2:latest", "size": 100, "size_vram": 100, "context_length": 4096}]}),
}  # fmt: skip
LLAMACPP: dict[str, Play] = {
    "/health": answer(200, {"status": "ok"}),
    "/props": answer(200, {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}}),
    "/v1/models": answer(200, {"data": [{"id": "model.gguf"}]}),
}
VLLM: dict[str, Play] = {
    "/metrics": answer(200, b"# HELP vllm:num_requests_running x\nvllm:num_requests_running 0\n"),
    "/v1/models": answer(200, {"data": [{"id": "org/model", "max_model_len": 4096}]}),
}
PLAIN: dict[str, Play] = {"/v1/models": answer(200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}]})}
WEBSITE: Play = answer(200, b"<!DOCTYPE html><html>Welcome</html>", {"content-type": "text/html"})


def target(url: str, kind: str = "openai", model: str = "a", **more: Any) -> Target:
    base = url if kind == "anthropic" else f"{url}/v1"
    return Target(**{"kind": kind, "lane": "local", "model": model, "base_url": base, **more})


async def look(paths: dict[str, Play], kind: str = "openai", model: str = "a", **more: Any) -> TargetStatus:
    async with Scripted(paths=paths) as server:
        status = await inspect("gpu", target(server.url, kind, model, **more))
    assert "\n" not in status.reason
    return status


@pytest.mark.parametrize(
    ("paths", "kind"),
    [(LMSTUDIO, "lmstudio"), (LMSTUDIO_OLD, "lmstudio"), (OLLAMA, "ollama"), (LLAMACPP, "llamacpp"), (VLLM, "vllm"),
     (PLAIN, "openai")],
)  # fmt: skip
async def test_a_server_is_known_by_what_only_it_has(paths: dict[str, Play], kind: str) -> None:
    async with Scripted(paths=paths) as server:
        assert await identify(f"{server.url}/v1") == kind
        assert await identify(server.url) == kind


@pytest.mark.parametrize("kind", ["vllm", "llamacpp"])
async def test_a_server_that_hides_its_figures_is_known_by_its_models(kind: str) -> None:
    paths = {"/v1/models": answer(200, {"data": [{"id": "m", "owned_by": kind}]})}
    async with Scripted(paths=paths) as server:
        assert await identify(server.url) == kind


@pytest.mark.parametrize("props", [answer(200, {"total_slots": 4}), answer(401, {"error": {"message": "key"}})])
async def test_llama_cpp_is_not_taken_for_the_ollama_whose_list_it_has(props: Play) -> None:
    tags = {"models": [{"name": "m", "model": "m"}], "object": "list", "data": [{"id": "m", "owned_by": "llamacpp"}]}
    paths = {"/props": props, "/v1/models": answer(200, tags), "/api/tags": answer(200, tags)}
    async with Scripted(paths=paths) as server:
        assert await identify(server.url) == "llamacpp"


async def test_an_ollama_with_nothing_loaded_is_known() -> None:
    paths = {"/api/ps": answer(200, {"models": []}), "/api/tags": answer(200, {"models": []})}
    async with Scripted(paths=paths) as server:
        assert await identify(f"{server.url}/v1") == "ollama"


async def test_a_local_target_of_openais_shape_is_asked_what_it_really_is() -> None:
    status = await look(OLLAMA, "openai", "llama3.2")
    assert (status.kind, status.server, status.up, status.window_tokens) == ("openai", "ollama", True, 4_096)
    assert 'set kind = "ollama"' in status.reason
    status = await look(VLLM, "openai", "org/model")
    assert (status.kind, status.server, status.reason, status.window_tokens) == ("openai", "vllm", "", 4_096)
    status = await look(PLAIN, "openai", "a")
    assert (status.server, status.window_tokens) == ("openai", None)


async def test_ollama_tells_the_largest_window_of_a_model() -> None:
    shown = {"details": {}, "model_info": {"llama.block_count": 28, "llama.context_length": 131_072}}
    status = await look({**OLLAMA, "/api/show": answer(200, shown)}, "ollama", "llama3.2")
    assert (status.context_tokens, status.window_tokens, status.vram_bytes) == (131_072, 4_096, 100)
    status = await look({**OLLAMA, "/api/show": answer(200, shown)}, "ollama", "llama3.2", context_tokens=8_192)
    assert (status.context_tokens, status.window_tokens) == (8_192, 4_096), "the configuration is the limit"
    status = await look({**OLLAMA, "/api/show": answer(200, shown)}, "ollama", "qwen3:4b")
    assert (status.context_tokens, status.window_tokens) == (131_072, None)


async def test_a_router_of_llama_cpp_is_asked_for_the_model() -> None:
    paths = {
        "/health": answer(200, {"status": "ok"}),
        "/props": answer(200, {"role": "router"}),
        "/v1/models": answer(200, {"data": [{"id": "one"}, {"id": "two"}]}),
    }
    async with Scripted(paths=paths) as server:
        status = await inspect("gpu", target(server.url, "llamacpp", "two"))
        asked = [request.path for request in server.requests if request.path.startswith("/props?")]
    assert (status.up, status.loaded_model, status.reason) == (True, "two", "")
    assert asked == ["/props?model=two&autoload=false"]
    assert "does not list the model three" in (await look(paths, "llamacpp", "three")).reason


@pytest.mark.parametrize(("health", "up"), [(answer(200, {"status": "ok"}), True), (answer(503, b""), False)])
async def test_a_server_that_cannot_list_its_models_may_still_be_well(health: Play, up: bool) -> None:
    status = await look({"/v1/models": answer(500, b"Internal Server Error"), "/health": health})
    assert status.up == up
    assert "HTTP 500" in status.reason


async def test_nobody_at_an_address_is_no_kind() -> None:
    assert await identify(f"http://127.0.0.1:{free_port()}/v1") == ""
    async with Scripted([RESET]) as server:
        assert await identify(server.url) == ""


async def test_a_website_is_not_mistaken_for_a_server() -> None:
    async with Scripted(WEBSITE) as server:
        assert await identify(server.url) == "openai"
        assert not (await inspect("x", target(server.url))).up


async def test_a_silent_server_costs_two_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PROBE_S", 0.3)
    async with Scripted([30.0]) as server:
        began = time.monotonic()
        assert await identify(server.url) == ""
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("address", "kind"),
    [("https://api.openai.com/v1", "openai"), ("https://openrouter.ai/api/v1", "openrouter"),
     ("https://api.anthropic.com", "anthropic")],
)  # fmt: skip
async def test_vendors_are_known_by_name_and_not_asked(address: str, kind: str) -> None:
    assert await identify(address) == kind


async def test_lm_studio_tells_what_is_loaded_and_how_it_is_set() -> None:
    status = await look(LMSTUDIO, "lmstudio", "qwen2.5-14b-instruct")
    assert (status.name, status.lane, status.kind, status.up, status.reason) == ("gpu", "local", "lmstudio", True, "")
    assert status.loaded_model == "qwen/qwen2.5-14b-instruct"
    assert status.models == ("qwen/qwen2.5-14b-instruct", "google/gemma-3-4b")
    assert (status.parallel, status.context_tokens) == (4, 8192)
    assert status.latency_ms >= 0
    assert abs(status.checked_ms / 1000 - time.time()) < 60


async def test_lm_studio_with_another_model_loaded_says_so() -> None:
    status = await look(LMSTUDIO, "lmstudio", "gemma-3-4b")
    assert status.up
    assert "gemma-3-4b is not loaded (qwen/qwen2.5-14b-instruct is)" in status.reason
    assert status.parallel is None
    missing = await look(LMSTUDIO, "lmstudio", "mistral")
    assert missing.up
    assert "does not list the model mistral" in missing.reason


async def test_an_older_lm_studio_is_read_too() -> None:
    status = await look(LMSTUDIO_OLD, "lmstudio", "qwen")
    assert (status.up, status.loaded_model, status.context_tokens, status.parallel) == (True, "qwen", 4096, None)


async def test_ollama_tells_what_is_loaded_with_which_window() -> None:
    status = await look(OLLAMA, "ollama", "llama3.2")
    assert (status.up, status.reason, status.loaded_model, status.context_tokens) == (True, "", "llama3.2", 4096)
    waiting = await look(OLLAMA, "ollama", "qwen3:4b")
    assert waiting.up
    assert "not loaded" in waiting.reason
    missing = await look(OLLAMA, "ollama", "mistral")
    assert not missing.up
    assert "ollama pull mistral" in missing.reason


async def test_ollama_partly_on_the_cpu_is_told() -> None:
    row = {"name": "llama3.2:latest", "size": 100, "size_vram": 40, "context_length": 4096}
    status = await look({**OLLAMA, "/api/ps": answer(200, {"models": [row]})}, "ollama", "llama3.2")
    assert status.up
    assert "CPU" in status.reason


async def test_llama_cpp_tells_its_slots_and_the_window_of_one() -> None:
    status = await look(LLAMACPP, "llamacpp", "whatever")
    assert (status.up, status.loaded_model, status.parallel, status.context_tokens) == (True, "model.gguf", 4, 2048)
    loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    status = await look({**LLAMACPP, "/health": answer(503, loading)}, "llamacpp")
    assert (status.up, status.reason) == (False, "is loading its model")


async def test_vllm_is_down_for_a_model_that_it_does_not_serve() -> None:
    status = await look(VLLM, "vllm", "org/model")
    assert (status.up, status.loaded_model, status.context_tokens) == (True, "org/model", 4096)
    status = await look(VLLM, "vllm", "other")
    assert not status.up
    assert "org/model" in status.reason


async def test_a_window_from_the_configuration_serves_where_none_is_told() -> None:
    assert (await look(PLAIN, context_tokens=777)).context_tokens == 777


@pytest.mark.parametrize(
    ("play", "up", "words"),
    [
        (answer(200, {"data": [{"id": "a"}]}), True, ""),
        (answer(200, {"data": [{"id": "b"}, {"id": "c"}]}), True, "does not list the model a; it has b, c"),
        (answer(404, {"error": "no such path"}), True, ""),
        (answer(405, b""), True, ""),
        (answer(200, {"object": "chat.completion"}), True, ""),
        (
            answer(401, {"error": {"message": "Incorrect API key"}}),
            False,
            "refuses the key (HTTP 401): Incorrect API key",
        ),
        (answer(403, b"no"), False, "refuses the key"),
        (WEBSITE, False, "answers text/html instead of JSON (HTTP 200); check base_url"),
        (answer(404, b"<html>nginx</html>", {"content-type": "text/html"}), True, ""),
        (answer(302, b"", {"location": "https://x.example"}), False, "redirects to https://x.example"),
        (answer(503, {"error": "starting"}), False, "answers HTTP 503: starting"),
        ([RESET], False, "broke the connection"),
        (answer(200, b"x" * 9_000_000), False, "more than"),
    ],
)
async def test_every_trouble_is_one_line(play: Play, up: bool, words: str) -> None:
    status = await look({"/v1/models": play})
    assert (status.up, words in status.reason) == (up, True), status.reason


async def test_a_refused_connection_is_one_line() -> None:
    status = await inspect("gpu", target(f"http://127.0.0.1:{free_port()}"))
    assert not status.up
    assert "is the server running?" in status.reason


async def test_a_key_that_is_missing_is_named_by_its_variable() -> None:
    async with Scripted(paths={"/v1/models": answer(401, {"error": "no key"})}) as server:
        config = {"kind": "openai", "model": "a", "base_url": f"{server.url}/v1", "api_key": "env:OPENAI_API_KEY"}
        settings = parse_settings({"targets": {"mini": config}})
        (record,) = await survey(settings)
    assert record["reason"] == "the environment variable OPENAI_API_KEY is not set; set it, or api_key"


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "openrouter"])
async def test_vendors_are_asked_with_their_own_header(kind: str) -> None:
    bodies = {
        "anthropic": {"data": [{"id": "m-20251001", "type": "model"}]},
        "gemini": {"models": [{"name": "models/m"}]},
        "openrouter": {"data": {"label": "x", "limit_remaining": 3.5}},
    }
    async with Scripted(answer(200, bodies[kind])) as server:
        status = await inspect("far", target(server.url, kind, "m", lane="cloud", api_key="sk-1"))
        (request,) = server.requests
    assert (status.up, status.reason, status.loaded_model) == (True, "", "m")
    header = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "openrouter": "authorization"}[kind]
    assert request.headers[header].endswith("sk-1")


async def test_an_openrouter_key_without_credit_is_down() -> None:
    async with Scripted(answer(200, {"data": {"limit_remaining": 0}})) as server:
        status = await inspect("far", target(server.url, "openrouter", "m", lane="cloud", api_key="sk-1"))
    assert not status.up
    assert "credit" in status.reason


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
