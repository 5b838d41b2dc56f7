"""Google's Gemini API in its own shape, which alone tells thinking tokens and why a prompt was blocked."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.sections import Target
from pipelines.types import Completion, Failure, Usage
from worker.backends import Sendable, answers, failures, lenient, looks, rows
from worker.backends.exchange import Response
from worker.backends.lenient import count
from worker.backends.looks import Seen
from worker.backends.rows import Cannot, Out
from worker.backends.waits import span_s

if TYPE_CHECKING:
    from worker.backends.http import Web

FINISH = {
    "stop": "stop", "max_tokens": "length", "safety": "filter", "recitation": "filter", "blocklist": "filter",
    "prohibited_content": "filter", "spii": "filter", "image_safety": "filter",
}  # fmt: skip
BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
LEVELS = frozenset({"minimal", "low", "medium", "high"})
AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3"}
PACIFIC_S = 8 * 3600
"""Daily quotas end at midnight in California; winter time there, so in summer an hour late rather than early."""


class Part(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: Any = None


class Content(msgspec.Struct, frozen=True):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None


class Feedback(msgspec.Struct, frozen=True, rename="camel"):
    block_reason: str | None = None


class Counts(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Counts | None = None
    model_version: str | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Answer)


class Gemini:
    """See `Adapter`."""

    def request(self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None) -> Sendable | Failure:
        body = rows.read(item_body)
        if isinstance(body, Failure):
            return body
        config: Out = {"maxOutputTokens": target.max_output_tokens}
        out: Out = {"generationConfig": config}
        try:
            _contents(body["messages"], out)
            rows.translate(body, {**PARAMETERS, "reasoning_effort": _thinking(target.model)}, out)
        except Cannot as error:
            return rows.cannot(target, error)
        if schema is not None and target.structured_output and "response_format" not in body:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
        headers = {"content-type": "application/json", "x-goog-api-key": target.key or ""}
        model = target.model.removeprefix("models/")
        return f"{target.base_url}/models/{model}:generateContent", headers, rows.as_json(out)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        if response.status != 200:
            return failures.hide_key(target, _failure(response))
        answer = lenient.read(response.body, _DECODER)
        if answer is None:
            return failures.not_json(response)
        usage, model = _usage(answer.usage_metadata), answer.model_version
        if answer.candidates:
            return _completion(answer.candidates[0], usage, model)
        if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
            return Completion("", "filter", usage, model)
        if answer.error:
            return failures.hide_key(target, _failure(response))
        return Failure("unknown", "empty_answer", "HTTP 200: an answer without candidates", response.status)


ADAPTER = Gemini()


def _completion(candidate: Candidate, usage: Usage, model: str | None) -> Completion | Failure:
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text or "" for part in parts if not part.thought)
    calls = any(part.function_call for part in parts)
    finish = answers.finish_of(candidate.finish_reason, FINISH)
    if finish == "stop" and calls:
        finish = "tool"
    if not text and not calls and not usage.output_tokens and finish in ("stop", "length"):
        return Failure("unknown", "empty_answer", "HTTP 200: an answer without text or output tokens", 200)
    return Completion(text, finish, usage, model, calls)


def _usage(counts: Counts | None) -> Usage:
    """Its candidates' tokens leave thinking out; ours count it in."""
    if counts is None:
        return Usage()
    into = count(counts.prompt_token_count) + count(counts.tool_use_prompt_token_count)
    thinking = count(counts.thoughts_token_count)
    out = count(counts.candidates_token_count) + thinking
    return Usage(into, min(count(counts.cached_content_token_count), into), 0, out, thinking)


def _failure(response: Response) -> Failure:
    """A quota per day outlasts the 22 seconds that come with it; a key that is none is a 400."""
    error = failures.told(lenient.decode(response.body))
    failed = failures.failure(response, error)
    details = error.error.get("details") if error else None
    details = [each for each in details if type(each) is dict] if type(details) is list else []
    quotas = " ".join(
        str(violation.get("quotaId")) for each in details for violation in looks.table(each, "violations")
    )
    reasons = {str(each.get("reason")) for each in details if each.get("reason")}
    if "API_KEY_INVALID" in reasons or "API_KEY_SERVICE_BLOCKED" in reasons:
        return msgspec.structs.replace(failed, kind="auth", code="api_key_invalid")
    if failed.kind != "rate":
        return failed
    if any("SPEND" in word.upper() for word in (quotas, *reasons)):
        return msgspec.structs.replace(failed, kind="funds")
    if "PerDay" in quotas:
        until_midnight = 86_400 - (time.time() - PACIFIC_S) % 86_400
        return msgspec.structs.replace(failed, code="quota_per_day", retry_after_s=until_midnight)
    delays = [span_s(str(each["retryDelay"]), time.time()) for each in details if each.get("retryDelay")]
    return msgspec.structs.replace(failed, retry_after_s=delays[0]) if delays else failed


# -- messages ----------------------------------------------------------------------------------------------------------


def _contents(messages: list[Any], out: Out) -> None:
    """System messages, wherever they stand, become the one instruction that it has."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names = rows.called_names(messages)
    for message in messages:
        role = message.get("role") if type(message) is dict else None
        match role:
            case "system" | "developer":
                system.append({"text": rows.text_of(message.get("content"), role)})
                continue
            case "user":
                speaker, parts = "user", [_part(part) for part in rows.parts(message.get("content"))]
            case "assistant":
                speaker, parts = "model", _assistant(message)
            case "tool":
                speaker, parts = "user", [_result(message, names)]
            case _:
                raise Cannot(f"a message of role `{role}`")
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": speaker, "parts": parts})
    if system:
        out["systemInstruction"] = {"parts": system}
    out["contents"] = turns


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"text": str(part.get("text") or "")}
        case "image_url":
            inline = rows.data_url(rows.image_url(part))
            if inline is None:
                raise Cannot("an image by URL (it takes base64 only)")
            return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
        case "file":
            media, data = rows.file_data(part)
            return {"inlineData": {"mimeType": media, "data": data}}
        case "input_audio":
            audio = part.get("input_audio") or {}
            if audio.get("format") in AUDIO:
                return {"inlineData": {"mimeType": AUDIO[audio["format"]], "data": audio.get("data")}}
    raise Cannot(f"`{part.get('type')}` content")


def _assistant(message: dict[str, Any]) -> list[dict[str, Any]]:
    text = rows.text_of(message.get("content"), "assistant") or str(message.get("refusal") or "")
    calls = [{"functionCall": {"name": name, "args": input_}} for _, name, input_ in rows.calls_of(message)]
    return [*([{"text": text}] if text or not calls else []), *calls]


def _result(message: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    text = rows.text_of(message.get("content"), "tool")
    data = lenient.decode(text.encode())
    name = names.get(str(message.get("tool_call_id")), str(message.get("name") or "tool"))
    return {"functionResponse": {"name": name, "response": data if type(data) is dict else {"result": text}}}


# -- parameters --------------------------------------------------------------------------------------------------------


def _config(name: str) -> rows.Setter:
    def setter(value: Any, out: Out) -> None:
        out["generationConfig"][name] = value

    return setter


def _stop(value: Any, out: Out) -> None:
    out["generationConfig"]["stopSequences"] = rows.stops(value)


def _tools(value: Any, out: Out) -> None:
    known = (("name", "name"), ("description", "description"), ("parameters", "parametersJsonSchema"))
    functions = rows.functions(value)
    declared = [{there: each[here] for here, there in known if each.get(here) is not None} for each in functions]
    out["tools"] = [{"functionDeclarations": declared}]


def _tool_choice(value: Any, out: Out) -> None:
    if type(value) is str:
        config: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[value]}
    else:
        config = {"mode": "ANY", "allowedFunctionNames": [value["function"]["name"]]}
    out["toolConfig"] = {"functionCallingConfig": config}


def _response_format(value: Any, out: Out) -> None:
    if value["type"] not in ("json_schema", "json_object"):
        raise Cannot(f"`response_format` {value['type']}")
    out["generationConfig"]["responseMimeType"] = "application/json"
    if value["type"] == "json_schema":
        out["generationConfig"]["responseJsonSchema"] = rows.wanted_schema(value)


def _thinking(model: str) -> rows.Setter:
    """Before Gemini 3 thinking is limited in tokens, since then by a word."""
    old = re.search(r"gemini-[12]\.", model)

    def setter(value: Any, out: Out) -> None:
        if value not in (BUDGETS if old else LEVELS):
            raise Cannot(f"`reasoning_effort` {value}")
        out["generationConfig"]["thinkingConfig"] = (
            {"thinkingBudget": BUDGETS[value]} if old else {"thinkingLevel": value}
        )

    return setter


PARAMETERS: Mapping[str, rows.Setter] = {
    "max_tokens": _config("maxOutputTokens"), "max_completion_tokens": _config("maxOutputTokens"),
    "temperature": _config("temperature"), "top_p": _config("topP"), "top_k": _config("topK"), "n": _config("candidateCount"),
    "seed": _config("seed"), "presence_penalty": _config("presencePenalty"), "stop": _stop, "tools": _tools,
    "frequency_penalty": _config("frequencyPenalty"), "logprobs": _config("responseLogprobs"),
    "top_logprobs": _config("logprobs"), "tool_choice": _tool_choice, "response_format": _response_format,
}  # fmt: skip


async def look(web: Web, target: Target) -> Seen:
    """Its list of models needs the key, so it tells about both."""
    url = f"{target.base_url}/models?pageSize=1000"
    data, trouble, _ = await looks.ask(web, url, {"x-goog-api-key": target.key or ""})
    if trouble is not None:
        return looks.keyed(target, trouble)
    listed = tuple(name.removeprefix("models/") for name in looks.names(looks.table(data, "models"), "name"))
    known = target.model.removeprefix("models/") in listed
    return Seen(
        True, "" if known or not listed else looks.lacking(target, listed), target.model if known else None, listed
    )
