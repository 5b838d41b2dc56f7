"""The opt-in verifier: may two texts in different words share an answer? For open and closed tasks only, and never proven.

It asks for a near vector, for the same numbers, names and polarity, and for most content words in common.
"""

from __future__ import annotations

from pipelines import lexicon
from pipelines.explain import Read, read
from pipelines.guards import code, links, negation, numbers, opposites, order, sides, symbols, units
from pipelines.instruction import LITERAL
from pipelines.reading import Token, differences
from pipelines.words import ARTICLES, ASKING, DIRECTIONS, NEGATION, NUMBER_WORDS, POLITE, PRONOUNS


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS = (code, links, units, negation, opposites, symbols, order)
_SHORT_COSINE = 0.87
_LONG_COSINE = 0.85
_LONG_WORDS = 7
_SHORT_OVERLAP = 0.3
_LONG_OVERLAP = 0.6
_EMPTY = ARTICLES | POLITE | ASKING | DIRECTIONS | PRONOUNS | _set(
    "and or as if so be been being there also then than just really actually very some any get got its s"
)  # fmt: skip
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""))


def same_meaning(a: str, b: str, task: str, cosine: float) -> bool:
    """Whether the answer to one may serve the other, as far as words and a vector can tell."""
    if task in LITERAL or cosine < _LONG_COSINE:
        return False
    left, right = read(a), read(b)
    spans = differences(left.norms, right.norms)
    mine, other = sides(left.tokens, right.tokens, spans)
    if any(guard(mine, other) for guard in _ALWAYS) or _denials(left) % 2 != _denials(right) % 2:
        return False
    words = _content(left), _content(right)
    overlap = len(words[0] & words[1]) / max(1, len(words[0] | words[1]))
    told = (_numbers(left), _numbers(right)), (_names(left), _names(right))
    if min(len(words[0]), len(words[1])) >= _LONG_WORDS and overlap >= _LONG_OVERLAP:
        return all(x <= y or y <= x for x, y in told)
    same = all(x == y for x, y in told) and numbers(mine, other) is None
    return same and cosine >= _SHORT_COSINE and overlap >= _SHORT_OVERLAP


def _content(text: Read) -> frozenset[str]:
    return frozenset(_stem(token.norm) for token in text.tokens if token.kind == "word" and token.norm not in _EMPTY)


def _stem(word: str) -> str:
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _numbers(text: Read) -> frozenset[str]:
    return frozenset(t.norm for t in text.tokens if t.kind in ("number", "id") or t.norm in NUMBER_WORDS)


def _names(text: Read) -> frozenset[str]:
    return frozenset(token.norm for token in text.tokens if _is_name(token))


def _is_name(token: Token) -> bool:
    if token.kind != "word":
        return False
    return lexicon.is_name(token.norm) or (token.raw[:1].isupper() and not token.first)


def _denials(text: Read) -> int:
    return sum(token.norm in NEGATION for token in text.tokens)
