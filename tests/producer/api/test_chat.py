"""`/v1/chat/completions` with the official client: through the queue to its answer, with real workers behind."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError

from tests.support_program import wait_until
from tests.support_serving import Server
from tests.support_upstream import Upstream

MODEL = "gpt-4o-mini"


def said(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def ask(server: Server, prompt: str, **more: Any) -> Any:
    with server.openai() as client:
        return client.chat.completions.create(model=MODEL, messages=said(prompt), **more)


async def ask_async(client: AsyncOpenAI, prompt: str) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=said(prompt))


def known(answer: Any) -> dict[str, Any]:
    """What Spillway says beside the provider's answer."""
    found: dict[str, Any] = answer.spillway
    return found


def test_an_answer_has_openais_shape_and_says_where_it_came_from(server: Server) -> None:
    answer = ask(server, "What is a spillway?")
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    where = known(answer)
    assert where["lane"] in ("local", "cloud")
    assert where["status"] == "ok"
    assert Decimal(where["cost_usd"]) >= 0
    assert where["id"] == f"chatcmpl-{where['run']}-{where['row']}"


def test_many_at_once_share_runs_and_get_their_own_answers(server: Server) -> None:
    async def all_() -> list[Any]:
        async with server.async_openai() as client:
            asked = (ask_async(client, f"Number {n}, please.") for n in range(40))
            return await asyncio.gather(*asked)

    answers = asyncio.run(all_())
    places = {(known(each)["run"], known(each)["row"]) for each in answers}
    assert len(places) == 40
    assert len({run for run, _ in places}) <= 2
    assert len({each.choices[0].message.content for each in answers}) == 40  # each prompt has an answer of its own


def test_a_duplicate_is_answered_by_its_leader_and_costs_nothing(server: Server, upstream: Upstream) -> None:
    first = ask(server, "Say it only once.")
    calls = len(upstream.calls())
    again = ask(server, "Say it only once.")
    assert len(upstream.calls()) == calls
    assert again.choices[0].message.content == first.choices[0].message.content
    assert known(again)["status"] == "duplicate"
    assert Decimal(known(again)["cost_usd"]) == 0
    assert (known(again)["duplicate_run"], known(again)["duplicate_of"]) == (known(first)["run"], known(first)["row"])


def test_duplicates_are_answered_while_their_leader_still_is(server: Server, upstream: Upstream) -> None:
    upstream.control(latency_ms=1500)
    calls = len(upstream.calls())
    try:

        async def two() -> list[Any]:
            async with server.async_openai() as client:
                one = asyncio.create_task(ask_async(client, "A slow one."))
                await asyncio.sleep(0.5)
                return [await ask_async(client, "A slow one."), await one]

        since = time.monotonic()
        later, first = asyncio.run(two())
    finally:
        upstream.control(latency_ms=20)
    assert len(upstream.calls()) == calls + 1
    assert later.choices[0].message.content == first.choices[0].message.content
    assert {known(later)["status"], known(first)["status"]} == {"ok", "duplicate"}
    assert time.monotonic() - since < 20


def test_what_is_wrong_is_told_before_anything_is_asked(server: Server) -> None:
    client = server.openai()
    with pytest.raises(BadRequestError) as none:
        client.chat.completions.create(model=MODEL, messages=[])
    assert none.value.code == "invalid_messages"
    with pytest.raises(NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-17", messages=said("Hello?"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as parameter:
        client.chat.completions.create(model=MODEL, messages=said("Hello?"), temperature="hot")  # type: ignore[call-overload]
    assert parameter.value.code == "invalid_parameter"
    with pytest.raises(BadRequestError) as endpoint:
        client.embeddings.create(model=MODEL, input="Hello?")
    assert endpoint.value.code == "unsupported_endpoint"


def test_a_refusal_of_the_upstream_is_an_error_that_is_not_tried_again(server: Server) -> None:
    with pytest.raises(APIStatusError) as refused:
        ask(server, "REFUSE this.")
    assert refused.value.status_code == 400
    assert refused.value.response.headers["x-should-retry"] == "false"


def test_a_stream_brings_the_whole_answer(server: Server) -> None:
    plain = ask(server, "Stream it.")
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    with server.openai() as client:
        chunks: list[Any] = list(client.chat.completions.create(model=MODEL, messages=said("Stream it."), **options))
    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert text == plain.choices[0].message.content
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"
    assert chunks[-1].usage is not None


def test_who_does_not_wait_fetches_the_answer_later_and_nobody_else_does(server: Server) -> None:
    with server.http() as http:
        body = {"model": MODEL, "messages": said("No hurry.")}
        accepted = http.post("/v1/chat/completions", json=body, headers={"x-spillway-wait-s": "0"})
        assert accepted.status_code == 202
        assert float(accepted.headers["x-spillway-accepted-ms"]) > 0
        name = accepted.json()["id"]
        answer = http.get(f"/v1/chat/completions/{name}", headers={"x-spillway-wait-s": "30"})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    assert server.openai().chat.completions.retrieve(name).choices[0].message.content
    with server.http("other") as other:
        theirs = other.get(f"/v1/chat/completions/{name}")
        nobodys = other.get("/v1/chat/completions/chatcmpl-nothing-0")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(name, "X") == nobodys.text.replace("chatcmpl-nothing-0", "X")


def test_a_wait_that_ends_first_loses_nothing(server: Server, upstream: Upstream) -> None:
    upstream.control(latency_ms=2500)
    try:
        with pytest.raises(InternalServerError) as late:
            ask(server, "Take your time.", extra_headers={"x-spillway-wait-s": "0.5"})
        assert late.value.status_code == 504
        assert late.value.code == "answer_pending"
        name = late.value.message.split("/v1/chat/completions/")[1].split()[0]

        def there() -> bool:
            with server.http() as http:
                return http.get(f"/v1/chat/completions/{name}", headers={"x-spillway-wait-s": "5"}).status_code == 200

        wait_until(there, 30)
    finally:
        upstream.control(latency_ms=20)


def test_an_idempotency_key_makes_two_requests_one(server: Server) -> None:
    same: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "once"}, "temperature": 0.7}
    first, second = ask(server, "Throw a dice.", **same), ask(server, "Throw a dice.", **same)
    assert known(first)["id"] == known(second)["id"]
    with pytest.raises(BadRequestError) as reused:
        ask(server, "Throw another.", **same)
    assert reused.value.code == "idempotency_key_reused"


def test_the_run_ends_like_any_other_and_its_ledger_is_the_bill(server: Server) -> None:
    answer = ask(server, "The last one.")
    run = known(answer)["run"]
    results = server.program.data / f"results/run={run}/results.parquet"
    wait_until(results.exists, 60)
    rows = server.program.results(run)
    assert set(rows["status"]) <= {"ok", "duplicate", "failed"}
    mine = rows.filter(rows["row"] == known(answer)["row"])
    assert mine["output"][0] == answer.choices[0].message.content
