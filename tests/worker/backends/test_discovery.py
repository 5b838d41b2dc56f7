"""What kind of server answers, and what it says of itself, against real sockets that answer as each kind does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipelines.config.sections import Target
from tests.support_net import free_port
from tests.worker.backends.local_servers import LLAMACPP, LMSTUDIO, LMSTUDIO_OLD, OLLAMA, PLAIN, VLLM, WEBSITE
from tests.worker.backends.server import RESET, Play, Scripted, answer
from worker.backends import discovery
from worker.backends.discovery import TargetStatus, identify, inspect


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
