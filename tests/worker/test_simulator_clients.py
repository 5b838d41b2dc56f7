"""The clients of those vendors that ship one, let loose on the stand-ins: several tool calls, logprobs, stops, schemas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anthropic
import cerebras.cloud.sdk as cerebras
import httpx
import ollama
import openai
import pytest
from cerebras.cloud.sdk.types.chat.chat_completion import ChatCompletionResponse
from google import genai
from huggingface_hub import AsyncInferenceClient
from openai.types.chat import ChatCompletion
from openai.types.responses import Response as OpenaiResponse
from openrouter import OpenRouter
from openrouter.components import ChatResult

from worker.simulator import Running, serve

KEY = "sk-test"
PARAMETERS = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("look", "wait")
]
ASK: list[Any] = [{"role": "user", "content": "Please call look and call wait."}]


@asynccontextmanager
async def one(personality: str, **config: Any) -> AsyncIterator[Running]:
    async with serve({"servers": {"s": {"personality": personality, "model": "m", **config}}}) as running:
        yield running


def gpt(running: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=KEY, base_url=running.base_urls["s"], max_retries=0)


def calls_of(message: Any) -> list[tuple[str, list[str]]]:
    return [(call.function.name, list(json.loads(call.function.arguments))) for call in message.tool_calls]


BOTH = [("look", ["n"]), ("wait", ["n"])]


async def test_openais_chat() -> None:
    async with one("openai", answer="text:one two END three") as running, gpt(running) as client:
        made = await client.chat.completions.create(model="m", messages=ASK, tools=TOOLS)
        assert calls_of(made.choices[0].message) == BOTH
        assert made.choices[0].finish_reason == "tool_calls"
        single = await client.chat.completions.create(model="m", messages=ASK, tools=TOOLS, parallel_tool_calls=False)
        assert calls_of(single.choices[0].message) == BOTH[:1]
        named: Any = {"type": "function", "function": {"name": "wait"}}
        made = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi."}], tools=TOOLS, tool_choice=named
        )
        assert calls_of(made.choices[0].message) == BOTH[1:]
        made = await client.chat.completions.create(model="m", messages=ASK, tools=TOOLS, tool_choice="none")
        assert made.choices[0].message.tool_calls is None
        made = await client.chat.completions.create(
            model="m", messages=ASK, stop=["END", "nowhere"], logprobs=True, top_logprobs=2, n=2
        )
        assert [choice.message.content for choice in made.choices] == ["one two ", "one two "]
        told = made.choices[1].logprobs
        assert told is not None and told.content is not None
        assert "".join(each.token for each in told.content) == "one two "
        assert all(each.top_logprobs[0].token == each.token and each.logprob < 0 for each in told.content)
        assert {len(each.top_logprobs) for each in told.content} == {2}
        ChatCompletion.model_validate(made.model_dump(), strict=True)
        with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: brand_new"):
            await client.chat.completions.create(model="m", messages=ASK, extra_body={"brand_new": 1})


async def test_openais_responses() -> None:
    tools: list[Any] = [{"type": "function", "strict": False, **each["function"]} for each in TOOLS]
    async with one("openai", answer="text:yes", reasoning_tokens=5) as running, gpt(running) as client:
        made = await client.responses.create(model="m", input=ASK, tools=tools)
        assert [item.type for item in made.output] == ["reasoning", "function_call", "function_call"]
        made = await client.responses.create(
            model="m", input="Hi.", include=["message.output_text.logprobs"], top_logprobs=2
        )
        said: Any = made.output[1]
        assert "".join(each.token for each in said.content[0].logprobs) == made.output_text == "yes"
        results = [{"type": "function_call_output", "call_id": "c", "output": "It is blue."}]
        made = await client.responses.create(model="m", input=[*ASK, *results])
        assert made.usage is not None and made.usage.input_tokens == 8 + 4 + 3 + 4
        OpenaiResponse.model_validate(made.model_dump(), strict=True)
        with pytest.raises(openai.BadRequestError, match="seed"):
            await client.responses.create(model="m", input="Hi.", extra_body={"seed": 1})


async def test_anthropic() -> None:
    tools: list[Any] = [{"name": each["function"]["name"], "input_schema": PARAMETERS} for each in TOOLS]
    async with one("anthropic", answer="text:one two END three") as running, AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            anthropic.AsyncAnthropic(api_key=KEY, base_url=running.base_urls["s"], max_retries=0)
        )
        made = await client.messages.create(model="m", max_tokens=99, messages=ASK, tools=tools)
        assert [(block.type, block.name) for block in made.content if block.type == "tool_use"] == [
            ("tool_use", "look"), ("tool_use", "wait"),
        ]  # fmt: skip
        assert made.stop_reason == "tool_use"
        one_only: Any = {"type": "any", "disable_parallel_tool_use": True}
        made = await client.messages.create(model="m", max_tokens=99, messages=ASK, tools=tools, tool_choice=one_only)
        assert len(made.content) == 1
        made = await client.messages.create(model="m", max_tokens=99, messages=ASK, stop_sequences=["END"])
        assert (made.stop_reason, made.stop_sequence, made.content[0].text) == ("stop_sequence", "END", "one two ")  # type: ignore[union-attr]
        anthropic.types.Message.model_validate(made.model_dump(), strict=True)
        with pytest.raises(anthropic.BadRequestError, match="seed: Extra inputs are not permitted"):
            await client.messages.create(model="m", max_tokens=9, messages=ASK, extra_body={"seed": 1})


async def test_gemini() -> None:
    declared = [{"name": each["function"]["name"], "parameters_json_schema": PARAMETERS} for each in TOOLS]
    tools: list[Any] = [{"function_declarations": declared}]
    async with one("gemini", answer="text:one two END three") as running, AsyncExitStack() as stack:
        client = genai.Client(api_key=KEY, http_options={"base_url": running.url("s"), "api_version": "v1beta"})
        stack.callback(client.close)

        async def ask(prompt: str, **config: Any) -> Any:
            return await asyncio.to_thread(client.models.generate_content, model="m", contents=prompt, config=config)

        off = {"automatic_function_calling": {"disable": True}}
        made = await ask(ASK[0]["content"], tools=tools, **off)
        assert [(call.name, list(call.args)) for call in made.function_calls] == BOTH
        assert [bool(part.thought_signature) for part in made.candidates[0].content.parts] == [True, False]
        allowed = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["wait"]}}
        made = await ask("Hi.", tools=tools, tool_config=allowed, **off)
        assert [call.name for call in made.function_calls] == ["wait"]
        made = await ask("Hi.", stop_sequences=["END"], response_logprobs=True, logprobs=2, candidate_count=2)
        assert made.text == "one two "
        assert len(made.candidates) == 2
        told = made.candidates[0].logprobs_result
        assert "".join(each.token for each in told.chosen_candidates) == "one two "
        assert {len(each.candidates) for each in told.top_candidates} == {2}


async def test_ollama() -> None:
    async with one("ollama", answer="text:one two END three", reasoning_tokens=3) as running, AsyncExitStack() as stack:
        client = ollama.AsyncClient(host=running.url("s"), trust_env=False)
        stack.push_async_callback(client._client.aclose)
        made = await client.chat("m", messages=ASK, tools=TOOLS)
        assert [(call.function.name, list(call.function.arguments)) for call in made.message.tool_calls or ()] == BOTH
        options = {"stop": ["END"], "num_predict": 50}
        made = await client.chat(
            "m", [{"role": "user", "content": "Hi."}], logprobs=True, top_logprobs=2, options=options
        )
        assert (made.message.content, made.message.thinking, made.done_reason) == ("one two ", "Hm.", "stop")
        assert made.logprobs is not None
        assert "".join(each.token for each in made.logprobs) == "one two "
        ollama.ChatResponse.model_validate(made.model_dump())
        assert [model.model for model in (await client.list()).models] == ["m"]
        assert [model.context_length for model in (await client.ps()).models] == [4096]
        with pytest.raises(ollama.ResponseError) as caught:
            await client.chat("unknown", messages=ASK)
        assert caught.value.status_code == 404


async def test_cerebras() -> None:
    async with one("cerebras", answer="text:yes") as running, AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            cerebras.AsyncCerebras(api_key=KEY, base_url=running.url("s"), max_retries=0, warm_tcp_connection=False)
        )
        made: Any = await client.chat.completions.create(model="m", messages=ASK, tools=TOOLS)
        assert calls_of(made.choices[0].message) == BOTH
        made = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi."}], logprobs=True
        )
        assert made.choices[0].logprobs.content[0].token.startswith("yes")
        assert made.time_info.total_time >= 0
        ChatCompletionResponse.model_validate(made.model_dump())
        with pytest.raises(cerebras.BadRequestError, match="verbosity"):
            await client.chat.completions.create(model="m", messages=ASK, extra_body={"verbosity": "low"})


async def test_openrouter() -> None:
    async with one("openrouter", answer="text:yes", usd_per_mtok_out=1.0) as running, AsyncExitStack() as stack:
        client = await stack.enter_async_context(OpenRouter(api_key=KEY, server_url=running.base_urls["s"]))
        made: Any = await client.chat.send_async(model="m", messages=ASK, tools=TOOLS)
        assert calls_of(made.choices[0].message) == BOTH
        made = await client.chat.send_async(
            model="m", messages=[{"role": "user", "content": "Hi."}], logprobs=True, top_logprobs=1
        )
        assert made.choices[0].message.content == "yes"
        assert made.choices[0].logprobs.content[0].token.startswith("yes")
        assert made.usage.cost == 1e-6
        ChatResult.model_validate(made.model_dump())


async def test_hugging_face() -> None:
    async with one("huggingface", answer="text:yes", model="org/name") as running, AsyncExitStack() as stack:
        client = await stack.enter_async_context(AsyncInferenceClient(base_url=running.base_urls["s"], api_key=KEY))
        made: Any = await client.chat_completion(ASK, model="org/name:stand-in", tools=TOOLS)
        assert calls_of(made.choices[0].message) == BOTH
        made = await client.chat_completion([{"role": "user", "content": "Hi."}], model="org/name", logprobs=True)
        assert (made.choices[0].message.content, made.usage.completion_tokens) == ("yes", 1)
        assert made.choices[0].logprobs.content[0].token.startswith("yes")


@pytest.mark.parametrize("personality", ["lmstudio", "vllm", "llamacpp", "runpod"])
async def test_local_servers_speak_to_openais_client(personality: str) -> None:
    async with one(personality, answer="text:one two END three") as running, gpt(running) as client:
        made = await client.chat.completions.create(model="m", messages=ASK, tools=TOOLS)
        assert calls_of(made.choices[0].message) == BOTH
        made = await client.chat.completions.create(model="m", messages=ASK, stop="END", extra_body={"brand_new": 1})
        assert made.choices[0].message.content == "one two ", "what they do not know they ignore"
        ChatCompletion.model_validate(made.model_dump(), strict=True)


async def test_a_picture_takes_a_few_tokens_however_large_it_is() -> None:
    async with one("openai") as running, httpx.AsyncClient(trust_env=False) as http:
        taken = []
        for size in (400, 4_000_000):
            parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * size}"}}]
            body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
            response = await http.post(running.base_urls["s"] + "/chat/completions", json=body)
            taken.append(response.json()["usage"]["prompt_tokens"])
        assert taken[0] == taken[1] < 20
