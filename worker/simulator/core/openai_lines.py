"""The input lines of an OpenAI batch: each becomes a request, or an error with its line number; and the replies that
files and batches share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.batches import Line
from worker.simulator.core.chat import chat_body, fail_chat, read_chat_body
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, client_key
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.responses import read_responses_body, responses_body
from worker.simulator.core.server import Server

Reader = Callable[[bytes], Ask | Problem]
Shape = Callable[[Server, Ask, Answer], dict[str, Any]]

ENDPOINTS: dict[str, tuple[Reader, Shape]] = {
    "/v1/chat/completions": (read_chat_body, chat_body),
    "/v1/responses": (read_responses_body, responses_body),
}


def read_lines(data: bytes, endpoint: str, errors: list[dict[str, Any]]) -> Iterator[Line]:
    seen: set[str] = set()
    read, _ = ENDPOINTS[endpoint]
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not raw.strip():
            continue
        try:
            row = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            errors.append(line_error("invalid_json_line", "This line is not parseable as valid JSON.", None, number))
            continue
        problem = _row_problem(row, endpoint, seen, number)
        if problem is not None:
            errors.append(problem)
            continue
        seen.add(row["custom_id"])
        yield Line(row["custom_id"], read(msgspec.json.encode(row["body"])), endpoint)


def _row_problem(row: Any, endpoint: str, seen: set[str], number: int) -> dict[str, Any] | None:
    if not isinstance(row, dict):
        return line_error("invalid_request", "This line is not a JSON object.", None, number)
    for name in ("custom_id", "method", "url", "body"):
        if not row.get(name):
            return line_error("missing_required_parameter", f"Missing required parameter: '{name}'.", name, number)
    body = row["body"]
    checks = (
        (
            row["url"] != endpoint,
            "invalid_url",
            "The URL provided for this request does not match the batch endpoint.",
            "url",
        ),
        (
            str(row["custom_id"]) in seen,
            "duplicate_custom_id",
            "The custom_id of this line is not unique.",
            "custom_id",
        ),
        (not isinstance(body, dict), "invalid_request", "The body is not a JSON object.", "body"),
    )
    found = next((line_error(code, text, name, number) for failed, code, text, name in checks if failed), None)
    if found or not isinstance(body, dict):
        return found
    if body.get("stream"):
        return line_error("streaming_unsupported", "Streaming is not supported in batches.", "body.stream", number)
    if not body.get("model"):
        return line_error("invalid_request", "The model is missing.", "body.model", number)
    return None


def line_error(code: str, message: str, param: str | None, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}


def page(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": has_more}


def bad(message: str, param: str | None, code: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json_reply({"error": error}, 400)


def missing(what: str, identity: str) -> Reply:
    error = {
        "message": f"No {what} found with id '{identity}'.",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }
    return json_reply({"error": error}, 404)


def denied(server: Server, request: Request) -> Reply | None:
    key = server.config.api_key
    return fail_chat(server, PROBLEMS["401"]) if key is not None and client_key(request) != key else None
