"""Counts tokens with OpenAI's two vocabularies, which come with the program, and estimates the rest; owner of tiktoken.

It never touches the network and loads nothing before the first count. For models of other makers the count is an
estimate, labelled as such: UTF-8 bytes / 3.6, which on English text is 1.3 times what o200k_base counts (98 % of
prompts between 0.95 and 1.8 times), so it errs on the dear side.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import StoreError

if TYPE_CHECKING:
    import tiktoken

Encoding = Literal["o200k_base", "cl100k_base", "estimate"]

ESTIMATED_BYTES_PER_TOKEN = 3.6
MESSAGE_TOKENS = 3
REPLY_TOKENS = 3
IMAGE_TOKENS = 1_105
"""What a large high-detail image costs on GPT-4o; smaller ones cost less, so a bound holds."""

_SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
_VOCABULARY_MAX_BYTES = 16 << 20
_FOLDERS = (Path(__file__).parent / "vocabularies", Path(__file__).parents[1] / "data" / "tiktoken")
_SLICE_CHARS = 50_000  # keeps one endless word or line from taking seconds; a cut costs one token at most


@functools.lru_cache(maxsize=1024)
def encoding_for(model: str) -> Encoding:
    """The vocabulary of a model name, with or without its maker in front (`openai/gpt-4o`)."""
    from tiktoken.model import encoding_name_for_model

    name = model.lower().rpartition("/")[2].partition(":")[0] if not model.startswith("ft:") else model
    try:
        found = encoding_name_for_model(name)
    except KeyError:
        return "estimate"
    if found.startswith("o200k"):
        return "o200k_base"
    return "cl100k_base" if found == "cl100k_base" else "estimate"


def count_tokens(texts: Sequence[str], encoding: Encoding = "o200k_base") -> list[int]:
    """Tokens of each text; markers such as <|endoftext|> count as the ordinary text they are."""
    if encoding == "estimate":
        return [_estimate(text) for text in texts]
    # One plain loop: tiktoken's threads cost three times a prompt-sized text.
    encode = _vocabulary(encoding).encode_ordinary
    return [
        len(encode(text)) if len(text) <= _SLICE_CHARS else sum(len(encode(part)) for part in _slices(text))
        for text in texts
    ]


def count_chats(bodies: Iterable[Mapping[str, Any]], encoding: Encoding = "o200k_base") -> list[int]:
    """Input tokens of OpenAI chat bodies: texts, tools and schema, 3 per message and 3 for the reply's start."""
    texts: list[str] = []
    extra: list[int] = []
    for body in bodies:
        text, tokens = _chat(body)
        texts.append(text)
        extra.append(tokens)
    return [count + more for count, more in zip(count_tokens(texts, encoding), extra, strict=True)]


def _chat(body: Mapping[str, Any]) -> tuple[str, int]:
    messages = body.get("messages")
    parts: list[str] = []
    extra = REPLY_TOKENS
    for message in messages if isinstance(messages, list) else ():
        extra += MESSAGE_TOKENS
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, str):
            parts.append(content)
        elif isinstance(content, list):
            extra += _content_parts(content, parts)
        if message.get("tool_calls"):
            parts.append(_json(message["tool_calls"]))
    parts.extend(_json(body[name]) for name in ("tools", "functions", "response_format") if body.get(name))
    return "\n".join(parts), extra


def _content_parts(content: list[Any], parts: list[str]) -> int:
    tokens = 0
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            parts.append(text)
        else:
            tokens += IMAGE_TOKENS
    return tokens


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _slices(text: str) -> Iterable[str]:
    return (text[start : start + _SLICE_CHARS] for start in range(0, len(text), _SLICE_CHARS))


def _estimate(text: str) -> int:
    size_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -int(-size_bytes // ESTIMATED_BYTES_PER_TOKEN)


@functools.cache
def _vocabulary(name: Encoding) -> tiktoken.Encoding:
    """tiktoken's own definition of the vocabulary, with its download replaced by the file beside us."""
    import tiktoken

    def ranks(_url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        lines = (line.split() for line in _read(name).splitlines())
        return {binascii.a2b_base64(token): int(rank) for token, rank in lines}

    published: FunctionType = getattr(importlib.import_module("tiktoken_ext.openai_public"), name)
    local = FunctionType(published.__code__, {**published.__globals__, "load_tiktoken_bpe": ranks})
    encoding = tiktoken.Encoding(**local())
    # The Rust side has its own copy; the dictionary would be another 25 MB for as long as the process lives.
    encoding._mergeable_ranks = {}
    return encoding


def english_words() -> frozenset[str]:
    """The words of an English dictionary in lower case, their forms and many names included."""
    import gzip
    from importlib.resources import files

    import msgspec

    packed = files("spellchecker").joinpath("resources", "en.json.gz").read_bytes()
    counts = msgspec.json.decode(gzip.decompress(packed), type=dict[str, int])
    return frozenset(word for word in counts if word.isalpha())


def _read(name: str) -> bytes:
    import zstandard

    for folder in _FOLDERS:
        file = folder / f"{name}.tiktoken.zst"
        if not file.is_file():
            continue
        try:
            text = zstandard.ZstdDecompressor().decompress(file.read_bytes(), max_output_size=_VOCABULARY_MAX_BYTES)
        except (OSError, zstandard.ZstdError) as error:
            raise StoreError(f"{file}: cannot be read ({error}); install Spillway again") from error
        if hashlib.sha256(text).hexdigest() != _SHA256[name]:
            raise StoreError(f"{file}: is not the published vocabulary (SHA-256 differs); install Spillway again")
        return text
    raise StoreError(f"{name}.tiktoken.zst: not found in {_FOLDERS[0]} or {_FOLDERS[1]}; install Spillway again")
