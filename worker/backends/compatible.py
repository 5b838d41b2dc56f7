"""The adapter shared by every server of OpenAI's chat shape; their own files say where each one differs.

A row's JSON is spliced into the request as it is and decoded only when a parameter must change. `stream` is never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipelines.sections import Target
from pipelines.types import Completion, Failure
from worker.backends import Sendable, answers, failures
from worker.backends.exchange import Response
from worker.backends.lenient import decode, joined

CAPS = ("max_tokens", "max_completion_tokens")
"""Two names for the same limit; each server is told in the one that it knows."""
UNSENT = ("stream", "stream_options", "model")

Refusals = Mapping[str, tuple[Any, ...]]
"""Parameter that a server would drop in silence → the values with which it asks for nothing."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is the same in every request to a target."""

    target: Target
    url: str
    headers: Mapping[str, str]
    prefix: bytes  # of the JSON body
    capped: bytes  # the same, with the target's own output limit
    cap: str
    cap_key: bytes
    watched: tuple[bytes, ...]  # names for which a body must be looked into


_ready: dict[tuple[str, int], Ready] = {}
_formats: dict[int, tuple[dict[str, Any], bytes]] = {}
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Compatible:
    """One provider: its name and its differences."""

    kind: str
    cap: str | Callable[[Target], str] = "max_tokens"
    refuses: Refusals = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    forbidden: str = "auth"  # what a 403 means: auth | filter
    reports_cost: bool = False

    def request(self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None) -> Sendable | Failure:
        ready = _ready.get((self.kind, id(target)))
        if ready is None or ready.target is not target:
            ready = self._prepare(target)
        for name in ready.watched:
            if name in item_body:
                return self._edited(ready, item_body, schema)
        if item_body == b"{}":
            return self._edited(ready, item_body, schema)
        prefix = ready.prefix if target.lane == "local" or _is_capped(ready, item_body) else ready.capped
        if schema is not None and target.structured_output:
            if b'"response_format"' in item_body:
                return self._edited(ready, item_body, schema)
            prefix += b'"response_format":' + _format(schema) + b","
        return ready.url, ready.headers, prefix + item_body[1:]

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        if response.status != 200:
            error = failures.told(decode(response.body))
            return failures.outcome(target, response, error, forbidden=self.forbidden)
        answer = answers.read(response.body)
        if answer is None:
            return failures.not_json(response)
        choice = answer.choices[0] if answer.choices else None
        if answer.error or choice is None or choice.error:
            return self._error_inside(target, response, answer, choice)
        return self._completion(answer, choice, response)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _prepare(self, target: Target) -> Ready:
        cap = self.cap if isinstance(self.cap, str) else self.cap(target)
        headers = {"content-type": "application/json", "accept": "application/json", **self.headers}
        if target.key:
            headers["authorization"] = f"Bearer {target.key}"
        model = b'{"model":' + msgspec.json.encode(target.model) + b","
        names = [*UNSENT, *(name for name in CAPS if name != cap), *self.refuses]
        ready = Ready(
            target,
            f"{target.base_url}/chat/completions",
            headers,
            model,
            model + f'"{cap}":{target.max_output_tokens},'.encode(),
            cap,
            f'"{cap}"'.encode(),
            tuple(f'"{name}"'.encode() for name in names),
        )
        if len(_ready) >= _KEPT:
            _ready.clear()
        _ready[self.kind, id(target)] = ready
        return ready

    def _edited(self, ready: Ready, item_body: bytes, schema: dict[str, Any] | None) -> Sendable | Failure:
        """The slow way: looks at the row's parameters by name."""
        target = ready.target
        try:
            fields = msgspec.json.decode(item_body, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError):
            return Failure("invalid", "bad_row", "the row is not a JSON object; mend it")
        for name, harmless in self.refuses.items():
            if name in fields:
                if msgspec.json.decode(fields[name]) not in harmless:
                    return refused(target, name)
                del fields[name]
        for name in UNSENT:
            fields.pop(name, None)
        limits = [fields.pop(name) for name in (ready.cap, *CAPS) if name in fields]
        limits = [limit for limit in limits if bytes(limit) != b"null"]
        if limits:
            fields[ready.cap] = limits[0]
        elif target.lane == "cloud":
            fields[ready.cap] = msgspec.Raw(str(target.max_output_tokens).encode())
        if schema is not None and target.structured_output and "response_format" not in fields:
            fields["response_format"] = msgspec.Raw(_format(schema))
        return ready.url, ready.headers, msgspec.json.encode({"model": target.model, **fields})

    # -- hearing ---------------------------------------------------------------------------------------------------

    def _completion(self, answer: answers.Answer, choice: answers.Choice, response: Response) -> Completion | Failure:
        message = choice.message or answers.Message()
        usage = answers.usage_of(answer.usage)
        text = message.content if type(message.content) is str else joined(message.content)
        calls = bool(message.tool_calls or message.function_call)
        raw = choice.finish_reason
        finish = answers.finish_of(raw)
        if message.refusal:
            text, finish = text or message.refusal, "refusal"
        if not text and not calls and usage.output_tokens == 0 and finish not in ("filter", "refusal"):
            problem = "HTTP 200: an answer without text or output tokens"
            return Failure(
                "unknown", "empty_answer", problem, response.status, usage=usage if usage.input_tokens else None
            )
        if raw == "error":
            return Failure("unknown", "finish_error", "HTTP 200: the provider broke the answer off", response.status)
        cost = answers.reported_pusd(answer.usage) if self.reports_cost else None
        return Completion(text, finish, usage, answer.model, calls, cost, answer.service_tier)

    def _error_inside(
        self, target: Target, response: Response, answer: answers.Answer, choice: answers.Choice | None
    ) -> Completion | Failure:
        """A 200 that holds an error, or nothing. What had begun to answer may be paid."""
        inner = choice.error if choice is not None and choice.error else answer.error
        data = {"error": inner} if inner else decode(response.body)
        error = failures.told(data)
        if error is None:
            return Failure("unknown", "empty_answer", "HTTP 200: an answer without choices", response.status)
        failed = failures.outcome(target, response, error, forbidden=self.forbidden)
        begun = answers.usage_of(answer.usage).output_tokens or (choice and choice.message and choice.message.content)
        if isinstance(failed, Failure) and begun and failed.kind in ("rate", "overload", "transient"):
            return msgspec.structs.replace(failed, kind="unknown")
        return failed


class _Caps(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_CAPS = msgspec.json.Decoder(_Caps)


def _is_capped(ready: Ready, item_body: bytes) -> bool:
    """Whether the row limits its own output. The worst case reserved for a paid call else is the target's limit, so the
    call must keep to that. A schema may have a property of that name, so finding the name is not enough."""
    if ready.cap_key not in item_body:
        return False
    try:
        return getattr(_CAPS.decode(item_body), ready.cap) is not None
    except msgspec.MsgspecError:
        return False


def refused(target: Target, name: str) -> Failure:
    """A parameter that this kind of server cannot honour."""
    message = f"{target.kind} cannot do `{name}`; remove it, or route such rows to another target"
    return Failure("invalid", "unsupported_parameter", message)


def strict(schema: Any) -> bool:
    """Whether a schema is within the subset that OpenAI enforces to the letter."""
    if isinstance(schema, list):
        return all(strict(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = schema.get("properties")
        closed = schema.get("additionalProperties") is False and isinstance(names, dict)
        if not closed or set(schema.get("required") or ()) != set(names or ()):
            return False
    return all(strict(each) for each in schema.values())


def _format(schema: dict[str, Any]) -> bytes:
    """`response_format` of a schema; a run asks with the same object for every row."""
    found = _formats.get(id(schema))
    if found is None or found[0] is not schema:
        wanted = {"name": "answer", "schema": schema, "strict": strict(schema) and schema.get("type") == "object"}
        found = schema, msgspec.json.encode({"type": "json_schema", "json_schema": wanted})
        if len(_formats) >= _KEPT:
            _formats.clear()
        _formats[id(schema)] = found
    return found[1]
