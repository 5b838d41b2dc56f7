"""Which words are ordinary and which spellings are slips, judged from a tokenizer's ranked, cased vocabulary.

It reads no file itself: the vocabulary comes from tokens.py, once; without one no typo is ever forgiven.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.words import NUMBER_WORDS, PREFIXES, SUFFIXES

_MIN_TYPO_LETTERS = 4
_MIN_RARE_LETTERS = 6
_COMMON_RANK = 60_000
"""Beyond this rank the vocabulary holds many pieces of words; a stem must be more common than that."""

_ENDINGS = ("s", "es", "ed", "d", "ing", "er", "est", "ly", "ness", "less", "ful", "able", "ment", "y")
_STARTS = (
    "un",
    "re",
    "dis",
    "mis",
    "non",
    "over",
    "under",
    "out",
    "pre",
    "anti",
    "inter",
    "sub",
    "super",
    "counter",
    "semi",
)

_lower: dict[str, int] = {}
_title: dict[str, int] = {}


def install(tokens: Iterable[tuple[bytes, int]]) -> None:
    """Take whole words from a byte-pair vocabulary: tokens that start with a space, with their ranks."""
    for token, rank in tokens:
        if len(token) < 3 or token[0] != 32:
            continue
        word = token[1:].decode("utf-8", "ignore")
        if word.isalpha():
            (_lower if word.islower() else _title)[word.lower()] = rank


def load() -> None:
    """Install the o200k vocabulary unless one is there."""
    if installed():
        return
    import base64

    from pipelines import tokens

    lines = (line.split() for line in tokens._read("o200k_base").splitlines())
    install((base64.b64decode(token), int(rank)) for token, rank in lines)


def installed() -> bool:
    """True once a vocabulary is there."""
    return bool(_lower)


def known(word: str) -> bool:
    """The vocabulary holds this word, in whatever case."""
    return word in _lower or word in _title


def ordinary(word: str) -> bool:
    """A common word that is written in lower case more often than not, and no number."""
    rank = _lower.get(word)
    return rank is not None and word not in NUMBER_WORDS and rank < _title.get(word, 1 << 30)


def is_name(word: str) -> bool:
    """Capitalised more often than not: a name, as far as a vocabulary can say."""
    rank = _title.get(word)
    return rank is not None and rank < _lower.get(word, 1 << 30)


def typo(a: str, b: str) -> bool:
    """One of two lower-case spellings is a slip of the other, an ordinary word; a pair of real words never is.

    Fingers seldom miss a first letter, and `ethanol` without a slip is not `methanol`.
    """
    if not installed() or a == b or not (a.isalpha() and b.isalpha()) or abs(len(a) - len(b)) > 1:
        return False
    if min(len(a), len(b)) < _MIN_TYPO_LETTERS or not one_edit(a, b) or (a[0] != b[0] and not _swapped(a, b)):
        return False
    if _tripled(a, b) or _tripled(b, a):
        return True
    if derived(a, b) or (known(a) and known(b)):
        return False
    right, wrong = (b, a) if known(b) else (a, b)
    if ordinary(right):
        return not _word_form(wrong)
    if right in NUMBER_WORDS or min(len(a), len(b)) < _MIN_RARE_LETTERS:
        return False
    return _swapped(a, b) or (not known(right) and _doubled(a, b))


def typo_of_name(a: str, b: str) -> bool:
    """A slip in a word that may be a name: only what can hardly be another name, `Micheal` for `Michael` apart."""
    if not installed() or min(len(a), len(b)) < _MIN_RARE_LETTERS or not one_edit(a, b) or (known(a) and known(b)):
        return False
    return _tripled(a, b) or _tripled(b, a) or (_swapped(a, b) and (known(a) or known(b)))


def typo_for_labels(a: str, b: str) -> bool:
    """Where only a label is asked for, a slip in a name or in a rare word is as harmless as one in an ordinary word."""
    if not installed() or min(len(a), len(b)) <= _MIN_TYPO_LETTERS or not one_edit(a, b) or a[0] != b[0]:
        return False
    if derived(a, b) or (known(a) and known(b)) or {a, b} & NUMBER_WORDS:
        return False
    if known(a) or known(b):
        return not _word_form(b if known(a) else a)
    return min(len(a), len(b)) >= _MIN_RARE_LETTERS and a[-1] == b[-1]


def _swapped(a: str, b: str) -> bool:
    """Two neighbouring letters changed places: no rare word or name becomes another one that way."""
    return len(a) == len(b) and sorted(a) == sorted(b)


def _doubled(a: str, b: str) -> bool:
    """An inner letter is doubled; near the end doubling may belong to an ending (`planing`, `planning`)."""
    short, long = sorted((a, b), key=len)
    at = _first_difference(short, long)
    if len(a) == len(b) or not 1 < at < len(short) or long[at] != long[at - 1]:
        return False
    return short[at:] not in ("ed", "ing", "er", "ers", "est", "y")


def _tripled(a: str, b: str) -> bool:
    """`a` has three of a letter in a row where `b` has two."""
    at = _first_difference(a, b)
    return len(a) == len(b) + 1 and at >= 2 and a[at] == a[at - 1] == a[at - 2]


def one_edit(a: str, b: str) -> bool:
    """One letter added, dropped, changed, or two neighbours swapped."""
    at = _first_difference(a, b)
    rest_a, rest_b = a[at:], b[at:]
    if len(a) == len(b):
        swapped = rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:]
        return swapped or rest_a[1:] == rest_b[1:]
    return rest_a[1:] == rest_b or rest_a == rest_b[1:]


def _first_difference(a: str, b: str) -> int:
    at = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        at += 1
    return at


def derived(a: str, b: str) -> bool:
    """The two differ by a prefix or an ending of English: another form or another word, not a slip."""
    at = _first_difference(a, b)
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


def _word_form(word: str) -> bool:
    """An unlisted word that is a common one with a common ending or beginning: probably real."""
    for end in _ENDINGS:
        if word.endswith(end):
            stem = word[: -len(end)]
            vowel = end[0] in "ei" and _common(stem + "e")
            if (_common(stem) and not _wants_doubling(stem, end)) or vowel:
                return True
    return any(word.startswith(start) and _common(word[len(start) :]) for start in _STARTS)


def _common(stem: str) -> bool:
    return len(stem) >= _MIN_TYPO_LETTERS - 1 and ordinary(stem) and _lower[stem] < _COMMON_RANK


def _wants_doubling(stem: str, end: str) -> bool:
    """`red` makes `redder`, not `reder`."""
    one_vowel = sum(letter in "aeiouy" for letter in stem) == 1
    return end[0] in "ei" and one_vowel and len(stem) > 2 and stem[-2] in "aeiou" and stem[-1] not in "aeiouwxy"


def forget() -> None:
    """Back to no vocabulary."""
    _lower.clear()
    _title.clear()
