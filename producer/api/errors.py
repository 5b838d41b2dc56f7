"""One shape for every error that leaves the server, FastAPI's and Starlette's own included; no traceback ever does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from pipelines.dialects import anthropic_lines
from pipelines.errors import ConfigError, QueueError, SourceError, StoreError, UsageError
from pipelines.printable import one_line
from producer.queue import RedisError

log = logging.getLogger("spillway.api")

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
RETRY_S = 2
Answer = Callable[[Request, Exception], Awaitable[Response]]
ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    409: "invalid_request_error", 413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}  # fmt: skip


class ApiError(HTTPException):
    """An error that the client is told: status, message, and for programs `code` and `param`. FastAPI lets this kind
    pass unchanged where it hides others, in the reading of a body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code, self.param = code, param


def body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def not_found(what: str, name: str, param: str | None = None) -> ApiError:
    """The same for what does not exist and for what is somebody else's."""
    return ApiError(404, f"No {what} found with id '{name[:100]}'.", param=param)


def conflict(message: str) -> ApiError:
    """409; official clients would try again by themselves, and it would not help."""
    return ApiError(409, message, headers={"x-should-retry": "false"})


def source_changed(what: str, error: SourceError) -> ApiError:
    """A retry whose source is not what it was. The log has the source's own name: to a client it is a path of the server."""
    log.warning("a %s cannot be retried: %s", what, one_line(str(error)))
    return conflict(f"Cannot retry this {what}: its source changed since it began, or cannot be read any more.")


def unavailable(message: str) -> ApiError:
    return ApiError(503, message, code="unavailable", headers={"retry-after": str(RETRY_S)})


def install(app: FastAPI) -> None:
    for kind, answer in _answers():
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """What FastAPI would answer."""
    told = next(each for kind, each in _answers() if isinstance(error, kind))
    if told is _internal:
        log.exception("%s %s failed", request.method, request.url.path)
    return await told(request, error)


def _answers() -> tuple[tuple[type[Exception], Answer], ...]:
    """A new kind of error is one line here; the first that fits answers."""
    return (
        (ApiError, _told), (RequestValidationError, _invalid), (HTTPException, _plain), (ClientDisconnect, _gone),
        (UsageError, _usage), (QueueError, _lost), (RedisError, _lost), (StoreError, _full), (ConfigError, _mistaken),
        (Exception, _internal),
    )  # fmt: skip


def is_anthropics(scope: Scope) -> bool:
    """Whether who asks knows Anthropic's shapes and names."""
    return str(scope["path"]).startswith(anthropic_lines.ENDPOINT)


def respond(error: ApiError, scope: Scope) -> JSONResponse:
    """In the shape that callers of its path know: Anthropic's for its own, OpenAI's everywhere else."""
    status = error.status_code
    if is_anthropics(scope):
        kind = ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        shown = anthropic_lines.error(kind, error.detail)
        return JSONResponse(shown, status, error.headers)
    return JSONResponse(body(status, error.detail, error.code, error.param), status, error.headers)


async def _told(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return respond(error, request.scope)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own checks of paths, queries and bodies: 400, as OpenAI has it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")) or None
    codes = {"missing": "missing_required_parameter", "json_invalid": "invalid_json"}
    message = f"Invalid value for '{param}': {first['msg']}." if param else f"Invalid request: {first['msg']}."
    return respond(ApiError(400, message, code=codes.get(first["type"], "invalid_value"), param=param), request.scope)


async def _plain(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = {404: f"Unknown request URL: {request.method} {request.url.path[:200]}."}
    told = ApiError(error.status_code, message.get(error.status_code, f"{error.detail}."), headers=error.headers)
    return respond(told, request.scope)


async def _gone(request: Request, error: Exception) -> JSONResponse:
    """Nobody reads this; it is counted."""
    return respond(ApiError(400, "The client has hung up."), request.scope)


async def _usage(request: Request, error: Exception) -> JSONResponse:
    return respond(ApiError(400, str(error)), request.scope)


async def _lost(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, one_line(str(error)))
    return respond(unavailable("The queue cannot be reached at the moment; try again."), request.scope)


async def _full(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s: %s", request.method, request.url.path, one_line(str(error)))
    return respond(
        unavailable("The storage of this server cannot be used at the moment; try again later."), request.scope
    )


async def _mistaken(request: Request, error: Exception) -> JSONResponse:
    """A file that the configuration names and that has changed since the server began."""
    log.error("%s %s: %s", request.method, request.url.path, one_line(str(error)))
    return respond(
        unavailable("The configuration of this server is not in order at the moment; try again later."), request.scope
    )


async def _internal(request: Request, error: Exception) -> JSONResponse:
    return respond(
        ApiError(500, "The server had an error while processing your request.", code="internal_error"), request.scope
    )
