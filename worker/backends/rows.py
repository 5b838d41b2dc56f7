"""What the native adapters share in reading a row of OpenAI's chat shape: nothing of it is ever dropped in silence.

A parameter is translated, or asks for nothing, or is a hint that cannot change an answer; anything else is `Cannot`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends.failures import one_line
from worker.backends.lenient import decode

HINTS = frozenset(
    {"model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
    | {"prompt_cache_options", "prediction", "metadata"}
)
"""They change who is noted down, or how fast and dear an answer is, but no answer."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "presence_penalty": (0,),
    "frequency_penalty": (0,), "parallel_tool_calls": (True,), "service_tier": ("auto", "default"),
    "modalities": (["text"],), "store": (False,), "tool_choice": ("auto",), "tools": ([],), "functions": ([],),
    "response_format": ({"type": "text"},),
}  # fmt: skip

Out = dict[str, Any]
Setter = Callable[[Any, Out], None]


def names(text: str) -> frozenset[str]:
    """Names with blanks between them."""
    return frozenset(text.split())


class Cannot(Exception):
    """The provider has no way to do this; the text names it."""


@contextmanager
def formed(what: str) -> Iterator[None]:
    """Whatever stumbles over the form of a row, which may be any JSON, raises Cannot, named by `what`."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Cannot(f"this form of {what}") from error


def read(item_body: bytes) -> dict[str, Any] | Failure:
    """A row's body; prepared rows always are objects with messages."""
    body = decode(item_body)
    if type(body) is dict and type(body.get("messages")) is list:
        return body
    return Failure("invalid", "bad_row", "the row has no messages; mend it")


def cannot(target: Target, error: Cannot, who: str = "") -> Failure:
    message = (
        f"{who or target.kind} cannot do {one_line(str(error), 200)}; remove it, or route such rows to another target"
    )
    return Failure("invalid", "unsupported_parameter", message)


def asks_nothing(name: str, value: Any) -> bool:
    """Whether leaving a parameter out changes no answer."""
    return value is None or name in HINTS or value in NEUTRAL.get(name, ())


def translate(body: Mapping[str, Any], known: Mapping[str, Setter], out: Out) -> None:
    """Every parameter of a row but its messages. Raises Cannot."""
    for name, value in body.items():
        setter = known.get(name)
        if name == "messages" or value is None or value in NEUTRAL.get(name, ()):
            continue
        if setter is None:
            if name in HINTS:
                continue
            raise Cannot(f"`{name}`")
        with formed(f"`{name}`"):
            setter(value, out)


_OF_MESSAGES = frozenset({"role", "content", "tool_calls", "tool_call_id", "function_call", "refusal"})
_OF_ANSWERS = frozenset({"annotations", "reasoning", "reasoning_content", "reasoning_details"})
"""What an earlier answer carried beside its text; no provider wants another one's thoughts back."""


def role_of(message: Any) -> str:
    """A message's role, once everything it says is known. Raises Cannot."""
    role = message.get("role") if type(message) is dict else None
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise Cannot(f"a message of role `{role}`")
    for name, value in message.items():
        known = name in _OF_MESSAGES or (name in _OF_ANSWERS and role == "assistant")
        if not (known or value is None or (name == "name" and role == "tool")):
            raise Cannot(f"`{name}` in a {role} message")
    return str(role)


Says = Callable[[dict[str, Any]], list[dict[str, Any]]]


def conversation(
    messages: list[Any], says: Mapping[str, Says], assistant: str, content: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What all system messages say, wherever they stand, and the turns, in which nobody speaks twice in a row; so the
    results of several tool calls come in one turn, with what the user says to them. Raises Cannot."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = role_of(message)
        with formed(f"a message of role `{role}`"):
            said = says["system" if role == "developer" else role](message)
        speaker = assistant if role == "assistant" else "user"
        if role in ("system", "developer"):
            system += said
        elif turns and turns[-1]["role"] == speaker:
            turns[-1][content] += said
        elif said:
            turns.append({"role": speaker, content: said})
    if not turns:
        raise Cannot("a row without a user's message")
    return system, turns


def put(name: str, within: str = "") -> Setter:
    """A parameter that only has another name there, or stands `within` another object."""

    def setter(value: Any, out: Out) -> None:
        (out[within] if within else out)[name] = value

    return setter


def stops(value: Any) -> list[Any]:
    return value if type(value) is list else [value]


def parts(content: Any) -> Iterator[dict[str, Any]]:
    """A message's content as parts."""
    if type(content) is str:
        yield {"type": "text", "text": content}
    elif type(content) is list:
        for part in content:
            yield part if type(part) is dict else {"type": "text", "text": str(part)}
    elif content is not None:
        raise Cannot("a message whose content is neither text nor a list")


def text_of(content: Any, where: str) -> str:
    """The text of a content that may hold nothing else."""
    found = []
    for part in parts(content):
        if part.get("type", "text") not in ("text", "refusal"):
            raise Cannot(f"`{part.get('type')}` in a {where} message")
        found.append(str(part.get("text") or part.get("refusal") or ""))
    return "\n".join(text for text in found if text)


def image_url(part: Mapping[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if type(image) is dict else image
    if type(url) is not str:
        raise Cannot("an image without a URL")
    return url


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 of a data: URL; None for an address."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        return None
    media, *flags = head[5:].split(";")
    if "base64" not in flags:
        raise Cannot("a data: URL that is not base64")
    return media or "application/octet-stream", data


def file_data(part: Mapping[str, Any]) -> tuple[str, str]:
    """Media type and base64 of a file that the row carries in itself."""
    file = part.get("file")
    data = file.get("file_data") if type(file) is dict else None
    if type(data) is not str:
        raise Cannot("a file by id")
    return data_url(data) or ("application/pdf", data)


def asked_calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Id, name and arguments of each tool call of an assistant's message; the arguments as they are written."""
    if message.get("function_call"):
        raise Cannot("`function_call`")
    for call in message.get("tool_calls") or ():
        function = call.get("function") if type(call) is dict else None
        if type(function) is not dict:
            raise Cannot("a tool call that is not a function's")
        yield str(call.get("id") or ""), str(function.get("name") or ""), str(function.get("arguments") or "{}")


def calls_of(message: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same with the arguments as an object."""
    for id_, name, written in asked_calls(message):
        arguments = decode(written.encode())
        if type(arguments) is not dict:
            raise Cannot("tool call arguments that are not a JSON object")
        yield id_, name, arguments


def functions(tools: Any) -> list[dict[str, Any]]:
    """The function definitions among the tools; any other tool is Cannot."""
    for tool in tools:
        if tool.get("type") != "function":
            raise Cannot(f"a tool of type `{tool.get('type')}`")
    return [tool["function"] for tool in tools]


def called_names(messages: list[Any]) -> dict[str, str]:
    """Tool call id → the function's name, which some providers want beside a result."""
    with formed("a tool call"):
        calls = (call for message in messages if type(message) is dict for call in message.get("tool_calls") or ())
        return {
            str(call.get("id")): str((call.get("function") or {}).get("name")) for call in calls if type(call) is dict
        }


def wanted_schema(response_format: Any) -> dict[str, Any]:
    """The schema that a row's `response_format` asks for."""
    schema = response_format["json_schema"]["schema"]
    if type(schema) is not dict:
        raise Cannot("this form of `response_format`")
    return schema


def as_json(out: Out) -> bytes:
    return msgspec.json.encode(out)
