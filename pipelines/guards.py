"""What forbids a reuse: each guard reads the difference between two texts and names a reason, or finds none.

A guard only ever says no. Whether a difference is harmless is decided in explain.py, which must explain every bit of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipelines.proof import lexicon
from pipelines.proof.difference import Span, differences
from pipelines.proof.layout import layout
from pipelines.proof.reading import Token, tokens
from pipelines.proof.words import (
    COMPARATIVES,
    DATES,
    DIRECTIONS,
    GENDERS,
    NEGATION,
    NEGATIVE_PREFIXES,
    NEGATIVE_SUFFIXES,
    NUMBER_WORDS,
    OPPOSITES,
    PRONOUNS,
    QUANTIFIERS,
    UNIT_WORDS,
    UNITS,
)


class Side(NamedTuple):
    """One of two compared texts: all its tokens, and those that the other one does not have in that place."""

    tokens: tuple[Token, ...]
    only: tuple[Token, ...]

    def norms(self) -> frozenset[str]:
        return frozenset(token.norm for token in self.only)


def compare(a: str, b: str) -> tuple[Side, Side]:
    """Both texts as sides of one comparison."""
    left, right = tuple(tokens(layout(a))), tuple(tokens(layout(b)))
    spans = differences([t.norm for t in left], [t.norm for t in right])
    return sides(left, right, spans)


def sides(left: tuple[Token, ...], right: tuple[Token, ...], spans: Sequence[Span]) -> tuple[Side, Side]:
    """The sides of a comparison whose differences are known."""
    only_left = tuple(token for span in spans for token in left[span.a0 : span.a1])
    only_right = tuple(token for span in spans for token in right[span.b0 : span.b1])
    return Side(left, only_left), Side(right, only_right)


def code(a: Side, b: Side) -> str | None:
    """A line of code, an identifier or an id differs."""
    return "code" if _kinds(a, b, "code") or _kinds(a, b, "id") else None


def links(a: Side, b: Side) -> str | None:
    """A URL or an e-mail address differs."""
    return "link" if _kinds(a, b, "link") else None


def numbers(a: Side, b: Side) -> str | None:
    """A number differs, in digits or in words."""
    if _kinds(a, b, "number") or any(any(c.isnumeric() for c in token.norm) for token in a.only + b.only):
        return "number"
    return "number" if _touches(a, b, NUMBER_WORDS) else None


def dates(a: Side, b: Side) -> str | None:
    """A month, a weekday or another word of time differs."""
    return "date" if _touches(a, b, DATES) else None


def units(a: Side, b: Side) -> str | None:
    """A unit's word differs, or whatever stands for a unit after a number."""
    return "unit" if _touches(a, b, UNIT_WORDS) or _after_number(a, b) else None


def negation(a: Side, b: Side) -> str | None:
    """One side denies what the other says: a word of denial, or a prefix or ending that turns a word around."""
    if _touches(a, b, NEGATION):
        return "negation"
    mine, other = a.norms(), b.norms()
    turned = any(_turned(x, y) or _turned(y, x) for x in mine for y in other)
    return "negation" if turned else None


def quantifiers(a: Side, b: Side) -> str | None:
    """How many, how much, how often or how very differs."""
    return "quantifier" if _touches(a, b, QUANTIFIERS) else None


def comparatives(a: Side, b: Side) -> str | None:
    """A comparative or superlative differs."""
    return "comparative" if _touches(a, b, COMPARATIVES) else None


def opposites(a: Side, b: Side) -> str | None:
    """A word stands where the other text has its opposite."""
    mine, other = a.norms(), b.norms()
    return "opposite" if any(frozenset((x, y)) in OPPOSITES for x in mine for y in other if x != y) else None


def pronouns(a: Side, b: Side) -> str | None:
    """Who is meant differs: a pronoun or a word of gender or kinship."""
    return "pronoun" if _touches(a, b, PRONOUNS) or _touches(a, b, GENDERS) else None


def directions(a: Side, b: Side) -> str | None:
    """A preposition or another word of place, order or direction differs."""
    return "direction" if _touches(a, b, DIRECTIONS) else None


def names(a: Side, b: Side) -> str | None:
    """A name differs: capitalised inside a sentence, or known to be a name."""
    for side, other in ((a, b), (b, a)):
        lowered = {token.raw.lower() for token in other.tokens}
        for token in side.only:
            if token.kind == "word" and token.norm not in lowered and _is_name(token):
                return "name"
    return None


def symbols(a: Side, b: Side) -> str | None:
    """An operator, sign, currency, emoji, emoticon, bracket or question mark differs."""
    return "symbol" if _kinds(a, b, "symbol") else None


def order(a: Side, b: Side) -> str | None:
    """The same words stand in another order."""
    if not a.only or not b.only:
        return None
    mine, other = (sorted(t.norm for t in side.only if t.kind != "soft") for side in (a, b))
    return "order" if mine == other else None


Guard = Callable[[Side, Side], str | None]
GUARDS: tuple[Guard, ...] = (
    code, links, numbers, dates, units, negation, opposites, pronouns, quantifiers, comparatives, directions, symbols, order, names,
)  # fmt: skip
"""In the order in which they are asked; the first one that objects gives its name to the veto."""


def objection(a: Side, b: Side) -> str | None:
    """The first guard's reason, if any objects."""
    return next((reason for guard in GUARDS if (reason := guard(a, b)) is not None), None)


def _kinds(a: Side, b: Side, kind: str) -> bool:
    return any(token.kind == kind for token in a.only + b.only)


def _touches(a: Side, b: Side, words: frozenset[str]) -> bool:
    return any(token.norm in words for token in a.only + b.only)


def _after_number(a: Side, b: Side) -> bool:
    for side in (a, b):
        chosen = set(map(id, side.only))
        for before, token in zip(side.tokens, side.tokens[1:], strict=False):
            if before.kind == "number" and id(token) in chosen and token.norm.lower() in UNITS:
                return True
    return False


def _turned(word: str, other: str) -> bool:
    if any(word == prefix + other for prefix in NEGATIVE_PREFIXES):
        return True
    return any(word.endswith(suffix) and other.startswith(word[: -len(suffix)]) for suffix in NEGATIVE_SUFFIXES)


def _is_name(token: Token) -> bool:
    if token.raw[:1].isupper() and not token.first:
        return not lexicon.ordinary(token.norm) or token.raw[1:].islower()
    return lexicon.is_name(token.norm) and not token.first
