"""The stand-in servers over real HTTP: answers, usage, bill, faults, capacity and control."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from pipelines.errors import ConfigError
from pipelines.settings import parse_settings
from tests.support_upstream import Upstream
from worker.simulator import DEMO, Running, parse_scenario, scenario_settings, serve
from worker.simulator.core.answers import find_labels
from worker.simulator.core.bill import Usage, cost_pusd
from worker.simulator.core.config import Scenario, ServerConfig
from worker.simulator.core.faults import BATCH_KINDS, KINDS
from worker.simulator.core.personality import personalities
from worker.simulator.core.schema import example

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
    async with serve(scenario) as running, httpx.AsyncClient(timeout=timeout_s, trust_env=False) as http:
        yield Client(running, http)


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


# Answers


async def test_answers_in_openais_shape_and_bills_what_the_usage_says() -> None:
    async with one() as client:
        response = await client.chat("Classify as one of: red, green or blue.", headers={"x-spillway-call": "c-1"})
        body = response.json()
        assert (body["object"], body["model"]) == ("chat.completion", "gpt-4o-mini")
        assert text_of(response) in {"red", "green", "blue"}
        usage = body["usage"]
        assert usage["prompt_tokens"] == -(-len("Classify as one of: red, green or blue.") // 4) + 4
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        cost = usage["prompt_tokens"] * 150_000 + usage["completion_tokens"] * 600_000
        account = await client.bill()
        assert (account["calls"], account["answered"], account["delivered"], account["lost"]) == (1, 1, 1, 0)
        assert account["cost_pusd"] == cost
        [line] = await client.calls()
        assert (line["call"], line["cost_pusd"], line["delivered"], line["outcome"]) == ("c-1", cost, True, "ok")


async def test_the_same_prompt_gets_the_same_answer_on_any_server_of_the_same_style() -> None:
    async with one(answer="hash") as first, one(answer="hash", model="other") as second:
        texts = {text_of(await client.chat("What is it?")) for client in (first, second, first)}
        assert len(texts) == 1
        assert text_of(await first.chat("What was it?")) not in texts


@pytest.mark.parametrize(
    ("style", "expected"), [("echo", "Say this."), ("text:always this", "always this")], ids=["echo", "text"]
)
async def test_answer_styles_that_can_be_known_beforehand(style: str, expected: str) -> None:
    async with one(answer=style) as client:
        assert text_of(await client.chat("Say this.")) == expected


async def test_answers_are_cut_at_max_tokens_and_say_so() -> None:
    async with one(answer="echo") as client:
        response = await client.chat("a long text " * 50, max_tokens=3)
        assert response.json()["choices"][0]["finish_reason"] == "length"
        assert response.json()["usage"]["completion_tokens"] == 3
        assert text_of(response) == "a long text "


async def test_output_length_follows_the_distribution_of_the_first_rule_that_matches() -> None:
    async with one(answer="text", outputs=[{"match": "long", "median": 400, "sigma": 0.3}, {"median": 20}]) as client:
        short = [(await client.chat(f"brief {n}")).json()["usage"]["completion_tokens"] for n in range(5)]
        long = [(await client.chat(f"long {n}")).json()["usage"]["completion_tokens"] for n in range(40)]
        assert set(short) == {20}
        assert 300 < sorted(long)[20] < 520
        assert len(set(long)) > 20


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("Answer with one of: billing, shipping, other.", ("billing", "shipping", "other")),
        ("Classify the tone as good, bad or mixed in one word.", ("good", "bad", "mixed")),
        ("Labels: a | b | c", ("a", "b", "c")),
        ("Pick the label (billing, account access, bug report).", ("billing", "account access", "bug report")),
        ("The parcel came from Berlin, Munich and as expected, broken.", ()),
        ("One of them is lying, but I do not know which.", ()),
    ],
)
def test_labels_are_read_from_the_prompt(prompt: str, labels: tuple[str, ...]) -> None:
    assert find_labels(prompt) == labels


SCHEMAS = [
    {
        "type": "object",
        "properties": {
            "label": {"enum": ["a", "b"]},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "count": {"type": "integer", "minimum": 3, "maximum": 9},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 2, "maxItems": 4},
            "sure": {"type": "boolean"},
            "note": {"type": ["string", "null"], "minLength": 12},
        },
        "required": ["label", "score", "count", "tags", "sure", "note"],
        "additionalProperties": False,
    },
    {
        "$defs": {"p": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
        "$ref": "#/$defs/p",
    },
    {"type": "array", "items": {"anyOf": [{"type": "integer", "multipleOf": 5}, {"const": "none"}]}},
    {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"format": "date"}}},
        ]
    },
    {"type": "object", "required": ["free"]},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_examples_are_valid_against_their_schema(schema: dict[str, Any]) -> None:
    validator = jsonschema_rs.validator_for(schema)
    for number in range(50):
        value = example(schema, number.to_bytes(8))
        assert validator.is_valid(value), value


async def test_a_json_schema_in_the_request_is_kept_to() -> None:
    async with one() as client:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMAS[0]}}
        value = json.loads(text_of(await client.chat("Label it.", response_format=form)))
        assert jsonschema_rs.validator_for(SCHEMAS[0]).is_valid(value)


async def test_tools_that_must_be_called_are_called_with_valid_arguments() -> None:
    tool = {"type": "function", "function": {"name": "save", "parameters": SCHEMAS[0]}}
    async with one() as client:
        choice = (await client.chat("Save it.", tools=[tool], tool_choice="required")).json()["choices"][0]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
        [call] = choice["message"]["tool_calls"]
        assert call["function"]["name"] == "save"
        assert jsonschema_rs.validator_for(SCHEMAS[0]).is_valid(json.loads(call["function"]["arguments"]))


async def test_a_prefix_seen_before_is_cached_and_cheaper() -> None:
    async with one(
        prefix_cache_tokens=10_000, prefix_min_tokens=0, prefix_block_tokens=16, usd_per_mtok_cached=0.075
    ) as client:
        frame = "The same instruction for every row of the file. " * 20
        first = (await client.chat(frame + "one")).json()["usage"]
        second = (await client.chat(frame + "two")).json()["usage"]
        assert first["prompt_tokens_details"]["cached_tokens"] == 0
        cached = second["prompt_tokens_details"]["cached_tokens"]
        assert 200 < cached < second["prompt_tokens"]
        expected = (
            (second["prompt_tokens"] - cached) * 150_000 + cached * 75_000 + second["completion_tokens"] * 600_000
        )
        assert (await client.calls())[1]["cost_pusd"] == expected


def test_costs_are_exact_where_prices_have_many_digits() -> None:
    config = parse_scenario(
        {"servers": {"s": {**CLOUD, "usd_per_mtok_in": 0.0375, "usd_per_mtok_out": 0.0000001}}}
    ).servers["s"]
    assert cost_pusd(config, Usage(7, 0)) == 7 * 37_500
    assert cost_pusd(config, Usage(0, 4)) == 0
    assert cost_pusd(config, Usage(0, 5)) == 1


# Faults


BILLED_WRONG = {
    "empty": lambda body: body["choices"][0]["message"]["content"] == "" and body["usage"]["completion_tokens"] == 0,
    "length": lambda body: body["choices"][0]["finish_reason"] == "length",
    "content_filter": lambda body: body["choices"][0]["finish_reason"] == "content_filter",
    "refusal": lambda body: bool(body["choices"][0]["message"]["refusal"]),
    "unknown_finish": lambda body: body["choices"][0]["finish_reason"] not in {"stop", "length"},
    "wrong_model": lambda body: body["model"] != "gpt-4o-mini",
    "no_usage": lambda body: body["usage"] is None,
    "odd_usage": lambda body: isinstance(body["usage"]["prompt_tokens"], str),
    "no_choices": lambda body: body["choices"] == [],
    "close_after": lambda body: body["choices"][0]["finish_reason"] == "stop" and "padding" not in body,
    "huge": lambda body: len(body["padding"]) == 300_000,
}


@pytest.mark.parametrize("kind", BILLED_WRONG)
async def test_wrong_answers_are_billed_and_arrive(kind: str) -> None:
    async with one(faults=[{"at": 1, "kind": kind}], huge_bytes=300_000) as client:
        response = await client.chat("Tell me more about it.")
        assert response.status_code == 200
        assert BILLED_WRONG[kind](response.json())
        account = await client.bill()
        assert (account["answered"], account["delivered"], account["outcomes"]) == (1, 1, {kind: 1})
        healthy = (await client.chat("Tell me more about it.")).json() | {"padding": ""}
        assert BILLED_WRONG[kind](healthy) is False


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("429", 429, "rate_limit_exceeded"), ("insufficient_quota", 429, "insufficient_quota"), ("401", 401, "invalid_api_key"),
        ("402", 402, "credit_balance_exhausted"), ("500", 500, None), ("503", 503, "server_is_overloaded"),
        ("slow_down", 429, "slow_down"), ("context_overflow", 400, "context_length_exceeded"), ("529", 529, "server_is_overloaded"),
    ],
)  # fmt: skip
async def test_refusals_have_their_status_and_code_and_cost_nothing(kind: str, status: int, code: str | None) -> None:
    async with one(faults=[{"at": 1, "kind": kind}]) as client:
        response = await client.chat("Hello.")
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        account = await client.bill()
        assert (account["calls"], account["rejected"], account["answered"], account["cost_pusd"]) == (1, 1, 0, 0)
        assert account["outcomes"] == {kind: 1}
        assert (await client.chat("Hello.")).status_code == 200


@pytest.mark.parametrize("code", ["credit_balance_exhausted", "project_spend_limit_exceeded"])
async def test_a_script_may_word_an_error(code: str) -> None:
    rule = {"at": 1, "kind": "insufficient_quota", "code": code, "message": "No money.", "retry_after_s": 7}
    async with one(faults=[rule, {"at": 2, "kind": "500_no_retry"}]) as client:
        response = await client.chat("Hello.")
        error = response.json()["error"]
        assert (error["code"], error["message"], error["type"]) == (code, "No money.", "insufficient_quota")
        assert response.headers["retry-after"] == "7"
        assert (await client.chat("Hello.")).headers["x-should-retry"] == "false"


async def test_waits_are_told_in_headers() -> None:
    faults = [{"at": 1, "kind": "429"}, {"at": 2, "kind": "429_ms"}, {"at": 3, "kind": "429_bare"}]
    async with one(faults=faults) as client:
        plain, exact, bare = [(await client.chat("Hello.")).headers for _ in range(3)]
        assert plain["retry-after"] == "1"
        assert exact["retry-after-ms"] == "500"
        assert "retry-after" not in bare


@pytest.mark.parametrize(
    ("kind", "delivered", "billed"),
    [("lost", False, 1), ("lost_reset", False, 1), ("cut", False, 1), ("reset", False, 0), ("close", False, 0)],
)
async def test_connections_that_end_before_the_answer(kind: str, delivered: bool, billed: int) -> None:
    async with one(faults=[{"at": 1, "kind": kind}]) as client:
        with pytest.raises(httpx.TransportError):
            await client.chat("Hello.")
        account = await client.bill()
        assert (account["calls"], account["answered"], account["delivered"], account["lost"]) == (1, billed, 0, billed)
        assert (account["cost_pusd"] > 0) is bool(billed)
        assert [line["delivered"] for line in await client.calls()] == [delivered] * billed


async def test_answers_that_arrive_unreadable_are_billed_as_lost() -> None:
    async with one(faults=[{"at": 1, "kind": "truncated"}, {"at": 2, "kind": "paid_502"}]) as client:
        cut, edge = await client.chat("Hello."), await client.chat("Hello.")
        with pytest.raises(json.JSONDecodeError):
            cut.json()
        assert edge.status_code == 502
        account = await client.bill()
        assert (account["answered"], account["delivered"], account["lost"]) == (2, 0, 2)


async def test_pages_and_errors_inside_200_cost_nothing() -> None:
    async with one(faults=[{"at": 1, "kind": "html"}, {"at": 2, "kind": "error_in_200"}]) as client:
        page, error = await client.chat("Hello."), await client.chat("Hello.")
        assert page.headers["content-type"].startswith("text/html")
        assert (error.status_code, "error" in error.json()) == (200, True)
        assert (await client.bill())["cost_pusd"] == 0


async def test_slow_faults_take_their_time_and_a_hang_has_no_end() -> None:
    faults = [{"at": 1, "kind": "drip"}, {"at": 2, "kind": "late"}, {"at": 3, "kind": "hang"}]
    async with one(faults=faults, drip_ms=200, late_ms=200, timeout_s=1.0) as client:
        for _ in range(2):
            started = time.monotonic()
            assert (await client.chat("Hello.")).status_code == 200
            assert time.monotonic() - started > 0.15
        with pytest.raises(httpx.ReadTimeout):
            await client.chat("Hello.")


async def test_faults_by_rate_are_as_frequent_as_asked_and_repeat_with_the_seed() -> None:
    async def outcomes(seed: int) -> list[int]:
        config = {"seed": seed, "servers": {"s": {**CLOUD, "fault_rates": {"500": 0.2, "429": 0.1}}}}
        async with serve(config) as running, httpx.AsyncClient(trust_env=False) as http:
            return [(await Client(running, http).chat("Hello.")).status_code for _ in range(200)]

    first, again, other = await outcomes(5), await outcomes(5), await outcomes(6)
    assert first == again != other
    assert 22 <= first.count(500) <= 58
    assert 8 <= first.count(429) <= 34


async def test_faults_by_prompt_follow_the_prompt_and_end() -> None:
    async with one(fault_rates={"500": 0.5}, fault_by="prompt") as client:
        prompts = [f"row {number}" for number in range(30)]
        forward = {prompt: (await client.chat(prompt)).status_code for prompt in prompts}
        await client.http.post(f"{client.running.control_url}/reset")
        backward = {prompt: (await client.chat(prompt)).status_code for prompt in reversed(prompts)}
        assert forward == backward
        assert {200, 500} == set(forward.values())
        for prompt in prompts:
            assert any([(await client.chat(prompt)).status_code == 200 for _ in range(20)])


async def test_scripts_by_place_text_and_number_of_times() -> None:
    faults = [{"at": [2, 3], "kind": "500"}, {"match": "poison", "kind": "503", "times": 1}]
    async with one(faults=faults) as client:
        assert [(await client.chat("Hello.")).status_code for _ in range(4)] == [200, 500, 500, 200]
        assert [(await client.chat("poison")).status_code for _ in range(2)] == [503, 200]


# Limits and checks


async def test_requests_beyond_the_rate_get_429_with_the_wait() -> None:
    async with one(rpm=600, burst_s=1.0) as client:
        replies = [await client.chat(f"row {number}") for number in range(14)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert [reply.status_code for reply in replies[:10]] == [200] * 10
        assert refused and all(reply.headers["retry-after"] == "1" for reply in refused)
        assert replies[0].headers["x-ratelimit-limit-requests"] == "600"
        await asyncio.sleep(0.15)
        assert (await client.chat("later")).status_code == 200


async def test_tokens_beyond_the_rate_and_calls_at_once_get_429() -> None:
    async with one(tpm=6_000, burst_s=1.0) as client:
        replies = [(await client.chat("x" * 200, max_tokens=10)).status_code for _ in range(3)]
        assert replies == [200, 429, 429]
    async with one(max_parallel=3, latency_ms=150) as client:
        replies = [each.status_code for each in await asyncio.gather(*(client.chat(f"row {n}") for n in range(5)))]
        assert sorted(replies) == [200, 200, 200, 429, 429]


async def test_keys_models_and_windows_are_checked() -> None:
    async with one(api_key="sk-right", context_tokens=50) as client:
        assert (await client.chat("Hello.")).status_code == 401
        right = {"authorization": "Bearer sk-right"}
        assert (await client.chat("Hello.", headers=right)).status_code == 200
        assert (await client.chat("Hello.", headers=right, model="gpt-9")).json()["error"]["code"] == "model_not_found"
        overflow = (await client.chat("word " * 100, headers=right)).json()["error"]
        assert overflow["code"] == "context_length_exceeded"
        assert "maximum context length is 50 tokens" in overflow["message"]
        account = await client.bill()
        assert list(account["by_key"]) == ["sk-right"]
        assert account["outcomes"] == {"401": 1, "ok": 1, "404": 1, "context_overflow": 1}


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"model": "gpt-4o-mini", "messages": []}', b'{"messages": 3}', b"\xff"]
)
async def test_bodies_that_are_no_requests_get_400(body: bytes) -> None:
    async with one() as client:
        response = await client.http.post(client.running.base_urls["s"] + "/chat/completions", content=body)
        assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
        assert (await client.bill())["rejected"] == 1


# Capacity


async def test_slots_are_never_exceeded_and_the_queue_waits() -> None:
    async with one(**GPU, latency_ms=50) as client:
        started = time.monotonic()
        replies = await asyncio.gather(*(client.chat(f"row {number}") for number in range(16)))
        took_s = time.monotonic() - started
        assert {reply.status_code for reply in replies} == {200}
        figures = await client.status()
        assert (figures["max_busy_slots"], figures["max_in_flight"], figures["max_queued"]) == (4, 16, 12)
        assert took_s >= 0.2
        assert 0.75 < figures["busy_slot_s"] < 4.1 * took_s


@pytest.mark.parametrize("parallel", [1, 4, 16])
async def test_throughput_follows_the_curve(parallel: int) -> None:
    """T·n/(n + h) with T = 4000 and h = 8, in output tokens per second."""
    tokens, calls = 100, 4 * parallel
    config = {"slots": 64, "tokens_per_s": 4000.0, "half_at": 8.0, "prefill_share": 0.0, "output_tokens_median": tokens}
    async with one(personality="vllm", answer="text", **{**config, "slots": parallel}) as client:
        started = time.monotonic()
        await asyncio.gather(*(client.chat(f"row {number}") for number in range(calls)))
        rate = calls * tokens / (time.monotonic() - started)
        expected = 4000 * parallel / (parallel + 8)
        assert 0.6 * expected < rate < 1.05 * expected  # a busy machine makes it slower, nothing faster


async def test_prompts_are_read_one_after_the_other_beside_what_is_written() -> None:
    """Four prompts of 50 ms each: the last one waits 200, whatever the slots; and a short one that came first does not."""
    config = {"slots": 8, "tokens_per_s": 1e6, "half_at": 0.0, "prefill_tokens_per_s": 2000.0}
    async with one(personality="vllm", answer="hash", **config) as client:
        ends: dict[str, float] = {}

        async def ask(name: str, prompt: str) -> None:
            await client.chat(prompt)
            ends[name] = time.monotonic() - started

        started = time.monotonic()
        short = asyncio.create_task(ask("short", "x"))
        await asyncio.sleep(0.02)
        await asyncio.gather(short, *(ask(str(number), "word" * 96 + str(number)) for number in range(4)))
        assert max(ends.values()) >= 0.2 and ends["short"] == min(ends.values())


async def test_a_client_that_leaves_frees_a_local_slot_but_is_billed_by_a_cloud() -> None:
    async def leave(client: Client) -> dict[str, Any]:
        with pytest.raises(httpx.ReadTimeout):
            await client.chat("Hello.")
        await asyncio.sleep(0.4)
        return await client.bill()

    async with one(**GPU, latency_ms=300, timeout_s=0.1) as client:
        assert (await leave(client))["answered"] == 0
        assert (await client.status())["abandoned"] == 1
    async with one(latency_ms=300, timeout_s=0.1) as client:
        account = await leave(client)
        assert (account["answered"], account["delivered"], account["lost"]) == (1, 0, 1)
        assert account["outcomes"] == {"lost": 1}


async def test_a_stalled_answer_holds_its_slot_until_its_client_leaves() -> None:
    async with one(**{**GPU, "slots": 1}, faults=[{"at": 1, "kind": "stall"}], timeout_s=0.3) as client:
        stalled = asyncio.create_task(client.chat("Hello."))
        await asyncio.sleep(0.1)
        assert (await client.status())["busy_slots"] == 1
        waiting = asyncio.create_task(client.chat("Hello."))
        with pytest.raises(httpx.ReadTimeout):
            await stalled
        assert (await waiting).status_code == 200


async def test_a_full_queue_refuses() -> None:
    async with one(personality="ollama", max_queue=2, latency_ms=100) as client:
        replies = [reply.status_code for reply in await asyncio.gather(*(client.chat(f"row {n}") for n in range(5)))]
        assert sorted(replies) == [200, 200, 200, 503, 503]


async def test_another_model_is_loaded_when_asked_for_and_takes_time() -> None:
    async with one(**GPU, models=["llama"], swap_ms=200) as client:
        for model, least_s in (("qwen", 0.0), ("llama", 0.19), ("llama", 0.0), ("qwen", 0.19)):
            started = time.monotonic()
            assert (await client.chat("Hello.", model=model)).json()["model"] == model
            assert time.monotonic() - started >= least_s
        assert (await client.status())["model_swaps"] == 2


# Control


async def test_a_server_that_is_down_refuses_connections_and_comes_back_on_its_port() -> None:
    async with one(latency_ms=500) as client:
        waiting = asyncio.create_task(client.chat("Hello."))
        await asyncio.sleep(0.1)
        await client.control(server="s", down=True)
        with pytest.raises(httpx.TransportError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await client.chat("Hello.")
        await client.control(server="s", down=False, latency_ms=0)
        assert (await client.chat("Hello.")).status_code == 200
        account = await client.bill()
        assert (account["answered"], account["delivered"], account["unfinished"]) == (1, 1, 0)


async def test_down_windows_of_the_scenario() -> None:
    """Asked again and again: what is in flight when a window opens is dropped, and a busy machine is late."""
    seen: list[tuple[int, int]] = []
    async with one(down=[[1.5, 3.0]], down_mode="503") as client:
        until_s = time.monotonic() + 15
        while len(seen) < 3 and time.monotonic() < until_s:
            try:
                both = (await client.chat("Hello.")).status_code, (await client.get("/v1/models")).status_code
            except httpx.TransportError:
                continue
            if both[0] == both[1] and both not in seen[-1:]:
                seen.append(both)
            await asyncio.sleep(0.02)
    assert seen == [(200, 200), (503, 503), (200, 200)]


async def test_a_running_server_is_changed_and_mistakes_change_nothing() -> None:
    async with one() as client:
        await client.control(server="s", faults=[{"match": "x", "kind": "500"}], answer="text:new")
        assert (await client.chat("x")).status_code == 500
        assert text_of(await client.chat("y")) == "new"
        for wrong in (
            {"slotz": 3},
            {"faults": [{"at": 1, "kind": "fire"}]},
            {"server": "t"},
            {"port": 1},
            {"down": "yes"},
        ):
            refused = await client.control(**{"server": "s", **wrong})
            assert refused.status_code == 400
            assert refused.json()["error"]
        assert text_of(await client.chat("y")) == "new"


async def test_reset_empties_bill_and_figures() -> None:
    async with one(faults=[{"at": 1, "kind": "500"}]) as client:
        await client.chat("Hello.")
        await client.chat("Hello.")
        await client.http.post(f"{client.running.control_url}/reset")
        assert await client.calls() == []
        assert (await client.bill())["calls"] == 0
        assert (await client.chat("Hello.")).status_code == 500


async def test_the_status_page_shows_every_server_and_escapes_what_strangers_wrote() -> None:
    scenario = {"servers": {"s": {**CLOUD, "model": "<b>m</b>"}}, "sample_ms": 20}
    async with serve(scenario) as running, httpx.AsyncClient(trust_env=False) as http:
        await Client(running, http).chat("Hello.", headers={"authorization": "Bearer sk-<i>"})
        await asyncio.sleep(0.1)
        page = (await http.get(running.control_url + "/status", headers={"accept": "text/html"})).text
        assert "&lt;b&gt;m&lt;/b&gt;" in page
        assert "<b>m</b>" not in page
        assert "<svg" in page
        assert "<td>&lt;b&gt;m&lt;/b&gt;</td><td>1</td>" in page, "its bill by model"
        assert "<td>sk-&lt;i&gt;</td><td>1</td>" in page, "and by client"
        assert (await http.get(running.control_url + "/nothing")).status_code == 404


# Personalities


async def test_discovery_tells_each_local_server_apart() -> None:
    servers = {
        name: {"personality": name, "model": "m", "slots": 2} for name in ("lmstudio", "ollama", "vllm", "llamacpp")
    }
    async with serve({"servers": servers}) as running, httpx.AsyncClient(trust_env=False) as http:
        client = Client(running, http)
        [model] = (await client.get("/api/v1/models", "lmstudio")).json()["models"]
        assert model["loaded_instances"][0]["config"]["parallel"] == 2
        assert (await client.get("/api/v0/models", "lmstudio")).json()["data"][0]["state"] == "loaded"
        assert (await client.get("/api/ps", "ollama")).json()["models"][0]["context_length"] == 4096
        assert (await client.get("/props", "llamacpp")).json()["total_slots"] == 2
        assert [slot["n_ctx"] for slot in (await client.get("/slots", "llamacpp")).json()] == [16_384, 16_384]
        assert "vllm:num_requests_running{" in (await client.get("/metrics", "vllm")).text
        await client.control(server="vllm", metrics="colliding")
        assert "vllm:num_requests_running_by_adapter" in (await client.get("/metrics", "vllm")).text
        await client.control(server="*", metrics="absent")
        assert (await client.get("/metrics", "vllm")).status_code == 404
        assert (await client.get("/metrics", "llamacpp")).status_code == 501
        assert (await client.get("/v1/models", "vllm")).json()["data"][0]["max_model_len"] == 32_768
        for name in servers:
            assert (await client.chat("Hello.", name)).status_code == 200
            asked = await client.get("/api/ps", name)
            assert ("models" in asked.json(), "error" in asked.json()) == (name == "ollama", name != "ollama")
            assert asked.status_code == (200 if name in ("ollama", "lmstudio") else 404), (
                "LM Studio says 200 to everything"
            )


async def test_ollama_speaks_its_own_language_and_forgets_old_turns_in_silence() -> None:
    async with one(personality="ollama", model="llama", context_tokens=60, answer="echo") as client:
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "old " * 60}]
        turns.append({"role": "user", "content": "new question"})
        body = {"model": "llama", "messages": turns, "stream": False}
        url = client.running.url("s") + "/api/chat"
        answer = (await client.http.post(url, json=body)).json()
        assert (answer["done"], answer["done_reason"], answer["message"]["content"]) == (True, "stop", "new question")
        assert answer["prompt_eval_count"] <= 60
        refused = await client.http.post(url, json={**body, "truncate": False})
        assert (refused.status_code, isinstance(refused.json()["error"], str)) == (400, True)
        wide = (await client.http.post(url, json={**body, "options": {"num_ctx": 500}})).json()
        assert wide["prompt_eval_count"] > 60


async def test_llamacpp_names_its_window_per_slot() -> None:
    async with one(personality="llamacpp", context_tokens=200, slots=2) as client:
        error = (await client.chat("word " * 100)).json()["error"]
        assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", 100)
        assert error["n_prompt_tokens"] > 100
        assert (await client.chat("Hello.")).json()["timings"]["predicted_n"] > 0


@pytest.mark.parametrize("name", sorted(personalities()))
def test_every_personality_has_a_page_in_the_documentation(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


# The scenario


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "[servers.NAME]"),
        ({"servers": {"s": {"personality": "opanai"}}}, "known personalities"),
        ({"servers": {"s": {**CLOUD, "slotz": 4}}}, "slotz"),
        ({"servers": {"s": {**CLOUD, "slots": 0}}}, "slots must be more than 0"),
        ({"servers": {"s": {**CLOUD, "fault_rates": {"500": 0.9, "429": 0.2}}}}, "add up to 1"),
        ({"servers": {"s": {**CLOUD, "faults": [{"at": 0, "kind": "500"}]}}}, "at = 1 is the first"),
        ({"servers": {"s": {**CLOUD, "faults": [{"kind": "500"}]}}}, "needs at"),
        ({"servers": {"s": {**CLOUD, "faults": [{"at": 1, "kind": "fire"}]}}}, "unknown fault 'fire'"),
        ({"servers": {"s": {**CLOUD, "answer": "poem"}}}, "answer is one of"),
        ({"servers": {"s": {**CLOUD, "rpm": "many"}}}, "servers.s.rpm"),
    ],
)
def test_mistakes_in_a_scenario_are_told_in_one_line(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_port_that_is_taken_is_named() -> None:
    async with one() as client:
        port = client.running.servers["s"].listener
        assert port is not None
        with pytest.raises(ConfigError, match=r"servers\.t: port \d+"):
            async with serve({"servers": {"t": {**CLOUD, "port": port.port}}}):
                pass


def test_the_demo_leads_spillway_to_its_servers() -> None:
    urls = {"gpu": "http://127.0.0.1:1/v1", "cloud": "http://127.0.0.1:2/v1"}
    settings = parse_settings(scenario_settings(DEMO, urls))
    assert (settings.targets["gpu"].lane, settings.targets["gpu"].max_concurrency) == ("local", 16)
    assert str(settings.targets["cloud"].input_usd_per_mtok) == "0.15"
    assert settings.targets["cloud"].base_url == urls["cloud"]
    assert settings.routes["small"].targets == ("gpu", "cloud")


async def test_a_bill_in_a_file_outlives_its_process(tmp_path: Any) -> None:
    config = {"servers": {"s": CLOUD}, "bill_file": str(tmp_path / "bill.jsonl")}
    for expected in (1, 2):
        async with serve(config) as running, httpx.AsyncClient(trust_env=False) as http:
            await Client(running, http).chat("Hello.")
            assert (await Client(running, http).bill())["answered"] == expected


def test_as_a_process_of_its_own() -> None:
    with Upstream({"servers": {"cloud": CLOUD, "gpu": GPU}}) as upstream:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello."}]}
        response = httpx.post(upstream.url("cloud") + "/chat/completions", json=body, trust_env=False)
        assert response.status_code == 200
        assert upstream.bill("cloud")["answered"] == 1
        assert [call["server"] for call in upstream.calls()] == ["cloud"]
        upstream.control("gpu", slots=2)
        assert upstream.status("gpu")["slots"] == 2
        with pytest.raises(ValueError, match="no server"):
            upstream.control("nobody", slots=2)
        assert set(upstream.settings()["targets"]) == {"cloud", "gpu"}
        upstream.reset()
        assert upstream.calls() == []
        process = upstream.process
    assert process is not None and process.returncode == 0


@pytest.mark.parametrize("name", ["docs/simulator.md", "data/samples/night.toml", "data/samples/simulator.toml"])
def test_the_scenarios_that_we_show_are_ones(name: str) -> None:
    text = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    text = text.partition("```toml\n")[2].partition("```")[0] if name.endswith(".md") else text
    scenario = tomllib.loads(text)
    urls = {server: f"http://127.0.0.1:{number + 1}/v1" for number, server in enumerate(scenario["servers"])}
    settings = parse_settings(scenario_settings(scenario, urls))
    assert settings.targets.keys() == urls.keys()


def test_the_documentation_names_every_key_and_fault() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    keys = {*ServerConfig.__struct_fields__, *Scenario.__struct_fields__} - {"personality", "servers", "seed"}
    missing = [
        name for name in sorted({*keys, *KINDS, *BATCH_KINDS}) if f"`{name}`" not in text and f"`{name} = " not in text
    ]
    assert missing == []
