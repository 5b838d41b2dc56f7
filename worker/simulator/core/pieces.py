"""An answer's text as tokens with probabilities, always the same to the same text; each vendor words them in its own way."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from worker.simulator.core.answers import digest
from worker.simulator.core.config import ServerConfig

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One token; `others` are the likeliest ones at its place, itself the first."""

    token: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


def pieces(config: ServerConfig, text: str, others: int) -> list[Piece]:
    """The tokens of a text, by the rule by which they are counted, with the wanted number of others beside each."""
    size = config.bytes_per_token
    tokens = (
        _WORD.findall(text) if config.tokens == "words" else [text[at : at + size] for at in range(0, len(text), size)]
    )
    return [_piece(token, number, others) for number, token in enumerate(tokens)]


def _piece(token: str, number: int, others: int) -> Piece:
    logprob = -(digest(token, str(number))[0] + 1) / 256
    near = ((f"{token[:1]}{rank}", logprob - rank) for rank in range(1, others))
    return Piece(token, logprob, ((token, logprob), *near) if others else ())


def as_openai(found: list[Piece]) -> list[dict[str, Any]]:
    """As OpenAI lists them, and Ollama too."""
    return [
        {**_said(each.token, each.logprob), "top_logprobs": [_said(token, logprob) for token, logprob in each.others]}
        for each in found
    ]


def _said(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}
