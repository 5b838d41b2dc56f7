"""The adapter shared by every server of OpenAI's chat shape; their own files say where each one differs.

A row's values go out as they came in: only the names of its parameters are read. `stream` is never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.dialects.parameters import LIMITS
from pipelines.money import Price
from pipelines.types import Completion, Failure
from worker.backends import Sendable, answers, failures, looks, rows, schemas
from worker.backends.exchange import Response
from worker.backends.lenient import joined
from worker.backends.rows import Cannot

UNSENT = frozenset({"stream", "stream_options", "model"})
CARRIED = rows.names(
    "messages max_tokens max_completion_tokens temperature top_p seed stop presence_penalty frequency_penalty logit_bias "
    "response_format tools tool_choice"
)
"""What every server of this shape honours."""

Fields = dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Ready:
    """What is the same in every request to a target."""

    target: Target
    url: str
    headers: Mapping[str, str]
    cap: str


_ready: dict[tuple[str, int], Ready] = {}
_formats: dict[int, tuple[dict[str, Any], bytes]] = {}
_KEPT = 256
_FIELDS = msgspec.json.Decoder(Fields)
NULL = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Compatible:
    """One provider: its name and its differences."""

    kind: str
    cap: str | Callable[[Target], str] = "max_tokens"
    carries: frozenset[str] | None = None
    """What it honours, where it drops the rest in silence; None: it refuses by itself what it does not know."""
    developer: bool = False  # has a role of that name; the templates of most open models drop it without a word
    adds: Callable[[Fields, Price | None], None] | None = None
    own: failures.Own | None = None
    reports_cost: bool = False

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        ready = _ready.get((self.kind, id(target)))
        if ready is None or ready.target is not target:
            ready = self._prepare(target)
        try:
            fields = _FIELDS.decode(item_body)
        except (msgspec.MsgspecError, RecursionError):
            return Failure("invalid", "bad_row", "the row is not a JSON object; mend it")
        for name in [name for name, value in fields.items() if name in UNSENT or value == NULL]:
            del fields[name]
        if self.carries is not None:
            for name in [name for name in fields if name not in self.carries]:
                if not rows.asks_nothing(name, msgspec.json.decode(fields.pop(name))):
                    return rows.cannot(target, Cannot(f"`{name}`"))
            if (tool := _other_tool(fields)) is not None:
                return rows.cannot(target, Cannot(f"a tool of type `{tool}`"))
        _limit(fields, ready)
        if not self.developer and b'"developer"' in bytes(fields.get("messages", b"")):
            fields["messages"] = _without_developers(fields["messages"])
        if schema is not None and target.structured_output and "response_format" not in fields:
            fields["response_format"] = msgspec.Raw(_format(schema))
        if self.adds is not None:
            try:
                self.adds(fields, price)
            except Cannot as error:
                return rows.cannot(target, error)
        return ready.url, ready.headers, msgspec.json.encode({"model": target.model, **fields})

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        answer = failures.shaped(target, response, answers.DECODER, own=self.own)
        if not isinstance(answer, answers.Answer):
            return answer
        choices = answer.choices or []
        bad = next((each for each in choices if each.error), None)
        if answer.error or bad or not choices:
            return self._error_inside(target, response, answer, bad or next(iter(choices), None))
        return answers.together([self._completion(answer, each) for each in choices])

    def _prepare(self, target: Target) -> Ready:
        cap = self.cap if isinstance(self.cap, str) else self.cap(target)
        headers = {"content-type": "application/json", "accept": "application/json", **looks.bearer(target)}
        if len(_ready) >= _KEPT:
            _ready.clear()
        ready = _ready[self.kind, id(target)] = Ready(target, f"{target.base_url}/chat/completions", headers, cap)
        return ready

    # -- hearing ---------------------------------------------------------------------------------------------------

    def _completion(self, answer: answers.Answer, choice: answers.Choice) -> Completion | Failure:
        message = choice.message or choice.delta or answers.Message()
        usage = answers.usage_of(answer.usage)
        text = message.content if type(message.content) is str else joined(message.content)
        calls = bool(message.tool_calls or message.function_call)
        finish = answers.finish_of(choice.finish_reason)
        if message.refusal and not finish.startswith("broken"):
            text, finish = text or message.refusal, "refusal"
        cost = self._cost(answer)
        if message.audio and not text:
            text = str(message.audio.get("transcript") or "")
        # Where thinking was stopped, the content is null; the number of a token is any end, a text one of the row's stops.
        stopped = message.content == "" and type(choice.stop_reason) is str and finish == "stop"
        meant = stopped or bool(message.audio or message.images)
        return answers.completed(text, finish, usage, answer.model, calls, cost, answer.service_tier, meant=meant)

    def _error_inside(
        self, target: Target, response: Response, answer: answers.Answer, choice: answers.Choice | None
    ) -> Completion | Failure:
        """A 200 that holds an error, or nothing. What had begun to answer may be paid."""
        inner = choice.error if choice is not None and choice.error else answer.error
        failed = failures.inside(target, response, "choices", inner, own=self.own)
        usage, cost = answers.usage_of(answer.usage), self._cost(answer)
        if isinstance(failed, Completion):
            return msgspec.structs.replace(
                failed, usage=usage, model=answer.model, cost_reported_pusd=cost, tier=answer.service_tier
            )
        if not (usage.output_tokens or cost or (choice and choice.message and choice.message.content)):
            return failed
        kind = "unknown" if failed.kind in ("rate", "overload", "transient") else failed.kind
        failed = answers.paid(failed, usage, answer.model, cost, answer.service_tier)
        return msgspec.structs.replace(failed, kind=kind)

    def _cost(self, answer: answers.Answer) -> int | None:
        return answers.reported_pusd(answer.usage) if self.reports_cost else None


def _other_tool(fields: Fields) -> str | None:
    """The type of a tool that is no function: some servers drop it, and OpenRouter runs its own at a price beside the tokens."""
    tools = msgspec.json.decode(fields["tools"]) if "tools" in fields else None
    types = [tool.get("type", "function") for tool in tools if type(tool) is dict] if type(tools) is list else []
    return next((str(each) for each in types if each != "function"), None)


def _without_developers(messages: msgspec.Raw) -> msgspec.Raw:
    """Their messages as the system's."""
    said = msgspec.json.decode(messages)
    for message in said if type(said) is list else ():
        if type(message) is dict and message.get("role") == "developer":
            message["role"] = "system"
    return msgspec.Raw(msgspec.json.encode(said))


def _limit(fields: Fields, ready: Ready) -> None:
    """One limit, whatever the row calls it, in the server's own name. A paid call always has one: the worst case that is
    reserved for it is either the row's own limit or the target's, and the call must keep to that. One below zero is
    llama.cpp's word for none; what is no whole number was not counted as a limit, and so must not be sent as one."""
    names = (ready.cap, *(name for name in LIMITS if name != ready.cap))
    given = [limit for name in names if (limit := fields.pop(name, None)) and bytes(limit).isdigit()]
    if given:
        fields[ready.cap] = given[0]
    elif ready.target.lane == "cloud":
        fields[ready.cap] = msgspec.Raw(str(ready.target.max_output_tokens).encode())


def _format(schema: dict[str, Any]) -> bytes:
    """`response_format` of a schema; a run asks with the same object for every row."""
    found = _formats.get(id(schema))
    if found is None or found[0] is not schema:
        found = schema, msgspec.json.encode({"type": "json_schema", "json_schema": schemas.answer(schema)})
        if len(_formats) >= _KEPT:
            _formats.clear()
        _formats[id(schema)] = found
    return found[1]
