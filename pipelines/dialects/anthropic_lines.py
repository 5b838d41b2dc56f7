"""Anthropic's Message Batches in our rows and back: one request becomes a batch line, one result its result line.

A request that cannot be asked becomes a line all the same, which carries the reason to its result. It reads no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from pipelines.dialects.anthropic_chat import chat
from pipelines.dialects.anthropic_turns import Cannot
from pipelines.dialects.completions import completion
from pipelines.dialects.endpoints import CHAT_URL
from pipelines.dialects.openai_lines import answered
from pipelines.dialects.parameters import flaw, shown
from pipelines.dialects.said import count, decoded, is_message, tables
from pipelines.shard import ROW_MAX_BYTES

ENDPOINT = "/v1/messages"
"""What a batch of messages says it asks."""
REFUSED = "refused"
"""The field, and later the tag, of a line that cannot be asked: the error's type and its message."""
RESULTS = ("succeeded", "errored", "canceled", "expired")
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_encode = msgspec.json.Encoder().encode

Row = Mapping[str, Any]


# -- in ----------------------------------------------------------------------------------------------------------------


def envelope(number: int, request: Any) -> tuple[str, dict[str, Any]]:
    """A request's id and params; Cannot for what fails the whole batch. Requests count from 0, as Anthropic has it."""
    where = f"requests.{number}"
    if type(request) is not dict:
        raise Cannot(f"{where}: Input should be an object")
    for name in ("custom_id", "params"):
        if name not in request:
            raise Cannot(f"{where}.{name}: Field required")
    for name in request:
        if name not in ("custom_id", "params"):
            raise Cannot(f"{where}.{name[:40]}: Extra inputs are not permitted")
    custom_id, params = request["custom_id"], request["params"]
    if type(custom_id) is not str or not _CUSTOM_ID.fullmatch(custom_id):
        raise Cannot(f"{where}.custom_id: it must be 1 to 64 letters, digits, `_` and `-`, not {shown(custom_id)}")
    if type(params) is not dict:
        raise Cannot(f"{where}.params: Input should be an object")
    return custom_id, params


def line_of(custom_id: str, params: Mapping[str, Any], models: Container[str] | None) -> bytes:
    """The request as a line of a batch file; one that cannot be asked becomes a line that is answered with the reason.
    `models` are those that may be asked, None: any."""
    try:
        if (found := flaw(params)) is not None:
            raise Cannot(found[1])
        line = _encode({"custom_id": custom_id, "method": "POST", "url": CHAT_URL, "body": chat(params, models)})
        if len(line) > ROW_MAX_BYTES:
            raise Cannot(
                f"params: {len(line)} bytes; a request may have {ROW_MAX_BYTES >> 20} MiB", "request_too_large"
            )
        return line
    except Cannot as error:
        return _encode({"custom_id": custom_id, "messages": [], REFUSED: [error.kind, str(error)]})
    except UnicodeEncodeError:
        broken = ["invalid_request_error", "params: a text with half a character (a lone surrogate)"]
        return _encode({"custom_id": custom_id, "messages": [], REFUSED: broken})


# -- out ---------------------------------------------------------------------------------------------------------------

_NOT_RUN = {"cancelled": "canceled", "expired": "expired"}
_STOPS = {
    "length": "max_tokens", "max_tokens": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
    "tool": "tool_use", "content_filter": "refusal", "filter": "refusal", "refusal": "refusal",
}  # fmt: skip
_UNTOLD = dict.fromkeys(("cache_creation", "inference_geo", "output_tokens_details", "server_tool_use", "service_tier"))
"""What a usage must have, and what only Anthropic's own servers know."""
_ERRORS = {400: "invalid_request_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}


def fate(status: str) -> str:
    """What Anthropic calls a row's end."""
    return "succeeded" if answered(status) else _NOT_RUN.get(status, "errored")


def tally(statuses: Iterable[str]) -> dict[str, int]:
    """How many requests ended how."""
    counts = Counter(fate(status) for status in statuses)
    return {name: counts[name] for name in RESULTS}


def result_of(row: Row) -> dict[str, Any]:
    """The result line of a row of results.parquet."""
    kind = fate(row["status"])
    if kind == "succeeded":
        return ended(row["custom_id"], kind, message=_message(row))
    return ended(row["custom_id"], kind, **({"error": _error(row)} if kind == "errored" else {}))


def ended(custom_id: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "result": {"type": kind, **more}}


def error(kind: str, message: str) -> dict[str, Any]:
    """An error as Anthropic writes it, in a result as in a reply. A reply's id is in its headers, so that what is said of
    another's object is the same each time."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


def _error(row: Row) -> dict[str, Any]:
    said = decoded(row["tags"]).get(REFUSED)
    if row["status"] == "invalid" and type(said) is list and len(said) == 2:
        return error(str(said[0]), str(said[1]))
    kind = _ERRORS.get(row["http_status"] or (400 if row["status"] == "invalid" else 500), "api_error")
    return error(kind, row["error_message"] or "The request could not be answered.")


def _message(row: Row) -> dict[str, Any]:
    """The answer as a message: as it came, where it came from Anthropic itself."""
    own = decoded(row["response"])
    if is_message(own):
        return own
    answer = completion(row)
    choice = next(iter(tables(answer["choices"])), {})
    said: dict[str, Any] = choice["message"] if type(choice.get("message")) is dict else {}
    text = row["output"] or said.get("refusal")
    id_ = f"{row['run_id']}_{row['row']}"
    content: list[dict[str, Any]] = []
    if type(text) is str and text:
        content.append({"type": "text", "text": text, "citations": None})
    for number, call in enumerate(tables(said.get("tool_calls"))):
        if used := _tool_use(call, f"toolu_{id_}_{number}"):
            content.append(used)
    stopped_by = choice.get("stop_reason")  # which stop sequence it was: vLLM says so, OpenAI does not
    stop = _STOPS.get(str(choice.get("finish_reason") or row["finish_reason"]), "end_turn")
    if row["status"] == "refused" or said.get("refusal"):
        stop = "refusal"
    elif type(stopped_by) is str and stop == "end_turn":
        stop = "stop_sequence"
    return {
        "id": f"msg_{id_}", "type": "message", "role": "assistant", "model": row["model"] or "",
        "content": content, "stop_reason": stop, "stop_sequence": stopped_by if stop == "stop_sequence" else None,
        "stop_details": None, "container": None, "usage": _usage(row, answer.get("usage")),
    }  # fmt: skip


def _tool_use(call: dict[str, Any], id_: str) -> dict[str, Any] | None:
    """Under the call's own id, where it has one."""
    function = call.get("function")
    if type(function) is not dict:
        return None
    into = decoded(function.get("arguments"))
    said = {"id": call.get("id") or id_, "name": function.get("name") or "", "input": into}
    return {"type": "tool_use", **said, "caller": {"type": "direct"}}


def _usage(row: Row, told: Any) -> dict[str, Any]:
    """Tokens; cached ones are not among `input_tokens`. A reused answer has those that its first asking took."""
    said = told if type(told) is dict else {}
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if type(details) is dict else None
    into, out, read, written = (
        row["input_tokens"] or count(said.get("prompt_tokens")),
        row["output_tokens"] or count(said.get("completion_tokens")),
        row["cached_input_tokens"] or count(cached),
        row["cache_write_tokens"] or 0,
    )
    return {
        "input_tokens": max(0, into - read - written), "output_tokens": out, "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written, **_UNTOLD,
    }  # fmt: skip
