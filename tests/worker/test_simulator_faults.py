"""The stand-in servers over real HTTP: what goes wrong as it was told to, and whether it is billed."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from tests.worker.simulated import CLOUD, Client, one
from worker.simulator import serve

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
