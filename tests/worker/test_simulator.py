"""The stand-in servers over real HTTP: their answers, in each one's own words, and what these cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.worker.simulated import CLOUD, Client, one, text_of
from worker.simulator import parse_scenario, serve
from worker.simulator.core.answers import find_labels
from worker.simulator.core.bill import Usage, cost_pusd
from worker.simulator.core.personality import personalities
from worker.simulator.core.schema import example

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
