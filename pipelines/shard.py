"""Turns one source record into a `Row`, or into a `BadRow` that says what is wrong with it.

Knows the row forms and the request's parameters; opens no files, and leaves context windows, repeated ids and prices
to later stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from math import isfinite
from typing import Any, NamedTuple

from pipelines.dialects.endpoints import CHAT_URL, ENDPOINTS
from pipelines.dialects.parameters import PARAMETERS, flaw, shown
from pipelines.dialects.responses import Cannot
from pipelines.types import BadRow, Row

ROW_MAX_BYTES = 16 << 20
ID_MAX_CHARS = 512
MESSAGE_MAX_CHARS = 500
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

_SPEAKING = ("tool_calls", "function_call", "refusal", "audio")
"""What an assistant's message may hold instead of content."""

NO_COLUMNS: frozenset[str] = frozenset()
_BATCH_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_TRANSPORT = frozenset({"model", "stream", "stream_options", "metadata", "messages"})
"""What a body may hold and `Row.body` does not: the engine decides these, or they have a place of their own."""


_ASKED = {"messages": "add a list of {role, content}", "input": "add a text or a list of items"}


class Problem(NamedTuple):
    """Why a record cannot be asked."""

    code: str
    message: str
    custom_id: str | None = None


class _Asked(NamedTuple):
    messages: Any
    params: Mapping[str, Any]
    model: Any


def parse_record(
    row: int, record: Mapping[str, Any], prompt: str | None = None, used: AbstractSet[str] = NO_COLUMNS
) -> Row | BadRow:
    """One record as a row. `prompt` is what a template made of it; the columns in `used` went into that template,
    so they are content: carried as tags, never read as parameters."""
    batch = prompt is None and type(record.get("body")) is dict
    if batch and record.get("messages") is None and record.get("prompt") is None:
        asked, tags = _batch_line(record)
    else:
        asked, tags = _plain_row(record, prompt, used)
    custom_id, problem = _custom_id(record)
    if record.get("custom_id") in (None, "") and "id" not in used:
        tags.pop("id", None)
    if (found := flaw(tags)) is not None:
        tags, problem = {}, problem or Problem(*found)
    if problem is None:
        if isinstance(asked, Problem):
            problem = asked
        elif isinstance(body := _body(asked), Problem):
            problem = body
        else:
            return Row(row, custom_id, asked.model or None, body, tags)
    return bad_row(row, problem._replace(custom_id=custom_id), tags)


def bad_row(row: int, problem: Problem, tags: dict[str, Any] | None = None) -> BadRow:
    """The result of a record that cannot be asked."""
    return BadRow(row, problem.custom_id, problem.code, problem.message[:MESSAGE_MAX_CHARS], tags or {})


def user_text(body: Mapping[str, Any]) -> str:
    """All that the user says, without the system prompt and without what assistants and tools said."""
    return "\n".join(_texts(body, ("user",)))


def system_text(body: Mapping[str, Any]) -> str:
    return "\n".join(_texts(body, ("system", "developer")))


def _texts(body: Mapping[str, Any], roles: tuple[str, ...]) -> list[str]:
    texts: list[str] = []
    for message in body["messages"]:
        if message["role"] in roles:
            content = message.get("content")
            if isinstance(content, str):
                texts.append(content)
            elif content:
                texts.extend(part["text"] for part in content if part["type"] == "text")
    return texts


# -- the forms of a row ------------------------------------------------------------------------------------------------


def _batch_line(record: Mapping[str, Any]) -> tuple[_Asked | Problem, dict[str, Any]]:
    """`{"custom_id", "method", "url", "body"}`; fields of the body that we do not know are the caller's and stay."""
    body = record["body"]
    tags = {name: value for name, value in record.items() if name not in _BATCH_FIELDS and value is not None}
    if body.get("metadata") is not None:
        tags["metadata"] = body["metadata"]
    url, method = CHAT_URL if record.get("url") is None else record["url"], record.get("method")
    if type(url) is not str or url not in ENDPOINTS:
        return Problem("unsupported_url", f"`url` is {shown(url)}; only {' and '.join(ENDPOINTS)} can be asked"), tags
    if method is not None and method != "POST":
        return Problem("unsupported_method", f"`method` is {shown(method)}; it must be POST"), tags
    asks = ENDPOINTS[url].asks
    if body.get(asks) is None:
        return Problem("no_prompt", f"`body` has no `{asks}`; {_ASKED[asks]}"), tags
    try:
        body = ENDPOINTS[url].chat(body)
    except Cannot as error:
        return Problem("unsupported_parameter", str(error)), tags
    model = tags.pop("model", None) if body.get("model") is None else body["model"]
    return _Asked(body["messages"], body, model), tags


def _plain_row(
    record: Mapping[str, Any], prompt: str | None, used: AbstractSet[str]
) -> tuple[_Asked | Problem, dict[str, Any]]:
    """A `messages` row, a `prompt` row, or a record that a template made a prompt of."""
    tags: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, value in record.items():
        if value is None or (name == "custom_id" and name not in used):
            continue
        if name not in used and (name in PARAMETERS or (name == "stream" and _asks_to_stream(value))):
            params[name] = value
        elif name != "stream_options" or name in used:
            tags[name] = value
    model = tags.pop("model", None) if "model" not in used else None
    messages: Any
    if prompt is not None:
        messages = [{"role": "user", "content": prompt}]
    elif "messages" in tags:
        messages = tags.pop("messages")
    elif "prompt" in tags:
        messages = [{"role": "user", "content": tags.pop("prompt")}]
        if type(messages[0]["content"]) is not str:
            return Problem("invalid_prompt", f"`prompt` must be text, not {shown(messages[0]['content'])}"), tags
    else:
        return _no_prompt(record), tags
    if "system" in tags and "system" not in used and not _has_system(messages):
        system = tags.pop("system")
        if type(system) is not str:
            return Problem("invalid_system", f"`system` must be text, not {shown(system)}"), tags
        if system and type(messages) is list:
            messages = [{"role": "system", "content": system}, *messages]
    return _Asked(messages, params, model), tags


def _asks_to_stream(value: Any) -> bool:
    """Whether a column `stream` is the parameter; a text ("news", a video stream's name) is a column like any other."""
    return type(value) is not str or value.strip().lower() in ("true", "yes", "on")


def _has_system(messages: Any) -> bool:
    first = messages[0] if type(messages) is list and messages else None
    return type(first) is dict and first.get("role") in ("system", "developer")


def _no_prompt(record: Mapping[str, Any]) -> Problem:
    if record.get("body") is not None:
        return Problem("no_prompt", f"`body` must be an object with `messages`, not {shown(record['body'])}")
    for name in ("prompt", "messages"):
        if name in record:
            return Problem("no_prompt", f"`{name}` is null; fill it in or leave the row out")
    found = ", ".join(shown(name) for name in list(record)[:8]) or "nothing"
    remedy = "rename the column that holds the prompt, or give --template"
    return Problem("no_prompt", f"no `messages`, `prompt` or `body`; found {found}: {remedy}")


def _custom_id(record: Mapping[str, Any]) -> tuple[str | None, Problem | None]:
    for name in ("custom_id", "id"):
        value = record.get(name)
        if value is None or value == "":
            continue
        if type(value) is float and value.is_integer():  # how pandas writes whole numbers beside missing ones
            value = int(value)
        if type(value) is int:
            return str(value), None
        if type(value) is not str:
            return None, Problem("invalid_id", f"`{name}` must be text or a whole number, not {shown(value)}")
        if len(value) > ID_MAX_CHARS:
            return None, Problem("invalid_id", f"`{name}` has {len(value)} characters; shorten it to {ID_MAX_CHARS}")
        return value, None
    return None, None


# -- what is checked ---------------------------------------------------------------------------------------------------


def _body(asked: _Asked) -> dict[str, Any] | Problem:
    if asked.model is not None and not (type(asked.model) is str and len(asked.model) <= ID_MAX_CHARS):
        return Problem("invalid_model", f"`model` must be a name, not {shown(asked.model)}")
    problem = _messages_problem(asked.messages)
    if problem is not None:
        return problem
    body: dict[str, Any] = {"messages": asked.messages}
    for name, value in asked.params.items():
        if value is None or name in _TRANSPORT:
            if name == "stream" and value not in (None, False):
                return _stream_problem(value)
            continue
        rule = PARAMETERS.get(name)
        if rule is not None and not rule[0](value):
            code = "not_finite" if type(value) is float and not isfinite(value) else "invalid_parameter"
            return Problem(code, f"`{name}` must be {rule[1]}, not {shown(value)}")
        body[name] = value
    found = flaw(body)
    return body if found is None else Problem(*found)


def _stream_problem(value: Any) -> Problem:
    if value is True:
        return Problem("stream_unsupported", "`stream` is true; a batch has nobody to stream to: remove it")
    return Problem("invalid_parameter", f"`stream` must be false or absent, not {shown(value)}")


def _messages_problem(messages: Any) -> Problem | None:
    if type(messages) is not list or not messages:
        return Problem("invalid_messages", f"`messages` must be a list of {{role, content}}, not {shown(messages)}")
    said = asked = users = False
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if type(message) is not dict:
            return Problem("invalid_messages", f"`{where}` must be {{role, content}}, not {shown(message)}")
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            known = ", ".join(sorted(ROLES))
            return Problem("invalid_messages", f"`{where}.role` must be one of {known}, not {shown(role)}")
        content = message.get("content")
        if type(content) is str:
            speaks = not (content == "" or content.isspace())
        else:
            found = _content_speaks(message, content, where)
            if isinstance(found, Problem):
                return found
            speaks = found
        said = said or speaks
        if role == "user":
            users, asked = True, asked or speaks
    if not (asked if users else said):
        return Problem("empty_prompt", "the prompt has no text; fill it in or remove the row")
    return None


def _content_speaks(message: dict[str, Any], content: Any, where: str) -> bool | Problem:
    """Whether content that is not plain text says anything, or what is wrong with it."""
    if content is None:
        if message["role"] == "assistant" and any(message.get(name) for name in _SPEAKING):
            return True
        return Problem("invalid_messages", f"`{where}.content` is missing; only an assistant's tool calls need none")
    if type(content) is not list:
        return Problem("invalid_messages", f"`{where}.content` must be text or a list of parts, not {shown(content)}")
    speaks = False
    for number, part in enumerate(content):
        kind = part.get("type") if type(part) is dict else None
        if type(kind) is not str:
            return Problem("invalid_messages", f"`{where}.content[{number}]` must be {{type, ...}}, not {shown(part)}")
        if kind != "text":
            speaks = True
        elif type(part.get("text")) is str:
            speaks = speaks or bool(part["text"].strip())
        else:
            wrong = shown(part.get("text"))
            return Problem("invalid_messages", f"`{where}.content[{number}].text` must be text, not {wrong}")
    return speaks
