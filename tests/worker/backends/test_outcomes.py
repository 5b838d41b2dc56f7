"""Every outcome of every provider, provoked at its stand-in server over real HTTP, and what the adapter makes of it.

Faults go by the names of worker/simulator/core/faults.py; a cell is a failure's kind, or the finish of an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from pipelines.config.sections import LOCAL_KINDS, Target
from pipelines.types import Completion, Failure
from tests.support_net import free_port
from tests.support_upstream import Upstream
from worker.backends import load
from worker.backends.hot import Hot
from worker.simulator.core.faults import KINDS

MODEL = "gpt-4o-mini"
COLUMNS = (
    "openai", "responses", "anthropic", "gemini", "openrouter", "cerebras", "runpod", "huggingface", *sorted(LOCAL_KINDS),
)  # fmt: skip
WINDOW = 4_000

EXPECTED = {
    **dict.fromkeys(("400", "404", "413", "422", "html"), "invalid"),
    **dict.fromkeys(("401", "403"), "auth"),
    **dict.fromkeys(("402", "insufficient_quota"), "funds"),
    **dict.fromkeys(("429", "429_bare", "429_ms", "429_day", "slow_down"), "rate"),
    **dict.fromkeys(("408", "409", "503", "503_loading", "529"), "overload"),
    **dict.fromkeys(("500", "500_no_retry", "502", "504", "524", "paid_502", "error_in_200"), "transient"),
    "context_overflow": "context",
    **dict.fromkeys(("reset", "close", "hang", "stall", "lost", "lost_reset", "cut", "truncated", "huge"), "unknown"),
    **dict.fromkeys(("empty", "no_choices"), "unknown"),
    **dict.fromkeys(
        ("late", "drip", "close_after", "wrong_model", "no_usage", "odd_usage", "cut_prompt"), "stop"
    ),  # what is odd about these, worker/drain looks at
    "length": "length", "content_filter": "filter", "moderation": "filter", "refusal": "refusal",
    "unknown_finish": "error:galaxy_brained",
}  # fmt: skip
IN_THE_WORKER = ("400", "402", "403", "408", "409", "413", "422", "503", "529", "moderation")
NOTHING = {"no_choices": "untrue"}  # an empty list is an answer that says nothing, of so many tokens
BUT = {
    "responses": NOTHING,
    # it has one word for both, and none for a prompt
    "anthropic": {**NOTHING, "content_filter": "refusal", "moderation": "invalid"},
    "gemini": {**NOTHING, "refusal": "filter", "unknown_finish": "error:GALAXY_BRAINED"},
    "runpod": dict.fromkeys(IN_THE_WORKER, "transient"),  # a worker's error says no more than that
    "ollama": {
        "insufficient_quota": "rate", "moderation": "invalid", "refusal": "stop", "content_filter": "unknown",
        "no_choices": "stop",
    },  # it knows no money and refuses nothing
}  # fmt: skip
WAITS_S = {"429": 1.0, "429_ms": 0.5, "slow_down": 5.0, "429_bare": None}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    faults = [{"match": f"<{kind}>", "kind": kind} for kind in sorted(KINDS)]
    common = {"model": MODEL, "faults": faults, "context_tokens": WINDOW, "hang_s": 30, "drip_ms": 50, "late_ms": 50}
    servers = {
        name: {**common, "personality": "openai" if name == "responses" else name, "slots": 64, "huge_bytes": 2 << 20}
        for name in COLUMNS
    }
    with Upstream({"servers": servers}) as running:
        yield running


def target(column: str, url: str, model: str = MODEL) -> Target:
    kind = "openai" if column == "responses" else column
    api = "responses" if column == "responses" else "chat"
    return Target(
        kind=kind, model=model, base_url=url, api=api, api_key="sk-secret", context_tokens=WINDOW, max_output_tokens=64
    )  # fmt: skip


async def ask(column: str, url: str, prompt: str, timeout_s: float = 20.0, model: str = MODEL) -> Completion | Failure:
    asked = target(column, url, model)
    row = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 64}
    request = load(asked.kind).request(asked, json.dumps(row).encode())
    assert not isinstance(request, Failure)
    hot = Hot()
    response = await hot.post(*request, timeout_s, 1 << 20)
    await hot.close()
    return response if isinstance(response, Failure) else load(asked.kind).parse(asked, response)


def word(outcome: Completion | Failure) -> str:
    return outcome.kind if isinstance(outcome, Failure) else outcome.finish


def test_every_fault_has_an_outcome() -> None:
    assert EXPECTED.keys() == KINDS


@pytest.mark.parametrize("column", COLUMNS)
async def test_outcomes(upstream: Upstream, column: str) -> None:
    url = upstream.url(column)

    few = asyncio.Semaphore(6)

    async def provoke(fault: str) -> Completion | Failure:
        async with few:
            return await ask(column, url, f"<{fault}> Tell me more.", 4.0 if fault in ("hang", "stall") else 20.0)

    found = dict(zip(EXPECTED, await asyncio.gather(*map(provoke, EXPECTED)), strict=True))
    assert {fault: word(outcome) for fault, outcome in found.items()} == {**EXPECTED, **BUT.get(column, {})}
    for outcome in found.values():
        assert not isinstance(outcome, Failure) or "sk-secret" not in outcome.message
    if column != "ollama":  # it names no wait
        waits = {fault: outcome.retry_after_s for fault, outcome in found.items() if isinstance(outcome, Failure)}
        assert {fault: waits[fault] for fault in WAITS_S} == WAITS_S
    day = found["429_day"]
    assert isinstance(day, Failure)
    assert column != "gemini" or (day.code == "quota_per_day" and day.retry_after_s != 22)


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_prompt_that_is_too_long_names_the_window_where_the_server_does(
    upstream: Upstream, column: str
) -> None:
    outcome = await ask(column, upstream.url(column), "word " * 40_000)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "context"
    slots = 64 if column == "llamacpp" else 1  # its window is that of one slot
    assert outcome.context_tokens == WINDOW // slots


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_model_that_the_provider_does_not_know_is_the_targets_fault(upstream: Upstream, column: str) -> None:
    outcome = await ask(column, upstream.url(column), "Hi.", model="gpt-4o-minni")
    if column == "llamacpp":  # it has one model, and answers with it whatever a call says
        assert isinstance(outcome, Completion)
        return
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.code) == ("model", "model_not_found")
    assert "gpt-4o-minni" in outcome.message and "is `model` of this target right?" in outcome.message


@pytest.mark.parametrize("column", COLUMNS)
async def test_what_was_never_sent_costs_nothing(column: str) -> None:
    outcome = await ask(column, f"http://127.0.0.1:{free_port()}/v1", "Hi.")
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.code) == ("connect", "connect_failed")


async def test_lm_studio_answers_at_its_bare_address_and_says_200_to_any_other(upstream: Upstream) -> None:
    bare = upstream.url("lmstudio").removesuffix("/v1")
    assert isinstance(await ask("lmstudio", bare, "Hi."), Completion)
    wrong = await ask("openai", bare, "Hi.")
    assert isinstance(wrong, Failure)
    assert (wrong.kind, wrong.code, wrong.http_status) == ("transient", "wrong_address", 200)


@pytest.mark.parametrize("column", COLUMNS)
async def test_an_answer(upstream: Upstream, column: str) -> None:
    outcome = await ask(column, upstream.url(column), "Say yes or no. Labels: yes | no")
    assert isinstance(outcome, Completion)
    assert (outcome.text in ("yes", "no"), outcome.finish, outcome.model) == (True, "stop", MODEL)
    assert outcome.usage.input_tokens > 4 and outcome.usage.output_tokens == 1
