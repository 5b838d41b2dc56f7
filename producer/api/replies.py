"""What is said to somebody who waits for one row: its answer in the form of the endpoint that was asked, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from pipelines.dialects import openai_lines
from pipelines.dialects.completions import completion
from pipelines.dialects.endpoints import CHAT_URL, RESPONSES_URL
from pipelines.dialects.responses import response
from pipelines.told import Key, Row
from producer.api import errors, streams
from producer.api.errors import ApiError

NOT_RETRIED = {"x-should-retry": "false"}
"""It was tried here as often as it makes sense; official clients would try again by themselves."""

_encode = msgspec.json.Encoder().encode

Body = dict[str, Any]
Asked = Mapping[str, Any]


class Form(NamedTuple):
    """How one endpoint speaks."""

    url: str
    kind: str
    prefix: str
    """Of the ids under which its answers are found."""
    body: Callable[[Row, Asked | None], Body]
    stream: Callable[[Body, bool], Iterator[bytes]]

    def id(self, key: Key) -> str:
        return f"{self.prefix}{key[0]}-{key[1]}"

    def key(self, name: str) -> Key | None:
        """The row of such an id."""
        run_id, _, row = name.removeprefix(self.prefix).rpartition("-")
        good = name.startswith(self.prefix) and row.isascii() and row.isdecimal() and len(row) < 16
        return (run_id, int(row)) if good else None


CHAT = Form(CHAT_URL, "chat.completion", "chatcmpl-", lambda row, _: completion(row), streams.chunks)
RESPONSES = Form(RESPONSES_URL, "response", "resp_", response, streams.events)


def accepted(form: Form, key: Key, headers: dict[str, str]) -> Response:
    shown = {"id": form.id(key), "object": f"{form.kind}.accepted", "spillway": _where(form, key)}
    return _json(shown, 202, headers)


def streamed(form: Form, row: Row, key: Key, asked: Asked, usage_too: bool) -> Response:
    """An answer as a stream; an error is never one."""
    if not openai_lines.answered(row["status"]):
        return told(form, row, key, {})
    return Response(b"".join(form.stream(_answer(form, row, key, asked), usage_too)), media_type="text/event-stream")


def told(form: Form, row: Row, key: Key, headers: dict[str, str], asked: Asked | None = None) -> Response:
    """An answer, or OpenAI's error."""
    if openai_lines.answered(row["status"]):
        return _json(_answer(form, row, key, asked), 200, headers)
    status, code, message = _failure(row)
    shown = {**errors.body(status, message, code), "spillway": _where(form, key)}
    return _json(shown, status, {**headers, **NOT_RETRIED})


def pending(form: Form, key: Key, blocked: str) -> ApiError:
    """The wait is over and the answer is not there: why, where that is known, and where it will be."""
    later = f"ask GET {form.url}/{form.id(key)} for it"
    if blocked.startswith("budget"):
        return ApiError(429, f"{blocked}; {later}.", code="insufficient_quota", headers=NOT_RETRIED)
    why = f" ({blocked})" if blocked else ""
    return ApiError(504, f"No answer yet{why}; {later}.", code="answer_pending", headers=NOT_RETRIED)


def _json(body: Body, status: int, headers: dict[str, str]) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


def _where(form: Form, key: Key) -> Body:
    return {"id": form.id(key), "run": key[0], "row": key[1]}


def _answer(form: Form, row: Row, key: Key, asked: Asked | None) -> Body:
    """With what Spillway knows of it beside."""
    known = {"lane": row["lane"], "status": row["status"], "cost_usd": row["cost_usd"]}
    if row["status"] == "duplicate":
        known |= {"duplicate_of": row["duplicate_of"], "duplicate_run": row["duplicate_run"] or key[0]}
    return {**form.body(row, asked), "id": form.id(key), "spillway": {**_where(form, key), **known}}


def _failure(row: Row) -> tuple[int, str, str]:
    """Status, code and message of a row without an answer."""
    code, message = row["error_code"] or row["status"], row["error_message"] or f"The request ended {row['status']}."
    if row["status"] == "invalid":
        return 400, "context_length_exceeded" if code == "context_overflow" else code, message
    if row["status"] in openai_lines.NOT_RUN:
        return (409 if row["status"] == "cancelled" else 504), code, message
    http_status = row["http_status"] or 0
    return (http_status if http_status in (400, 404, 413, 422) else 502), code, message
