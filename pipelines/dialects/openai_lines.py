"""OpenAI's batch lines: what is wrong with one that comes in, and the line that goes out for a result.

It reads no file. Over OpenAI's API one wrong line fails its whole file, so this is stricter than `shard.py`, whose wrong
rows become results. Texts are OpenAI's where programs are known to look at them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import msgspec

from pipelines.dialects.completions import inside
from pipelines.dialects.endpoints import CHAT_URL, ENDPOINTS
from pipelines.dialects.parameters import shown
from pipelines.shard import ID_MAX_CHARS, ROW_MAX_BYTES

REQUIRED = ("custom_id", "method", "url", "body")
NOT_RUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}

_ASKED: Mapping[str, tuple[tuple[type, ...], str, str]] = {
    "messages": ((list,), "a messages", "a list with at least one message"),
    "input": ((str, list), "an input", "a text, or a list with at least one item"),
}

Row = dict[str, Any]


class Wrong(msgspec.Struct, frozen=True):
    """Why a file is refused; `line` counts from 1."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Line(msgspec.Struct, frozen=True):
    """What must be known of a line that is in order."""

    custom_id: str
    model: str


def unreadable(line: int, size_bytes: int | None = None) -> Wrong:
    """A line that is no JSON, or too long to be looked at."""
    if size_bytes is not None:
        most = f"{ROW_MAX_BYTES >> 20} MiB"
        return Wrong("invalid_request", f"This line has {size_bytes} bytes; a line may have {most}.", None, line)
    return Wrong("invalid_json_line", "This line is not parseable as valid JSON.", None, line)


def checked(line: int, record: Any, endpoint: str, models: Container[str] | None) -> Line | Wrong:
    """One decoded line; the first thing that is wrong with it. `models` are those that may be asked, None: any."""
    if type(record) is not dict:
        return Wrong("invalid_request", "Each line must be a JSON object.", None, line)
    for name in REQUIRED:
        if record.get(name) is None:
            return Wrong("missing_required_parameter", f"Missing required parameter: '{name}'.", name, line)
    custom_id = record["custom_id"]
    if type(custom_id) is not str or not 0 < len(custom_id) <= ID_MAX_CHARS:
        message = f"Invalid 'custom_id': it must be a text of 1 to {ID_MAX_CHARS} characters."
        return Wrong("invalid_request", message, "custom_id", line)
    if record["method"] != "POST":
        return Wrong("invalid_request", f"Invalid method {shown(record['method'])}: it must be 'POST'.", "method", line)
    if record["url"] != endpoint:
        message = f"The URL provided for this request does not match the batch endpoint '{endpoint}'."
        return Wrong("invalid_url", message, "url", line)
    if type(record["body"]) is not dict:
        return Wrong("invalid_request", "Invalid 'body': it must be an object.", "body", line)
    wrong = _body(line, record["body"], ENDPOINTS[endpoint].asks, models)
    return wrong or Line(custom_id, record["body"]["model"])


def _body(line: int, body: Row, asks: str, models: Container[str] | None) -> Wrong | None:
    model = body.get("model")
    if body.get("stream"):
        return Wrong("streaming_unsupported", "Streaming is not supported in the Batch API.", "body.stream", line)
    if type(model) is not str or not model:
        return Wrong("invalid_request", "You must provide a model parameter.", "body.model", line)
    if models is not None and model not in models:
        message = f"The provided model {shown(model)} is not supported by the Batch API."
        return Wrong("model_not_found", message, "body.model", line)
    if not body.get(asks) or type(body[asks]) not in _ASKED[asks][0]:
        message = f"You must provide {_ASKED[asks][1]} parameter: {_ASKED[asks][2]}."
        return Wrong("invalid_request", message, f"body.{asks}", line)
    return None


def repeated(line: int, custom_id: str) -> Wrong:
    message = f"The custom_id {shown(custom_id)} occurs more than once in this file; it must be unique."
    return Wrong("duplicate_custom_id", message, "custom_id", line)


# -- out ---------------------------------------------------------------------------------------------------------------


def answered(status: str) -> bool:
    """Whether a result belongs into the output file; all others are errors."""
    return status in ("ok", "duplicate", "refused")


def line_of(row: Mapping[str, Any], endpoint: str = CHAT_URL) -> Row:
    """The line of a batch's output or error file that says what became of a row of results.parquet."""
    request = f"batch_req_{row['run_id']}_{row['row']}"
    line: Row = {"id": request, "custom_id": row["custom_id"] or str(row["row"]), "response": None, "error": None}
    status = row["status"]
    if answered(status):
        return {**line, "response": _response(200, request, ENDPOINTS[endpoint].answer(row))}
    if status in NOT_RUN:
        code, message = NOT_RUN[status]
        return {**line, "error": {"code": code, "message": message}}
    kind = "server_error" if status == "failed" else "invalid_request_error"
    error = {"message": row["error_message"], "type": kind, "param": None, "code": row["error_code"]}
    http_status = row["http_status"] or (400 if status == "invalid" else 500)
    return {**line, "response": _response(http_status, request, {"error": error})}


def _response(status: int, request: str, body: Any) -> Row:
    return {"status_code": status, "request_id": request, "body": body}


def embedded(text: str | None) -> Any:
    """JSON inside JSON as itself; what is no JSON stays text."""
    if text is None:
        return None
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return inside(text)
