"""Which spellings are slips of which words: one edit apart, and no other word, name or form of the word.

What is a word at all, and how common it is, says lexicon.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from string import ascii_lowercase

from pipelines.proof import lexicon
from pipelines.proof.difference import shared_head
from pipelines.proof.words import NUMBER_WORDS, PREFIXES, SUFFIXES

_MIN_TYPO_LETTERS, _MIN_SWAPPED_LETTERS, _MIN_NUMBER_LETTERS, _MIN_USUAL_LETTERS = 4, 5, 5, 5
_MIN_RARE_LETTERS, _MIN_BEHEADED_LETTERS, _MIN_FAMOUS_LETTERS = 6, 7, 7
_MAX_LETTERS = 24
_MIN_LISTED_LETTERS = 8
"""A dictionary word that the vocabulary lacks may be a name; a long one hardly becomes another one by a slip."""

_ENGLISH = re.compile(r"[a-z]+")
_ROMAN = re.compile(r"[ivxlcdm]+")
_TECHNICAL = re.compile(
    r"\w+(?:[ai]ne|ene|yne|[aeo]none|[aeiy]n[ao]l|[aiy]l|yl|ate|ite|ide|ase|ose|oic|oma|omata|[aioe]tic|itis|osis|oses|[aeo]al|[aou]id"
    r"|a?emia|uria|algia|pathy|tomy|plasty|lysis|penia|plegia|troph\w{1,3}|tropic|genic|cyte|blast|phil\w{0,2}|stat|azole|olol|pril"
    r"|sartan|statin|mycin|cillin|vir|mab|nib|oxide)s?"
)
"""Endings of Greek and Latin, by whose letters such words are told apart: `hexane` and `hexene`, `nephrotic` and `nephritic`. Of
two that are one letter apart, the dictionary often lacks one."""

_SPECIAL_RANK = 75_000
"""Words of such endings that are more common than that are everyday ones, `definite` among them."""


def typo(a: str, b: str) -> bool:
    """One of two lower-case spellings is a slip of the other, an ordinary word, or both are; a pair of real words never is.

    Fingers seldom miss a first letter but of a long word, and `ethanol` without a slip is not `methanol`.
    """
    return lexicon.installed() and (_typo(a, b) or _slips_of_one_word(a, b, _typo))


def _typo(a: str, b: str) -> bool:
    if not _near(a, b, _MIN_TYPO_LETTERS) or (a[0] != b[0] and not _swapped(a, b) and not _beheaded(a, b)):
        return False
    if _tripled(a, b) or _tripled(b, a):
        return True
    right = b if lexicon.known(b) else a
    if (lexicon.known(a) and lexicon.known(b)) or _perhaps_derived(a, b, right) or _plural(a, b, right):
        return False
    if right in NUMBER_WORDS:
        wrong = a if right == b else b
        return len(wrong) >= _MIN_NUMBER_LETTERS and _of_no_other(wrong, right)
    if _technical(right):
        return _swapped(a, b) or _doubled(a, b)
    if (lexicon.ordinary(right) and lexicon.is_of_english(right)) or (
        lexicon.is_listed(right) and len(right) >= _MIN_LISTED_LETTERS + lexicon.is_name(right)
    ):
        return True
    least = min(len(a), len(b))
    if _swapped(a, b):
        return least >= (_MIN_SWAPPED_LETTERS if lexicon.is_of_english(right) else _MIN_RARE_LETTERS)
    return least >= _MIN_RARE_LETTERS and (
        _of_famous(right) or (lexicon.rarity(right) == lexicon.UNHEARD and _doubled(a, b))
    )


def typo_of_name(a: str, b: str) -> bool:
    """A slip in a word that may be a name: only what can hardly be another name, `Micheal` for `Michael` or `Engish`, apart."""
    if not lexicon.installed() or not _near(a, b, _MIN_SWAPPED_LETTERS) or (lexicon.known(a) and lexicon.known(b)):
        return False
    if {a, b} & NUMBER_WORDS:
        return _typo(a, b)
    right = b if lexicon.known(b) else a
    if _swapped(a, b) and lexicon.known(right) and len(a) >= _MIN_RARE_LETTERS:
        return True
    return min(len(a), len(b)) >= _MIN_RARE_LETTERS and (
        _tripled(a, b) or _tripled(b, a) or (_of_famous(right) and a[0] == b[0] and not derived(a, b))
    )


def typo_for_labels(a: str, b: str) -> bool:
    """Where only a label is asked for, a slip in a name or in a rare word is as harmless as one in an ordinary word."""
    return lexicon.installed() and (_typo_for_labels(a, b) or _slips_of_one_word(a, b, _typo_for_labels))


def _typo_for_labels(a: str, b: str) -> bool:
    if not _near(a, b, _MIN_TYPO_LETTERS) or a[0] != b[0]:
        return False
    right = b if lexicon.known(b) else a
    if (
        {a, b} & NUMBER_WORDS
        or (lexicon.known(a) and lexicon.known(b))
        or _perhaps_derived(a, b, right)
        or _plural(a, b, right)
    ):
        return False
    if (lexicon.is_capitalised(right) or lexicon.is_of_english(right)) and not _technical(right):
        return len(right) > _MIN_TYPO_LETTERS
    if min(len(a), len(b)) < _MIN_RARE_LETTERS:
        return False
    return _swapped(a, b) or _doubled(a, b) or lexicon.is_compound(a) != lexicon.is_compound(b)


def mender(words: Iterable[str]) -> Callable[[str], str]:
    """Of a word that nobody knows, the one of these that it is a slip of; of any other word that word."""
    usual = sorted({word for word in words if len(word) >= _MIN_USUAL_LETTERS})

    @lexicon.remembered
    def meant(word: str) -> str:
        if len(word) < _MIN_USUAL_LETTERS - 1 or lexicon.known(word):
            return word
        slips = [other for other in usual if other[0] == word[0] and _typo(word, other)]
        return slips[0] if slips and _of_no_other(word, slips[0]) else word

    return meant


def _of_no_other(wrong: str, right: str) -> bool:
    """No other number and no other everyday word is as near: `eigth` is a slip of two, `thsee` also of `these`. What fingers do most is
    nearer than another letter: `thhough` is `though`, not `through`.
    """
    near = _one_edit_apart(wrong) - {right}
    if right not in NUMBER_WORDS and _fumbled(wrong, right):
        near = {one for one in near if _fumbled(wrong, one)}
    return not any(one in NUMBER_WORDS or lexicon.is_everyday(one) for one in near)


def _one_edit_apart(word: str) -> set[str]:
    """From an English word, from its second letter on."""
    if len(word) > _MAX_LETTERS or not _ENGLISH.fullmatch(word):
        return set()
    halves = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]
    near = {head + tail[1:] for head, tail in halves} | {
        head + tail[1:2] + tail[:1] + tail[2:] for head, tail in halves
    }
    near |= {head + letter + tail[skip:] for head, tail in halves for letter in ascii_lowercase for skip in (0, 1)}
    return near - {word}


def _slips_of_one_word(a: str, b: str, slip: Callable[[str, str], bool]) -> bool:
    """Two words that nobody knows are both slips of an ordinary one, `heatig` and `heaating`; names may be one letter apart from it too,
    `daqing` and `daxing` from `dating`, but seldom by what fingers do most: letters swapped, doubled or lost.
    """
    if a == b or min(len(a), len(b)) < _MIN_SWAPPED_LETTERS or not -2 <= len(a) - len(b) <= 2 or a[0] != b[0]:
        return False
    if lexicon.known(a) or lexicon.known(b):
        return False
    return any(_fumbled(b, word) and slip(a, word) and slip(b, word) for word in _neighbours(a))


@lexicon.remembered
def _neighbours(word: str) -> tuple[str, ...]:
    """The ordinary words and famous names that fingers may have missed where this one stands."""
    near = (one for one in _one_edit_apart(word) if _fumbled(word, one))
    return tuple(one for one in near if lexicon.ordinary(one) or lexicon.is_famous(one))


def _of_famous(right: str) -> bool:
    """`Engish`; `Canasa` is a drug and `Munday` a name, so it takes more letters."""
    return len(right) >= _MIN_FAMOUS_LETTERS and lexicon.is_famous(right)


def _beheaded(a: str, b: str) -> bool:
    """One has lost its first letter, and no other word begins so: `mportant`."""
    short, long = sorted((a, b), key=len)
    return long[1:] == short and len(short) >= _MIN_BEHEADED_LETTERS and lexicon.is_everyday(long) and not derived(a, b)


def _technical(word: str) -> bool:
    """Told from its neighbours by one letter, as names are."""
    return lexicon.rarity(word) > _SPECIAL_RANK and _TECHNICAL.fullmatch(word) is not None


def _near(a: str, b: str, letters: int) -> bool:
    """One edit apart, long enough and in the letters of English; two Roman numbers never are.

    In other scripts a sentence may be one word, and one letter its denial; an accent may be the tense.
    """
    if a == b or min(len(a), len(b)) < letters or not (_ENGLISH.fullmatch(a) and _ENGLISH.fullmatch(b)):
        return False
    if not one_edit(a, b):
        return False
    return _ROMAN.fullmatch(a) is None or _ROMAN.fullmatch(b) is None


def _perhaps_derived(a: str, b: str, right: str) -> bool:
    """Another form of a word that the dictionary does not list; those of the words that it lists are in it."""
    return not lexicon.is_listed(right) and derived(a, b)


def _plural(a: str, b: str, right: str) -> bool:
    """A word with another `s`, which no dictionary has: `documentations` is meant so, `alway` is not."""
    return (a if right == b else b) == f"{right}s"


def _swapped(a: str, b: str) -> bool:
    """Two neighbouring letters changed places: no rare word or name becomes another one that way."""
    return len(a) == len(b) and sorted(a) == sorted(b)


def _fumbled(wrong: str, right: str) -> bool:
    """Neighbouring letters swapped, an inner one doubled or lost."""
    lost = len(wrong) < len(right) and wrong[-1] == right[-1]
    return _swapped(wrong, right) or lost or (len(wrong) > len(right) and _doubled(wrong, right))


def _doubled(a: str, b: str) -> bool:
    """An inner letter is doubled; near the end doubling may belong to an ending (`planing`, `planning`)."""
    short, long = sorted((a, b), key=len)
    at = shared_head(short, long)
    if len(a) == len(b) or not 1 < at < len(short) or long[at] != long[at - 1]:
        return False
    return short[at:] not in ("ed", "ing", "er", "ers", "est", "y")


def _tripled(a: str, b: str) -> bool:
    """`a` has three of a letter in a row where `b` has two."""
    at = shared_head(a, b)
    return len(a) == len(b) + 1 and at >= 2 and a[at] == a[at - 1] == a[at - 2]


def one_edit(a: str, b: str) -> bool:
    """One letter added, dropped, changed, or two neighbours swapped."""
    at = shared_head(a, b)
    rest_a, rest_b = a[at:], b[at:]
    if len(a) == len(b):
        swapped = rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:]
        return swapped or rest_a[1:] == rest_b[1:]
    return rest_a[1:] == rest_b or rest_a == rest_b[1:]


def derived(a: str, b: str) -> bool:
    """The two differ by a prefix or an ending of English: another form or another word, not a slip."""
    at = shared_head(a, b)
    if any(_swap(a, b, end, 1) or _swap(b, a, end, 1) for end in SUFFIXES) and at >= min(len(a), len(b)) - 3:
        return True
    return any(_swap(a, b, start, 0) or _swap(b, a, start, 0) for start in PREFIXES)


def _swap(a: str, b: str, affix: str, ending: int) -> bool:
    """`a` is `b` with this affix, or with this affix where `b` has another one."""
    others = SUFFIXES if ending else PREFIXES
    if ending:
        if not a.endswith(affix):
            return False
        stem = a[: -len(affix)]
        return stem == b or any(b.endswith(other) and b[: -len(other)] == stem for other in others if other != affix)
    if not a.startswith(affix):
        return False
    stem = a[len(affix) :]
    return stem == b or any(b.startswith(other) and b[len(other) :] == stem for other in others if other != affix)
