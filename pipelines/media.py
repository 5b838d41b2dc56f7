"""The most tokens that images, sounds and files of a chat body can come to at a model, for what is reserved before a call.

tokens.py counts each of them as a usual image; what a provider really counts is known only afterwards. It decodes nothing but
the body: of what a row carries in itself the size is known, of what lies elsewhere nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pipelines.tokens import IMAGE_TOKENS, encoding_for

_MARKS = (b'"image_url"', b'"input_audio"', b'"file"')
_IMAGE_TOKENS = 5_000
"""Of a large image: 4,784 of Claude, sixteen tiles of Gemini, 1,536 patches times 2.46 of OpenAI's nano models."""
_IMAGE_OF_MODEL = ((re.compile(r"gpt-4o-mini"), 48_169, 2_833),)
"""Models that count an image many times over: eight tiles of 5,667 tokens beside 2,833, which are all where `detail` is low.
Only OpenAI's models know that word: to others such an image is as large as any."""
_SOUND_BYTES_PER_TOKEN = {"wav": 250, "pcm16": 250}
_PACKED_BYTES_PER_TOKEN = 30
"""32 tokens a second (Gemini), of telephone quality at the least; and of 8 kbit/s where it is compressed."""
_FILE_BYTES_PER_TOKEN, _FILE_TOKENS = 2, 1_050_000
"""A page may be read twice, as text and as an image. No more than that fits into the largest window there is."""


def surplus_tokens(body: bytes, model: str, window: int | None = None) -> int:
    """By how much the input may exceed what tokens.py counted; 0 for a body of nothing but text. `window`: of the target, in
    tokens, where it is known."""
    if not any(mark in body for mark in _MARKS):
        return 0
    return sum(max(0, _most(part, model, window or _FILE_TOKENS) - _counted(part)) for part in _parts(body))


def _counted(part: dict[str, Any]) -> int:
    """What tokens.py took a part for: one with a text for that, whatever else it is."""
    return 0 if type(part.get("text")) is str else IMAGE_TOKENS


def _parts(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        messages = msgspec.json.decode(body)["messages"]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError, TypeError):
        return
    for message in messages if type(messages) is list else ():
        content = message.get("content") if type(message) is dict else None
        for part in content if type(content) is list else ():
            if type(part) is dict and part.get("type", "text") != "text":
                yield part


def _most(part: dict[str, Any], model: str, window: int) -> int:
    kind = part.get("type")
    inner = part.get(kind) if type(kind) is str else None
    told = inner if type(inner) is dict else {}
    if kind == "input_audio":
        return _bytes(told.get("data")) // _SOUND_BYTES_PER_TOKEN.get(str(told.get("format")), _PACKED_BYTES_PER_TOKEN)
    if kind == "file":
        data = told.get("file_data")
        return min(window, _bytes(data) // _FILE_BYTES_PER_TOKEN) if data else window
    high, low = next((most for name, *most in _IMAGE_OF_MODEL if name.search(model)), (_IMAGE_TOKENS, IMAGE_TOKENS))
    return low if told.get("detail") == "low" and encoding_for(model) != "estimate" else high


def _bytes(base64: Any) -> int:
    return len(base64) * 3 // 4 if type(base64) is str else 0
