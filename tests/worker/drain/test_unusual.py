"""Local servers over real HTTP: what is only unusual raises no doubt, what misleads does, whoever the server says that it is."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from pipelines.settings import parse_settings
from pipelines.tokens import count_chats
from pipelines.types import Completion, Failure, Item
from tests.worker.backends.server import Play, Scripted, answer
from worker.backends import load
from worker.backends.hot import Hot
from worker.clock import Clock
from worker.drain.local import Local
from worker.targets import Targets

WORDS = "please look at the long history of this order before you answer the question about it " * 40
KINDS = ("openai", "lmstudio", "vllm", "llamacpp")
MODEL = "qwen2.5-14b-instruct"
READ = 900
USAGE = {"prompt_tokens": READ, "completion_tokens": 3, "total_tokens": READ + 3}
TOOL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def body(content: Any = "Blue.", finish: Any = "stop", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice], **more}


def stream(*chunks: dict[str, Any], end: str = "data: [DONE]\n\n") -> Play:
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks)
    return answer(200, (": hello\n\n" + events + end).encode(), {"content-type": "text/event-stream; charset=utf-8"})


def plain(data: bytes, **headers: str) -> Play:
    return answer(200, data, {name.replace("_", "-"): value for name, value in headers.items()})


STREAMED = (chunk({"role": "assistant", "content": "Bl"}), chunk({"content": "ue."}), chunk({}, "stop", usage=USAGE))
HEALTHY: dict[str, Play] = {
    "no usage": answer(200, {**body(), "usage": None}),
    "no tokens read, all from the cache": answer(200, body(usage={"prompt_tokens": 0, "completion_tokens": 3})),
    "the cache counted beside the rest": answer(200, body(usage={
        "prompt_tokens": 20, "completion_tokens": 3, "total_tokens": READ + 3, "prompt_tokens_details": {"cached_tokens": READ - 20},
    })),
    "more from the cache than read": answer(200, body(usage={
        "prompt_tokens": 20, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": READ - 20}})),
    "counts as texts": answer(200, body(usage={"prompt_tokens": "900", "completion_tokens": "3"})),
    "no finish reason": answer(200, body(finish=None)),
    "an empty one": answer(200, body(finish="")),
    "eos": answer(200, body(finish="eos")),
    "end_turn": answer(200, body(finish="end_turn")),
    "one of its own": answer(200, body(finish="eosFound")),
    "parts": answer(200, body([{"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."}])),
    "thoughts beside": answer(200, body(reasoning_content="The sky, hm.", reasoning="The sky, hm.")),
    "thoughts before": answer(200, body("<think>\nThe sky, hm.\n</think>\n\nBlue.")),
    "a byte order mark": plain(b"\xef\xbb\xbf" + json.dumps(body()).encode()),
    "blanks before and after": plain(b"\n\n  " + json.dumps(body()).encode() + b"\r\n"),
    "gzip": plain(gzip.compress(json.dumps(body()).encode()), content_encoding="gzip"),
    "not JSON by its type": plain(json.dumps(body()).encode(), content_type="text/plain"),
    "NaN": plain(json.dumps({**body(), "timings": {"predicted_per_second": float("nan")}}).encode()),
    "a path for a name": answer(200, {**body(), "model": f"/models/Qwen/{MODEL}-q4_k_m.gguf"}),
    "no name": answer(200, {**body(), "model": None}),
    "one chunk": answer(200, chunk({"role": "assistant", "content": "Blue."}, "stop", usage=USAGE)),
    "a stream": stream(*STREAMED),
    "a stream whose usage comes last": stream(*STREAMED[:2], chunk({}, "stop"), {**chunk({}), "choices": [], "usage": USAGE}),
    "a stream without its end mark": stream(*STREAMED, end=""),
}  # fmt: skip
CALLS: dict[str, Play] = {
    f"a call with {content!r}": answer(200, body(content, "tool_calls", tool_calls=[TOOL])) for content in ("", None, [])
} | {
    "a streamed call": stream(
        chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), chunk({}, "tool_calls", usage=USAGE)),
    "a call that stops": answer(200, body(None, "stop", tool_calls=[TOOL])),
}  # fmt: skip
LYING: dict[str, tuple[Play, str]] = {
    "a part of the prompt": (answer(200, body(usage={**USAGE, "prompt_tokens": 300, "total_tokens": 303})), "prompt_cut"),
    "a part, and some of it cached": (answer(200, body(usage={
        "prompt_tokens": 300, "completion_tokens": 3, "total_tokens": 303, "prompt_tokens_details": {"cached_tokens": 200}})),
        "prompt_cut"),
    "another model": (answer(200, {**body(), "model": "llama-3.2-1b"}), "wrong_model"),
    "nothing": (answer(200, body("")), "empty_answer"),
    "nothing, with neither tokens": (answer(200, body("", usage={"prompt_tokens": READ, "completion_tokens": 0})), "empty_answer"),
    "nothing but thoughts": (answer(200, body("", reasoning_content="The sky, hm.")), "empty_answer"),
    "nothing but thoughts aloud": (answer(200, body("<think>The sky, hm.</think>")), "empty_answer"),
    "no call, whatever it says": (answer(200, body("", "tool_calls", tool_calls=[])), "empty_answer"),
    "an answer that it cut": (answer(200, body(finish="length")), "cut_short"),
    "one that it gave up": (answer(200, body("Bl", "abort")), "finish_error"),
    "a stream that broke off": (stream(*STREAMED[:2], end=""), "not_json"),
    "a stream that says nothing": (stream(chunk({"content": ""}), chunk({}, "stop", usage=USAGE)), "empty_answer"),
    "a stream that fails": (stream(STREAMED[0], {"error": {"message": "CUDA out of memory", "code": 500}}), "http_500"),
}  # fmt: skip


async def heard(kind: str, play: Play) -> Completion | Failure:
    row = {"messages": [{"role": "user", "content": WORDS}]}
    item = Item(0, json.dumps(row).encode(), count_chats([row], "estimate")[0], 0)
    hot = Hot()
    async with Scripted(play) as server:
        settings = parse_settings({"targets": {"it": {
            "kind": kind, "lane": "local", "model": MODEL, "base_url": f"{server.url}/v1"}}})  # fmt: skip
        targets, target = Targets(settings, Clock()), settings.targets["it"]
        targets.states["it"] = {"up": True, "model": MODEL}  # as it lists the one that it runs
        local = Local(targets, settings.targets)
        request = load(kind).request(target, item.body)
        assert not isinstance(request, Failure)
        response = await hot.post(*request, 5.0)
        await hot.close()
    outcome = response if isinstance(response, Failure) else load(kind).parse(target, response)
    return local.weigh("it", target, item, outcome, 1.0, lambda: True)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_unusual_raises_no_doubt(kind: str) -> None:
    for name, play in HEALTHY.items():
        outcome = await heard(kind, play)
        assert isinstance(outcome, Completion), (name, outcome)
        assert outcome.text.endswith("Blue.") and not outcome.tool_calls, name
        assert outcome.usage.input_tokens in (0, READ), name
    for name, play in CALLS.items():
        outcome = await heard(kind, play)
        assert isinstance(outcome, Completion) and outcome.tool_calls, (name, outcome)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_misleads_is_found_out(kind: str) -> None:
    for name, (play, code) in LYING.items():
        outcome = await heard(kind, play)
        assert isinstance(outcome, Failure) and outcome.code == code, (name, outcome)
