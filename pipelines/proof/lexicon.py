"""Which words are ordinary and which spellings are slips, judged from a tokenizer's ranked, cased vocabulary, which knows what
is common and what is a name, and from a dictionary, which knows what is a word at all.

It reads no file itself: both come from tokens.py, once; without them no typo is ever forgiven.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pipelines.proof.difference import shared_head
from pipelines.proof.words import NUMBER_WORDS, PREFIXES, SUFFIXES, word_pairs

_MIN_TYPO_LETTERS = 4
_MIN_RARE_LETTERS = 6
_MIN_HALF_LETTERS = 4
_MAX_COMPOUND_LETTERS = 24
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

_CACHED = 65_536
_UNHEARD = 1 << 30

_lower: dict[str, int] = {}
_title: dict[str, int] = {}
_listed: frozenset[str] = frozenset()


def install(tokens: Iterable[tuple[bytes, int]], listed: Iterable[str] = ()) -> None:
    """Take whole words from a byte-pair vocabulary, tokens that start with a space, with their ranks; and a dictionary's words."""
    global _listed
    _listed = frozenset(listed)
    known.cache_clear()
    for token, rank in tokens:
        if len(token) < 3 or token[0] != 32:
            continue
        word = token[1:].decode("utf-8", "ignore")
        if word.isalpha():
            (_lower if word.islower() else _title)[word.lower()] = rank


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


@lru_cache(maxsize=_CACHED)
def known(word: str) -> bool:
    """The vocabulary or the dictionary holds this word, in whatever case and in British or American spelling."""
    return word in _lower or word in _title or word in _listed or spelling(word) in _listed


def _compound(word: str) -> bool:
    """Two ordinary words in one, `passcode`, which no dictionary need hold."""
    ends = range(_MIN_HALF_LETTERS, min(len(word), _MAX_COMPOUND_LETTERS) - _MIN_HALF_LETTERS + 1)
    return any(all(ordinary(half) and half in _listed for half in (word[:end], word[end:])) for end in ends)


def ordinary(word: str) -> bool:
    """A common word that is written in lower case more often than not, and no number."""
    rank = _lower.get(word)
    return rank is not None and word not in NUMBER_WORDS and rank < _title.get(word, _UNHEARD)


def is_name(word: str) -> bool:
    """Capitalised more often than not: a name, as far as a vocabulary can say."""
    rank = _title.get(word)
    return rank is not None and rank < _lower.get(word, _UNHEARD)


def rarity(word: str) -> int:
    """The less common a word is, the higher; highest where the vocabulary does not have it."""
    return min(_lower.get(word, _UNHEARD), _title.get(word, _UNHEARD))


def typo(a: str, b: str) -> bool:
    """One of two lower-case spellings is a slip of the other, an ordinary word; a pair of real words never is.

    Fingers seldom miss a first letter, and `ethanol` without a slip is not `methanol`.
    """
    if not installed() or not _near(a, b, _MIN_TYPO_LETTERS) or (a[0] != b[0] and not _swapped(a, b)):
        return False
    if _tripled(a, b) or _tripled(b, a):
        return True
    right = b if known(b) else a
    if right in NUMBER_WORDS or (known(a) and known(b)) or _perhaps_derived(a, b, right) or _plural(a, b, right):
        return False
    if _technical(right):
        return _swapped(a, b) or _doubled(a, b)
    if (ordinary(right) and _of_english(right)) or (
        right in _listed and len(right) >= _MIN_LISTED_LETTERS + is_name(right)
    ):
        return True
    if min(len(a), len(b)) < _MIN_RARE_LETTERS:
        return False
    return _swapped(a, b) or (right not in _title and right not in _lower and _doubled(a, b))


def typo_of_name(a: str, b: str) -> bool:
    """A slip in a word that may be a name: only what can hardly be another name, `Micheal` for `Michael` apart."""
    if not installed() or not _near(a, b, _MIN_RARE_LETTERS) or (known(a) and known(b)):
        return False
    return _tripled(a, b) or _tripled(b, a) or (_swapped(a, b) and (known(a) or known(b)))


def typo_for_labels(a: str, b: str) -> bool:
    """Where only a label is asked for, a slip in a name or in a rare word is as harmless as one in an ordinary word."""
    if not installed() or not _near(a, b, _MIN_TYPO_LETTERS + 1) or a[0] != b[0]:
        return False
    right = b if known(b) else a
    if {a, b} & NUMBER_WORDS or (known(a) and known(b)) or _perhaps_derived(a, b, right) or _plural(a, b, right):
        return False
    if (right in _title or _of_english(right)) and not _technical(right):
        return True
    if min(len(a), len(b)) < _MIN_RARE_LETTERS:
        return False
    return _swapped(a, b) or _doubled(a, b) or _compound(a) != _compound(b)


def _of_english(word: str) -> bool:
    """The vocabulary is of many languages; in some of them one letter denies: Turkish `geliyor` comes, `gelmiyor` does not."""
    return word in _listed or spelling(word) in _listed or _compound(word)


def _technical(word: str) -> bool:
    """Told from its neighbours by one letter, as names are."""
    return rarity(word) > _SPECIAL_RANK and _TECHNICAL.fullmatch(word) is not None


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
    return right not in _listed and derived(a, b)


def _plural(a: str, b: str, right: str) -> bool:
    """A word with another `s`, which no dictionary has: `documentations` is meant so, `alway` is not."""
    return (a if right == b else b) == f"{right}s"


def _swapped(a: str, b: str) -> bool:
    """Two neighbouring letters changed places: no rare word or name becomes another one that way."""
    return len(a) == len(b) and sorted(a) == sorted(b)


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


_SPELLINGS = (
    (re.compile(r"(?<=[a-z]{3})is(e|ed|es|ing|ation|ations|er|ers)$"), r"iz\1"),
    (re.compile(r"(?<=[a-z]{2})our(s|ed|ing|ite|ites|able|ful|less)?$"), r"or\1"),
    (re.compile(r"(?<=[a-z]{3}[ae])ll(ed|ing|er|ers)$"), r"l\1"),
    (re.compile(r"(?<=[a-z]{2}[tlb])(?<!timb)re(s?)$"), r"er\1"),
    (re.compile(r"ogue(s?)$"), r"og\1"),
    (re.compile(r"(?<=[dfp][er][ft])ence(s?)$"), r"ense\1"),
    (re.compile(r"(?<=licen)ce(?=s?$|d$)"), "se"),
    (re.compile(r"^grey"), "gray"),
    (re.compile(r"^aluminium"), "aluminum"),
    (re.compile(r"sulph"), "sulf"),
    (re.compile(r"(?<=p)ae(?=d)|(?<=an)ae(?=sth)|(?<=gyn)ae(?=c)|(?<=[nhkcrltd])ae(?=m[aoi])"), "e"),
    (re.compile(r"^o(?=estr|edem|esoph)|(?<=^f)o(?=et[au])|(?<=rrh)o(?=ea)"), ""),
)
"""British endings and their American forms, applied to both sides."""


_VARIANTS = word_pairs(
    "programme program | programmes programs | sceptic skeptic | sceptics skeptics | sceptical skeptical | scepticism skepticism | "
    "judgement judgment | judgements judgments | ageing aging | fulfil fulfill | fulfils fulfills | skilful skillful | jewellery jewelry | "
    "moustache mustache | pyjamas pajamas | plough plow | ploughs plows | enrol enroll | instalment installment | instalments installments | "
    "artefact artifact | artefacts artifacts | yoghurt yogurt | doughnut donut | doughnuts donuts | cosy cozy | manoeuvre maneuver"
)
"""Those that no ending tells."""


def spelling(word: str) -> str:
    """One spelling for the British and the American form of a word."""
    word = _VARIANTS.get(word, word)
    for pattern, replacement in _SPELLINGS:
        word = pattern.sub(replacement, word)
    return word


def forget() -> None:
    """Back to no vocabulary."""
    _lower.clear()
    _title.clear()
    install(())
