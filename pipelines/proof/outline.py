"""Outlines of a text: what its variants have in common. They propose pairs, and say where looking further is in vain.

Two texts that a proof could accept share their skeleton or at least one outline; the reverse is not so.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.proof import lexicon
from pipelines.proof.explain import MARKED_KINDS, read
from pipelines.proof.moves import JOINERS
from pipelines.proof.reading import Token
from pipelines.proof.wording import LIGHT, singular
from pipelines.proof.words import ARTICLES, ASKING, POLITE, SLIPS

OUTLINES = 8
_GROUPS = (4, 3)
_LONG_WORD = 4
_MIN_LONG_WORDS = 3
_SKIPPED = POLITE | ARTICLES | {"-"}
_WEIGHTLESS = _SKIPPED | ASKING | JOINERS | LIGHT | frozenset("()?")
"""What a proof may leave out, add or exchange."""


def skeleton(text: str) -> list[str]:
    """First and last letter of every longer word, in order; what may be added or left out is left out."""
    return [
        _bones(token.norm) if token.kind == "word" else token.norm.lower()
        for token in _without_courtesies(text)
        if token.norm not in _SKIPPED
    ]


def outlines(text: str) -> list[str]:
    """Eight forms of the words in any order, each without some of them. A form that nothing is left of is empty.

    Seven are without the words whose first letter is of one of four groups of letters, or whose last letter is of one of
    three: a slip spares one end of a word, so it spares one of the seven. The last has only the longer words: what differs
    in numbers, denials and small words has it in common, a near miss that is worth a look.
    """
    tokens = [token for token in _without_courtesies(text) if token.norm not in _WEIGHTLESS]
    fixed = "\x1f".join([token.norm.lower() for token in tokens if token.kind in MARKED_KINDS])
    free = sorted([(_bare(token.norm), len(token.norm)) for token in tokens if token.kind not in MARKED_KINDS])
    bones = [bone for bone, _ in free]
    long = [bone for bone, letters in free if letters >= _LONG_WORD]
    forms = [*_without_each(bones, 0, _GROUPS[0]), *_without_each(bones, -1, _GROUPS[1])]
    forms = [f"{form}\x1e{fixed}" if fixed or form else "" for form in forms]
    return [*forms, "\x1c" + "\x1f".join(long) if len(long) >= _MIN_LONG_WORDS else ""]


def _without_courtesies(text: str) -> list[Token]:
    """Nor with the commonest slips, which may be of words that are skipped."""
    found = read(text)
    kept = [token for at, token in enumerate(found.tokens) if at not in found.courteous]
    if SLIPS.keys().isdisjoint(found.bag):
        return kept
    return [token._replace(norm=SLIPS.get(token.norm, token.norm)) for token in kept]


def _without_each(bones: Sequence[str], end: int, count: int) -> list[str]:
    """Where all words are of one group, their number is what is left without it."""
    groups: list[list[str]] = [[] for _ in range(count)]
    for bone in bones:
        groups[ord(bone[end]) % count].append(bone)
    joined = ["\x1f".join(group) for group in groups]
    forms = ["\x1d".join("" if at == out else group for at, group in enumerate(joined)) for out in range(count)]
    lonely = [f"{end}{out}:{len(bones)}" if bones else "" for out in range(count)]
    return [form if form.strip("\x1d") else number for form, number in zip(forms, lonely, strict=True)]


def _bones(word: str) -> str:
    """Two letters of a longer word; a shorter one is itself."""
    return word[0] + word[-1] if len(word) >= _LONG_WORD else word


@lexicon.remembered
def _bare(norm: str) -> str:
    return _bones(singular(norm))
