"""Ollama in its own shape: there alone a call can say how large a window it needs and that nothing may be cut away.

Through its OpenAI-compatible address it would drop the oldest turns of a long prompt without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure, Usage
from worker.backends import Sendable, answers, failures, lenient, looks, rows
from worker.backends.exchange import Response
from worker.backends.lenient import count
from worker.backends.looks import Seen
from worker.backends.rows import Cannot, Out

if TYPE_CHECKING:
    from worker.backends.http import Web

FINISH = {"stop": "stop", "length": "length"}
EFFORTS: Mapping[str, bool | str] = {"none": False, "low": "low", "medium": "medium", "high": "high"}


class Message(msgspec.Struct, frozen=True):
    content: str | None = None
    tool_calls: list[Any] | None = None


class Answer(msgspec.Struct, frozen=True):
    message: Message | None = None
    done_reason: str | None = None
    model: str | None = None
    prompt_eval_count: int | None = None
    prompt_eval_cached_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Answer)


class Ollama:
    """See `Adapter`."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        body = rows.read(item_body)
        if isinstance(body, Failure):
            return body
        options: Out = {}
        out: Out = {"model": target.model, "stream": False, "truncate": False, "shift": False, "options": options}
        # One window per target: a call with another one makes the server load the model again.
        if target.context_tokens:
            options["num_ctx"] = target.context_tokens
        if target.lane == "cloud":
            options["num_predict"] = target.max_output_tokens
        try:
            out["messages"] = _messages(body["messages"])
            rows.translate(body, PARAMETERS, out)
        except Cannot as error:
            return rows.cannot(target, error)
        if out.pop("tool_choice", None) == "none":
            out.pop("tools", None)
        if schema is not None and target.structured_output and "response_format" not in body:
            out["format"] = schema
        headers = {"content-type": "application/json", **looks.bearer(target)}
        return f"{looks.root_of(target.base_url or '')}/api/chat", headers, rows.as_json(out)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        answer = failures.shaped(target, response, _DECODER)
        if not isinstance(answer, Answer):
            return answer
        if answer.error:
            return failures.inside(target, response, "text")
        message = answer.message or Message()
        into = count(answer.prompt_eval_count)
        usage = Usage(into, min(count(answer.prompt_eval_cached_count), into), 0, count(answer.eval_count), 0)
        calls = bool(message.tool_calls)
        finish = "tool" if calls else answers.finish_of(answer.done_reason, FINISH)
        return answers.completed(message.content or "", finish, usage, answer.model, calls)


ADAPTER = Ollama()


# -- messages ----------------------------------------------------------------------------------------------------------


def _messages(messages: list[Any]) -> list[dict[str, Any]]:
    names = rows.called_names(messages)
    return [_message(message, names) for message in messages]


@rows.formed("a message")
def _message(message: Any, names: Mapping[str, str]) -> dict[str, Any]:
    role = rows.role_of(message)
    texts: list[str] = []
    images: list[str] = []
    for part in rows.parts(message.get("content")):
        if part.get("type") == "image_url":
            inline = rows.data_url(rows.image_url(part))
            if inline is None:
                raise Cannot("an image by URL (it takes base64 only)")
            images.append(inline[1])
        else:
            texts.append(rows.text_of([part], role))
    said: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": "\n".join(texts)}
    if images:
        said["images"] = images
    if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        calls = rows.calls_of(message)
        said["tool_calls"] = [{"function": {"name": name, "arguments": arguments}} for _, name, arguments in calls]
    if role == "tool":
        said["tool_name"] = names.get(str(message.get("tool_call_id")), str(message.get("name") or "tool"))
    return said


# -- parameters --------------------------------------------------------------------------------------------------------


_option = partial(rows.put, within="options")


def _stop(value: Any, out: Out) -> None:
    out["options"]["stop"] = rows.stops(value)


def _tools(value: Any, out: Out) -> None:
    if any(function.get("strict") for function in rows.functions(value)):
        raise Cannot("`strict` tools")
    out["tools"] = value


def _tool_choice(value: Any, out: Out) -> None:
    if value != "none":
        raise Cannot("`tool_choice`")
    out["tool_choice"] = "none"


def _response_format(value: Any, out: Out) -> None:
    if value["type"] not in ("json_schema", "json_object"):
        raise Cannot(f"`response_format` {value['type']}")
    out["format"] = rows.wanted_schema(value) if value["type"] == "json_schema" else "json"


def _effort(value: Any, out: Out) -> None:
    if value not in EFFORTS:
        raise Cannot(f"`reasoning_effort` {value}")
    out["think"] = EFFORTS[value]


PARAMETERS: Mapping[str, rows.Setter] = {
    "max_tokens": _option("num_predict"), "max_completion_tokens": _option("num_predict"),
    "temperature": _option("temperature"), "top_p": _option("top_p"), "top_k": _option("top_k"),
    "min_p": _option("min_p"), "seed": _option("seed"), "presence_penalty": _option("presence_penalty"),
    "frequency_penalty": _option("frequency_penalty"), "stop": _stop, "tools": _tools, "tool_choice": _tool_choice,
    "response_format": _response_format, "reasoning_effort": _effort, "keep_alive": rows.put("keep_alive"),
    "logprobs": rows.put("logprobs"), "top_logprobs": rows.put("top_logprobs"),
}  # fmt: skip


async def look(web: Web, target: Target) -> Seen:
    """What is installed, what is loaded with which window, and the largest window that the model knows. How many calls it
    takes at once, it tells nobody."""
    root, headers = looks.root_of(target.base_url or ""), looks.bearer(target)
    data, trouble, _ = await looks.ask(web, f"{root}/api/tags", headers)
    if trouble is not None:
        return looks.keyed(target, trouble)
    listed = looks.names(looks.table(data, "models"), "name", "model")
    running, _, _ = await looks.ask(web, f"{root}/api/ps", headers)
    loaded = looks.table(running, "models")
    mine = next((row for row in loaded if _same(row.get("name") or row.get("model"), target.model)), None)
    other = next(iter(looks.names(loaded, "name", "model")), None)
    if mine is None and not any(_same(name, target.model) for name in listed):
        return Seen(False, f"{looks.lacking(target, listed)}; run: ollama pull {target.model}", other, listed)
    most = target.context_tokens or await _largest(web, root, headers, target.model)
    if mine is None:
        now = f" ({other} is)" if other else ""
        return Seen(True, f"{target.model} is not loaded{now}; the first call loads it", other, listed, None, most)
    window, size, on_gpu = (looks.whole(mine.get(name)) for name in ("context_length", "size", "size_vram"))
    slow = size is not None and type(mine.get("size_vram")) is int and (on_gpu or 0) < size
    reason = f"{target.model} is partly on the CPU, so it is slow" if slow else ""
    return Seen(True, reason, target.model, listed, None, most or window, window, on_gpu)


_known: dict[tuple[str, str], int | None] = {}
"""Largest windows by server and model; they do not change while the model is there."""
_KEPT = 1_000


async def _largest(web: Web, root: str, headers: Mapping[str, str], model: str) -> int | None:
    """The window that a model was made for, from /api/show."""
    if (root, model) not in _known:
        given = {"content-type": "application/json", **headers}
        answer = await web.post(f"{root}/api/show", given, rows.as_json({"model": model}))
        if not isinstance(answer, Response) or answer.status != 200:
            return None
        data = lenient.decode(answer.body)
        facts = data.get("model_info") if type(data) is dict else None
        told = facts.items() if type(facts) is dict else ()
        if len(_known) >= _KEPT:
            _known.clear()
        _known[root, model] = next((looks.whole(v) for k, v in told if str(k).endswith(".context_length")), None)
    return _known[root, model]


def _same(name: Any, wanted: str) -> bool:
    return type(name) is str and (name == wanted or name == f"{wanted}:latest")
