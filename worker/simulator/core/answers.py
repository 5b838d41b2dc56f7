"""What a stand-in model says: always the same to the same prompt, so that a test can predict it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Any, Literal

import msgspec

from worker.simulator.core.config import ServerConfig
from worker.simulator.core.schema import example

_NORMAL = NormalDist()
_ITEM = r"[\"'`*]*[\w-]+(?: [\w-]+){0,2}?[\"'`*]*"
_SEPARATOR = r"(?:\s*[,/|]\s*(?:or\s+|and\s+)?|\s+or\s+)"
_NAMED = r"\b(?:one of|labels?|categor(?:y|ies)|class(?:es)?|options?|choose from)\b[^:(\n]{0,24}?[:(]\s*|\bone of\s+"
_TOLD = (
    r"\b(?:classif|categori[sz]|label|sort|assign|choose|pick|select)\w*\b[^\n]{0,160}?\b(?:as|into|from|between)\s+"
)
_MORE = rf"({_ITEM}(?:{_SEPARATOR}{_ITEM})+)"
_LISTS = [re.compile(rf"(?:{_NAMED}|{_TOLD}){_MORE}{end}", re.IGNORECASE) for end in (r"(?=\s*(?:[.;:)?!]|$))", "")]
_MAX_LINES, _MAX_LINE_CHARS = 40, 400
_SPLIT = re.compile(_SEPARATOR, re.IGNORECASE)
_OPENINGS = ("The customer reports that", "In short,", "The main cause is that", "Two things stand out:", "Most likely")
_SUBJECTS = (
    "the order",
    "the parcel",
    "the last invoice",
    "the account",
    "the app",
    "the refund",
    "the warranty claim",
)
_VERBS = ("was held at", "was charged twice by", "does not match", "arrived before", "was closed without", "depends on")
_OBJECTS = (
    "the carrier",
    "the payment provider",
    "the address on file",
    "the update",
    "a reply",
    "the second shipment",
)
_ENDINGS = (
    "Ask for the order number.",
    "Refund the difference.",
    "Escalate to the second line.",
    "Reply with the dates.",
)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an answer, whatever its vendor's shape was."""

    model: str
    texts: tuple[str, ...]
    roles: tuple[str, ...] = ()
    max_tokens: int | None = None
    choices: int = 1
    schema: Mapping[str, Any] | None = None
    wants_json: bool = False
    labels: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()  # those that may be called
    must_call: bool = False
    may_call: bool = True
    parallel: bool = True
    stop: tuple[str, ...] = ()
    logprobs: int | None = None  # how many others beside each token; None: not asked for
    context_tokens: int | None = None
    reserved_tokens: int | None = None  # output that a token limit is charged with; else max_tokens
    cache: Literal["auto", "write", "off"] = "auto"

    @property
    def prompt(self) -> str:
        return "\n".join(self.texts)


def digest(text: str, salt: str = "") -> bytes:
    """Eight bytes that stand for a prompt."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt.encode()[:16]).digest()


def count_tokens(config: ServerConfig, text: str) -> int:
    """The documented rule: UTF-8 bytes over bytes_per_token, or words, rounded up."""
    if config.tokens == "words":
        return len(text.split())
    return -(-len(text.encode("utf-8", "surrogatepass")) // config.bytes_per_token)


def input_tokens(config: ServerConfig, ask: Ask) -> int:
    """Each message counts by itself, plus four for its frame."""
    return sum(count_tokens(config, text) + 4 for text in ask.texts)


def answer_text(config: ServerConfig, ask: Ask, choice: int = 0) -> str:
    """The whole answer, before any limit on its length."""
    seed = digest(ask.prompt, str(choice) if choice else "")
    style, _, fixed = config.answer.partition(":")
    if style == "text" and fixed:
        return fixed
    if ask.schema is not None:
        return msgspec.json.encode(example(ask.schema, seed)).decode()
    if style == "json" or ask.wants_json:
        return msgspec.json.encode({"answer": _sentences(config, ask, seed), "confidence": seed[0] / 255}).decode()
    if style == "echo":
        return ask.texts[-1] if ask.texts else ""
    if style == "hash":
        return seed.hex()
    labels = (ask.labels or config.labels or find_labels(ask.prompt)) if style == "label" else ()
    return labels[int.from_bytes(seed) % len(labels)] if labels else _sentences(config, ask, seed)


def cut_to(config: ServerConfig, text: str, tokens: int) -> str:
    """The first `tokens` tokens of a text."""
    if config.tokens == "words":
        return " ".join(text.split()[:tokens])
    return text.encode("utf-8", "surrogatepass")[: tokens * config.bytes_per_token].decode("utf-8", "ignore")


def find_labels(prompt: str) -> tuple[str, ...]:
    """The first list of labels that a prompt names: "one of: a, b or c", "as x, y or z", "labels: p | q"."""
    for line in prompt.split("\n", _MAX_LINES)[:_MAX_LINES]:
        labels = _labels_of(line[:_MAX_LINE_CHARS])
        if labels:
            return labels
    return ()


@lru_cache(maxsize=4096)
def _labels_of(line: str) -> tuple[str, ...]:
    found = next((found for each in _LISTS if (found := each.search(line))), None)
    if found is None:
        return ()
    labels = dict.fromkeys(item.strip(" \t\"'`*.") for item in _SPLIT.split(found[1]))
    labels.pop("", None)
    announced = found[0][: -len(found[1])].rstrip().endswith((":", "("))
    # "one of them is lying, but ..." is prose: two items need a colon or an "or".
    is_list = announced or len(labels) > 2 or " or " in found[1].lower()
    return tuple(labels) if is_list else ()


def _sentences(config: ServerConfig, ask: Ask, seed: bytes) -> str:
    """Plain sentences, as many tokens as the length distribution says, or two."""
    wanted = _length(config, ask.prompt, seed)
    number = int.from_bytes(seed)
    said: list[str] = []
    size = 0
    while (size < wanted) if wanted else (len(said) < 2):
        sentence = _sentence(number, len(said))
        said.append(sentence)
        size += (
            count_tokens(config, sentence + " ")
            if config.tokens == "words"
            else -(-len(sentence) // config.bytes_per_token)
        )
    text = " ".join(said)
    return cut_to(config, text, wanted) if wanted else text


def _sentence(number: int, index: int) -> str:
    number = (number ^ (index * 0x9E3779B97F4A7C15)) & 0xFFFFFFFFFFFFFFFF
    parts = []
    for words in (_OPENINGS, _SUBJECTS, _VERBS, _OBJECTS, _ENDINGS):
        number, which = divmod(number, len(words))
        parts.append(words[which])
    return f"{parts[0]} {parts[1]} {parts[2]} {parts[3]}. {parts[4]}"


def _length(config: ServerConfig, prompt: str, seed: bytes) -> int | None:
    for rule in config.outputs:
        if rule.match in prompt:
            return _lognormal(rule.median, rule.sigma, seed)
    if config.output_tokens_median is None:
        return None
    return _lognormal(config.output_tokens_median, config.output_tokens_sigma, seed)


def _lognormal(median: float, sigma: float, seed: bytes) -> int:
    share = (int.from_bytes(seed) + 0.5) / 2**64
    return max(1, round(median * math.exp(sigma * _NORMAL.inv_cdf(min(max(share, 1e-9), 1 - 1e-9)))))
