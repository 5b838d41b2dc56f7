"""A stream of OpenAI's chunks as the one chat completion that it is, from servers and gateways that stream unasked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from worker.backends.lenient import decode

TYPE = "text/event-stream"
_DONE = b"[DONE]"


class _Choice:
    """One answer as it comes, piece by piece."""

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.calls: list[tuple[dict[str, Any], dict[str, list[str]]]] = []
        self.logprobs: dict[str, Any] = {}

    def add(self, part: dict[str, Any]) -> None:
        for name, value in part.items():
            if name == "logprobs" and type(value) is dict:
                self._log(value)
            elif name not in ("delta", "message") and value is not None:
                self.rest[name] = value
        delta = part.get("delta") or part.get("message")
        for name, value in delta.items() if type(delta) is dict else ():
            if type(value) is str and name != "role":
                self.texts[name].append(value)
            elif name == "tool_calls" and type(value) is list:
                for each in value:
                    self._call(each if type(each) is dict else {})

    def _log(self, part: dict[str, Any]) -> None:
        """Each chunk tells those of its own tokens."""
        for name, value in part.items():
            held = self.logprobs.get(name)
            if type(held) is list and type(value) is list:
                held.extend(value)
            elif held is None:
                self.logprobs[name] = value

    def _call(self, part: dict[str, Any]) -> None:
        """Its name comes first, its arguments in pieces."""
        at, function = part.get("index"), part.get("function")
        if type(at) is not int or not 0 <= at < len(self.calls):
            self.calls.append(({"type": "function"}, defaultdict(list)))
            at = -1
        call, texts = self.calls[at]
        call |= {name: value for name, value in part.items() if name not in ("index", "function") and value is not None}
        for name, value in function.items() if type(function) is dict else ():
            texts[name].append(value if type(value) is str else "")

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", **_joined(self.texts)}
        if self.calls:
            message["tool_calls"] = [{**call, "function": _joined(texts)} for call, texts in self.calls]
        logprobs = {"logprobs": self.logprobs} if self.logprobs else {}
        return {**self.rest, **logprobs, "message": message}


def whole(body: bytes) -> bytes:
    """The completion as JSON; the body as it is where it is no such stream, or one that broke off."""
    told: dict[str, Any] = {}
    choices: dict[int, _Choice] = defaultdict(_Choice)
    for chunk in _chunks(body):
        told |= {name: value for name, value in chunk.items() if value is not None}
        for part in chunk["choices"] if type(chunk.get("choices")) is list else ():
            if type(part) is dict:
                at = part.get("index")
                choices[at if type(at) is int else 0].add(part)
    ended = choices and all(choice.rest.get("finish_reason") for choice in choices.values())
    if not (ended or told.get("error")):
        return body
    said = [choice.whole() for _, choice in sorted(choices.items())]
    return msgspec.json.encode({**told, "object": "chat.completion", "choices": said})


def _chunks(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.splitlines():
        data = line[5:].strip() if line.startswith(b"data:") else _DONE
        chunk = decode(data) if data != _DONE else None
        if type(chunk) is dict:
            yield chunk


def _joined(texts: dict[str, list[str]]) -> dict[str, str]:
    return {name: "".join(pieces) for name, pieces in texts.items()}
