"""The answer of any provider as the choices of OpenAI's `chat.completion`: text, tool calls, refusals, logprobs.

Reads the bodies that results keep. It takes nothing for granted: a field that is not as documented is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

Choice = dict[str, Any]

FINISH = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "completed": "stop", "refusal": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "model_context_window_exceeded": "length",
    "tool": "tool_calls", "tool_use": "tool_calls", "tool_calls": "tool_calls",
    "filter": "content_filter", "content_filter": "content_filter", "safety": "content_filter",
    "recitation": "content_filter", "blocklist": "content_filter", "prohibited_content": "content_filter",
    "spii": "content_filter", "image_safety": "content_filter",
}  # fmt: skip
REFUSED = "The model refused to answer."


def choices(answer: Any) -> list[Choice] | None:
    """The choices of an answer; None when its shape is not known. Those of OpenAI's shape are given back untouched."""
    if type(answer) is not dict:
        return None
    for field, shape in SHAPES.items():
        if field in answer:
            return shape(answer)
    return None


def choice(
    text: str, raw_finish: Any, *, calls: Iterable[dict[str, Any]] = (), refusal: str | None = None,
    logprobs: list[Any] | None = None, index: int = 0,
) -> Choice:  # fmt: skip
    """One choice; a finish reason that OpenAI does not know is `stop`."""
    made = list(calls)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text or (None if made or refusal else ""),
        "refusal": None,
    }
    if refusal is not None:
        message |= {"content": None, "refusal": refusal or REFUSED}
    if made:
        message["tool_calls"] = made
    finish = FINISH.get(str(raw_finish or "stop").lower(), "stop")
    said = {"content": logprobs, "refusal": None} if logprobs else None
    finish = "tool_calls" if made and finish == "stop" else finish
    return {"index": index, "message": message, "logprobs": said, "finish_reason": finish}


def _openai(answer: dict[str, Any]) -> list[Choice] | None:
    found = answer["choices"]
    return found if type(found) is list else None


def _anthropic(answer: dict[str, Any]) -> list[Choice]:
    blocks = _objects(answer["content"])
    text = _joined(blocks, "text")
    calls = [
        _call(block.get("id"), block.get("name"), block.get("input"), number)
        for number, block in enumerate(block for block in blocks if block.get("type") == "tool_use")
    ]
    refused = answer.get("stop_reason") == "refusal"
    details = answer.get("stop_details")
    why = _text(details.get("explanation")) if type(details) is dict else ""
    return [choice(text, answer.get("stop_reason"), calls=calls, refusal=(text or why) if refused else None)]


def _gemini(answer: dict[str, Any]) -> list[Choice]:
    return [_candidate(each, index) for index, each in enumerate(_objects(answer["candidates"]))] or _blocked(answer)


def _blocked(_answer: dict[str, Any]) -> list[Choice]:
    return [choice("", "content_filter")]


def _candidate(candidate: dict[str, Any], index: int) -> Choice:
    content = candidate.get("content")
    parts = _objects(content.get("parts")) if type(content) is dict else []
    calls: list[dict[str, Any]] = []
    for part in parts:
        if type(asked := part.get("functionCall")) is dict:
            call = _call(asked.get("id"), asked.get("name"), asked.get("args"), len(calls))
            if signature := _text(part.get("thoughtSignature")):
                call["extra_content"] = {"google": {"thought_signature": signature}}
            calls.append(call)
    text = _joined((part for part in parts if not part.get("thought")), None)
    told = candidate.get("logprobsResult")
    logprobs = _gemini_logprobs(told) if type(told) is dict else None
    return choice(text, candidate.get("finishReason"), calls=calls, logprobs=logprobs, index=index)


def _gemini_logprobs(told: dict[str, Any]) -> list[Any]:
    chosen, tops = _objects(told.get("chosenCandidates")), _objects(told.get("topCandidates"))
    others = [_objects(top.get("candidates")) for top in tops] + [[]] * len(chosen)
    return [
        {**_logprob(each, "logProbability"), "top_logprobs": [_logprob(other, "logProbability") for other in rest]}
        for each, rest in zip(chosen, others, strict=False)
    ]


def _ollama(answer: dict[str, Any]) -> list[Choice] | None:
    message = answer["message"]
    if type(message) is not dict:
        return None
    functions = [each["function"] for each in _objects(message.get("tool_calls")) if type(each.get("function")) is dict]
    calls = [_call(None, each.get("name"), each.get("arguments"), number) for number, each in enumerate(functions)]
    told = _objects(answer.get("logprobs"))
    logprobs = [
        {**_logprob(each), "top_logprobs": [_logprob(other) for other in _objects(each.get("top_logprobs"))]}
        for each in told
    ]
    return [choice(_text(message.get("content")), answer.get("done_reason"), calls=calls, logprobs=logprobs)]


def _responses(answer: dict[str, Any]) -> list[Choice]:
    items = _objects(answer["output"])
    parts = [part for item in items if item.get("type") == "message" for part in _objects(item.get("content"))]
    refusal = "".join(_text(part.get("refusal")) for part in parts if part.get("type") == "refusal")
    calls = [
        {"id": _text(item.get("call_id")), "type": "function",
         "function": {"name": _text(item.get("name")), "arguments": _text(item.get("arguments"))}}
        for item in items if item.get("type") == "function_call"
    ]  # fmt: skip
    details = answer.get("incomplete_details")
    reason = details.get("reason") if type(details) is dict else None
    told = [each for part in parts for each in _objects(part.get("logprobs"))]
    return [choice(_joined(parts, "output_text"), reason, calls=calls, refusal=refusal or None, logprobs=told)]


SHAPES: Mapping[str, Callable[[dict[str, Any]], list[Choice] | None]] = {
    "choices": _openai, "candidates": _gemini, "promptFeedback": _blocked, "output": _responses, "message": _ollama,
    "content": _anthropic,
}  # fmt: skip
"""By the field that only one of them has."""


def _call(id_: Any, name: Any, arguments: Any, number: int) -> dict[str, Any]:
    written = msgspec.json.encode(arguments if type(arguments) is dict else {}).decode()
    return {
        "id": _text(id_) or f"call_{number}",
        "type": "function",
        "function": {"name": _text(name), "arguments": written},
    }


def _logprob(each: Mapping[str, Any], name: str = "logprob") -> dict[str, Any]:
    value, spelled, token = each.get(name), each.get("bytes"), _text(each.get("token"))
    return {
        "token": token,
        "logprob": value if type(value) in (int, float) else 0.0,
        "bytes": spelled if type(spelled) is list else list(token.encode(errors="replace")),
    }


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if type(each) is dict] if type(value) is list else []


def _joined(parts: Iterable[Mapping[str, Any]], kind: str | None) -> str:
    return "".join(_text(part.get("text")) for part in parts if kind is None or part.get("type") == kind)


def _text(value: Any) -> str:
    return value if type(value) is str else ""
