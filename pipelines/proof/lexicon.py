"""Which words are ordinary and which are names, judged from a tokenizer's ranked, cased vocabulary, which knows what is common and
what is a name, and from a dictionary, which knows what is a word at all.

It reads no file itself: both come from tokens.py, once; without them no typo is ever forgiven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from pipelines.proof.spelling import spelling
from pipelines.proof.words import NUMBER_WORDS

_MIN_HALF_LETTERS = 4
_MAX_COMPOUND_LETTERS = 24
_EVERYDAY_RANK, _FAMOUS_RANK = 20_000, 12_000
"""Names that are more common than the second are of countries, languages, months and the like; those of persons, which have variants,
are rarer."""

_CACHED = 65_536
UNHEARD = 1 << 30
"""The rarity of what the vocabulary does not have."""

_lower: dict[str, int] = {}
_title: dict[str, int] = {}
_listed: frozenset[str] = frozenset()

forgets: list[Callable[[], None]] = []
"""What another vocabulary may judge otherwise is remembered here and elsewhere; each of these forgets some of it."""

_Judged = TypeVar("_Judged")


def remembered(judge: Callable[[str], _Judged]) -> Callable[[str], _Judged]:
    """What is judged of a word by the vocabulary is remembered until there is another one."""
    cached = lru_cache(maxsize=_CACHED)(judge)
    forgets.append(cached.cache_clear)
    return cached


def install(tokens: Iterable[tuple[bytes, int]], listed: Iterable[str] = ()) -> None:
    """Take whole words from a byte-pair vocabulary, tokens that start with a space, with their ranks; and a dictionary's words."""
    global _listed
    _listed = frozenset(listed)
    for token, rank in tokens:
        if len(token) < 3 or token[0] != 32:
            continue
        word = token[1:].decode("utf-8", "ignore")
        if word.isalpha():
            (_lower if word.islower() else _title)[word.lower()] = rank
    for forget_some in forgets:
        forget_some()


def load() -> None:
    """Install the o200k vocabulary and the English dictionary unless they are there."""
    if installed():
        return
    import base64

    from pipelines import tokens

    lines = (line.split() for line in tokens._read("o200k_base").splitlines())
    install(((base64.b64decode(token), int(rank)) for token, rank in lines), tokens.english_words())


def installed() -> bool:
    """True once a vocabulary is there."""
    return bool(_lower)


@remembered
def known(word: str) -> bool:
    """The vocabulary or the dictionary holds this word, in whatever case and in British or American spelling."""
    return is_written(word) or spelling(word) in _listed


def is_written(word: str) -> bool:
    """They hold it in just this spelling."""
    return word in _lower or word in _title or word in _listed


def is_compound(word: str) -> bool:
    """Two ordinary words in one, `passcode`, which no dictionary need hold."""
    ends = range(_MIN_HALF_LETTERS, min(len(word), _MAX_COMPOUND_LETTERS) - _MIN_HALF_LETTERS + 1)
    return any(all(ordinary(half) and half in _listed for half in (word[:end], word[end:])) for end in ends)


def ordinary(word: str) -> bool:
    """A common word that is written in lower case more often than not, and no number."""
    rank = _lower.get(word)
    return rank is not None and word not in NUMBER_WORDS and rank < _title.get(word, UNHEARD)


def is_name(word: str) -> bool:
    """Capitalised more often than not: a name, as far as a vocabulary can say."""
    rank = _title.get(word)
    return rank is not None and rank < _lower.get(word, UNHEARD)


def rarity(word: str) -> int:
    """The less common a word is, the higher; highest where the vocabulary does not have it."""
    return min(_lower.get(word, UNHEARD), _title.get(word, UNHEARD))


def is_of_english(word: str) -> bool:
    """The vocabulary is of many languages; in some of them one letter denies: Turkish `geliyor` comes, `gelmiyor` does not."""
    return word in _listed or spelling(word) in _listed or is_compound(word)


def is_listed(word: str) -> bool:
    """The dictionary has it."""
    return word in _listed


def is_capitalised(word: str) -> bool:
    """The vocabulary has it with a capital letter, as it has nearly every English word that begins sentences, and names."""
    return word in _title


def is_famous(word: str) -> bool:
    """The name of a country, a language, a month or the like: so common are no others."""
    return is_name(word) and rarity(word) < _FAMOUS_RANK


def is_everyday(word: str) -> bool:
    """One of the commonest English words."""
    return ordinary(word) and is_of_english(word) and rarity(word) < _EVERYDAY_RANK


def forget() -> None:
    """Back to no vocabulary."""
    _lower.clear()
    _title.clear()
    install(())
