"""Anthropic's messages as a chat completion's: turns, system prompts, images, documents, tool calls and their results.

What has no counterpart there is `Cannot`, which names it: nothing is dropped that could change an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

Out = dict[str, Any]
Block = tuple[str, str, Out]
"""Its place, its type and its fields."""

_encode = msgspec.json.Encoder().encode


class Cannot(Exception):
    """Why a request is not asked: Anthropic's type of the error, and a message that names the place."""

    def __init__(self, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.kind = kind


def typed(where: str, value: Any, kind: type, wanted: str) -> Any:
    if type(value) is not kind:
        raise Cannot(f"{where}: Input should be {wanted}")
    return value


def only(where: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Hints (`cache_control`, `citations` that are off) change no answer; any other field that we do not know might."""
    for name, value in given.items():
        if (
            name in known
            or value is None
            or name == "cache_control"
            or (name, value) == ("citations", {"enabled": False})
        ):
            continue
        raise Cannot(f"{where}.{name[:40]}: not supported here")


def message(where: str, given: Any) -> list[Out]:
    """One turn; the results of tools in it become messages of their own, ahead of what the user says to them."""
    typed(where, given, dict, "an object")
    only(where, given, ("role", "content"))
    role, content = given.get("role"), given.get("content")
    if type(role) is not str or role not in _ROLES:
        raise Cannot(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    if type(content) is str:
        return [{"role": role, "content": content}]
    return _ROLES[role](blocks_of(f"{where}.content", content))


def blocks_of(where: str, content: Any) -> list[Block]:
    """Place, type and fields of each block."""
    found = []
    for number, block in enumerate(typed(where, content, list, "a text or a list of blocks")):
        at = f"{where}.{number}"
        kind = typed(at, block, dict, "an object").get("type")
        if type(kind) is not str:
            raise Cannot(f"{at}.type: Field required")
        found.append((at, kind, block))
    return found


def _user(blocks: list[Block]) -> list[Out]:
    results: list[Out] = []
    parts: list[Out] = []
    for where, kind, block in blocks:
        if kind == "tool_result":
            results.append(_tool_result(where, block))
        elif kind in _PARTS:
            parts += _PARTS[kind](where, block)
        else:
            raise Cannot(f"{where}: `{kind[:40]}` blocks are not supported here")
    return [*results, {"role": "user", "content": _simple(parts)}] if parts or not results else results


def _assistant(blocks: list[Block]) -> list[Out]:
    texts: list[Out] = []
    calls: list[Out] = []
    for where, kind, block in blocks:
        if kind == "text":
            texts += _text(where, block)
        elif kind == "tool_use":
            calls.append(_tool_use(where, block))
        else:
            raise Cannot(f"{where}: `{kind[:40]}` blocks are not supported here")
    said: Out = {"role": "assistant", "content": "".join(part["text"] for part in texts) or None}
    return [{**said, "tool_calls": calls} if calls else {**said, "content": said["content"] or ""}]


def said(blocks: list[Block]) -> list[Out]:
    """A system prompt."""
    parts: list[Out] = []
    for where, kind, block in blocks:
        if kind != "text":
            raise Cannot(f"{where}: `{kind[:40]}` blocks are not supported in a system prompt")
        parts += _text(where, block)
    return [{"role": "system", "content": _simple(parts)}] if parts else []


_ROLES: Mapping[str, Callable[[list[Block]], list[Out]]] = {
    "user": _user, "assistant": _assistant, "system": said,
}  # fmt: skip


def _simple(parts: list[Out]) -> Any:
    """One text alone needs no list: not every server reads one."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _text(where: str, block: Out) -> list[Out]:
    only(where, block, ("type", "text"))
    text = typed(f"{where}.text", block.get("text"), str, "a text")
    return [{"type": "text", "text": text}] if text else []


def _image(where: str, block: Out) -> list[Out]:
    only(where, block, ("type", "source"))
    source = typed(f"{where}.source", block.get("source"), dict, "an object")
    match source.get("type"):
        case "base64":
            url = f"data:{_of(where, source, 'media_type')};base64,{_of(where, source, 'data')}"
        case "url":
            url = _of(where, source, "url")
        case _:
            raise Cannot(f"{where}.source: only `base64` and `url` are supported here")
    return [{"type": "image_url", "image_url": {"url": url}}]


def _document(where: str, block: Out) -> list[Out]:
    only(where, block, ("type", "source", "title"))
    source = typed(f"{where}.source", block.get("source"), dict, "an object")
    if source.get("type") == "text":
        return [{"type": "text", "text": _of(where, source, "data")}]
    if source.get("type") != "base64":
        raise Cannot(f"{where}.source: only `base64` and `text` are supported here")
    data = f"data:{_of(where, source, 'media_type')};base64,{_of(where, source, 'data')}"
    title = block.get("title") or "document.pdf"
    return [{"type": "file", "file": {"filename": str(title), "file_data": data}}]


def _of(where: str, source: Mapping[str, Any], name: str) -> str:
    return str(typed(f"{where}.source.{name}", source.get(name), str, "a text"))


_PARTS: Mapping[str, Callable[[str, Out], list[Out]]] = {"text": _text, "image": _image, "document": _document}


def _tool_use(where: str, block: Out) -> Out:
    only(where, block, ("type", "id", "name", "input", "caller"))
    name = typed(f"{where}.name", block.get("name"), str, "a text")
    arguments = _encode(typed(f"{where}.input", block.get("input"), dict, "an object")).decode()
    id_ = typed(f"{where}.id", block.get("id"), str, "a text")
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tool_result(where: str, block: Out) -> Out:
    only(where, block, ("type", "tool_use_id", "content", "is_error"))
    id_ = typed(f"{where}.tool_use_id", block.get("tool_use_id"), str, "a text")
    content = block.get("content") or ""
    if type(content) is not str:
        content = "\n".join(_told(at, kind, part) for at, kind, part in blocks_of(f"{where}.content", content))
    return {"role": "tool", "tool_call_id": id_, "content": f"Error: {content}" if block.get("is_error") else content}


def _told(where: str, kind: str, block: Out) -> str:
    if kind != "text":
        raise Cannot(f"{where}: `{kind[:40]}` blocks are not supported in a tool's result here")
    return "".join(part["text"] for part in _text(where, block))
