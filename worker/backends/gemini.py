"""Google's Gemini API in its own shape, which alone tells thinking tokens and why a prompt was blocked: how it is asked. What
its answers mean is gemini_answers.py's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure
from worker.backends import Sendable, lenient, looks, rows
from worker.backends.exchange import Response
from worker.backends.gemini_answers import heard
from worker.backends.looks import Seen
from worker.backends.rows import Cannot, Out

if TYPE_CHECKING:
    from worker.backends.http import Web

BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
LEVELS = frozenset({"minimal", "low", "medium", "high"})
IMAGES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "heic": "image/heic"}
AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3"}
UNSIGNED = "skip_thought_signature_validator"
"""Gemini 3 wants its own signature back on the first call of each turn, and takes this where a turn is not its own."""


class Gemini:
    """See `Adapter`."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        body = rows.read(item_body)
        if isinstance(body, Failure):
            return body
        config: Out = {"maxOutputTokens": target.max_output_tokens}
        out: Out = {"generationConfig": config}
        try:
            says = _says(target.model, body["messages"])
            system, out["contents"] = rows.conversation(body["messages"], says, "model", "parts")
            rows.translate(body, {**PARAMETERS, "reasoning_effort": _thinking(target.model)}, out)
        except Cannot as error:
            return rows.cannot(target, error)
        if system:
            out["systemInstruction"] = {"parts": system}
        if schema is not None and target.structured_output and "response_format" not in body:
            config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
        headers = {"content-type": "application/json", "x-goog-api-key": target.key or ""}
        model = target.model.removeprefix("models/")
        return f"{target.base_url}/models/{model}:generateContent", headers, rows.as_json(out)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        return heard(target, response)


ADAPTER = Gemini()


# -- messages ----------------------------------------------------------------------------------------------------------


def _says(model: str, messages: list[Any]) -> Mapping[str, rows.Says]:
    names, signed = rows.called_names(messages), not _is_old(model)
    return {
        "system": lambda message: [{"text": rows.text_of(message.get("content"), "system")}],
        "user": lambda message: [_part(part) for part in rows.parts(message.get("content"))],
        "assistant": lambda message: _assistant(message, signed),
        "tool": lambda message: [_result(message, names)],
    }


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"text": str(part.get("text") or "")}
        case "image_url":
            url = rows.image_url(part)
            inline = rows.data_url(url)
            if inline is None:
                return {"fileData": {"mimeType": _type_of(url), "fileUri": url}}
            if not inline[0].lower().startswith("image/"):  # what else it is counts otherwise than was reserved
                raise Cannot(f"`image_url` of type {inline[0]}")
            return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
        case "file":
            media, data = rows.file_data(part)
            return {"inlineData": {"mimeType": media, "data": data}}
        case "input_audio":
            audio = part.get("input_audio") or {}
            if audio.get("format") in AUDIO:
                return {"inlineData": {"mimeType": AUDIO[audio["format"]], "data": audio.get("data")}}
    raise Cannot(f"`{part.get('type')}` content")


def _type_of(url: str) -> str:
    media = IMAGES.get(urlsplit(url).path.rpartition(".")[2].lower())
    if media is None or not url.startswith("https://"):
        raise Cannot("an image by URL unless it is https and ends in its type (.png, .jpg); base64 always works")
    return media


def _assistant(message: dict[str, Any], signed: bool) -> list[dict[str, Any]]:
    text = rows.text_of(message.get("content"), "assistant") or str(message.get("refusal") or "")
    calls: list[dict[str, Any]] = []
    for call, (id_, name, input_) in zip(message.get("tool_calls") or (), rows.calls_of(message), strict=True):
        part: dict[str, Any] = {"functionCall": {**({"id": id_} if id_ else {}), "name": name, "args": input_}}
        google = (call.get("extra_content") or {}).get("google") or {}
        if signature := google.get("thought_signature") or (UNSIGNED if signed and not calls else ""):
            part["thoughtSignature"] = signature
        calls.append(part)
    return [*([{"text": text}] if text or not calls else []), *calls]


def _result(message: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    text = rows.text_of(message.get("content"), "tool")
    data, id_ = lenient.decode(text.encode()), str(message.get("tool_call_id") or "")
    said: dict[str, Any] = {"name": names.get(id_, str(message.get("name") or "tool"))}
    if id_:
        said["id"] = id_
    return {"functionResponse": {**said, "response": data if type(data) is dict else {"result": text}}}


# -- parameters --------------------------------------------------------------------------------------------------------


_config = partial(rows.put, within="generationConfig")


def _stop(value: Any, out: Out) -> None:
    out["generationConfig"]["stopSequences"] = rows.stops(value)


def _tools(value: Any, out: Out) -> None:
    known = (("name", "name"), ("description", "description"), ("parameters", "parametersJsonSchema"))
    functions = rows.functions(value)
    declared = [{there: each[here] for here, there in known if each.get(here) is not None} for each in functions]
    out["tools"] = [{"functionDeclarations": declared}]
    if any(each.get("strict") for each in functions):  # any other mode than AUTO keeps to the schemas
        out.setdefault("toolConfig", {"functionCallingConfig": {"mode": "VALIDATED"}})


def _tool_choice(value: Any, out: Out) -> None:
    if type(value) is str:
        config: dict[str, Any] = {"mode": {"none": "NONE", "required": "ANY"}[value]}
    else:
        config = {"mode": "ANY", "allowedFunctionNames": [value["function"]["name"]]}
    out["toolConfig"] = {"functionCallingConfig": config}


def _response_format(value: Any, out: Out) -> None:
    if value["type"] not in ("json_schema", "json_object"):
        raise Cannot(f"`response_format` {value['type']}")
    out["generationConfig"]["responseMimeType"] = "application/json"
    if value["type"] == "json_schema":
        out["generationConfig"]["responseJsonSchema"] = rows.wanted_schema(value)


def _is_old(model: str) -> bool:
    """Before Gemini 3 thinking is limited in tokens, since then by a word; and calls were not signed."""
    return re.search(r"gemini-[12]\.", model) is not None


def _thinking(model: str) -> rows.Setter:
    old = _is_old(model)

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
