"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

It reads English words only, and errs on the strict side; the route or the options of a run know better.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipelines.layout import is_code
from pipelines.words import word_set

CLOSED, OPEN, EXTRACT, STRICT, VERBATIM = "closed", "open", "extract", "strict", "verbatim"
LITERAL = frozenset({EXTRACT, STRICT, VERBATIM})
"""Tasks whose answer repeats letters of the text: only what is beyond dispute may differ."""

_MARK_WORDS = (
    r"punctuat\w+|proofread\w*|copy-?edit\w*|grammar\w*|spell\w*|tokeni[sz]e\w*|verbatim|count (?:the|how)|repeat (?:the|this|after)"
    r"|quote (?:the|all|every)|(?:characters?|letters?|tokens?) (?:are|is|in|of)"
)
"""Of these every mark is the point."""

_LETTER_WORDS = (
    r"translat\w+|transcri\w+|transliterat\w+|rewrit\w+|rephras\w+|paraphras\w+|reword\w*|correct (?:the|this|any|all|my|every)"
    r"|redact\w*|anonymi[sz]\w+|convert\w*|normali[sz]\w+|format (?:the|this)|reformat\w*|capitali[sz]\w+|compare (?:the|these|this|both|two)"
    r"|code|sql|regex\w*|scripts?|functions?|python|javascript|typescript|java|html|css|bash|shell|program"
)
_PART_WORDS = r"extract\w*|named entit\w+|entit(?:y|ies)|parse|list (?:all|every|the|each)|find (?:all|every)|pull out"
_LABEL_WORDS = (
    r"classif\w+|categori[sz]\w+|labels?|labell?ing|sentiment|assign|positive or negative|rate|rating|score|intents?|category|categories"
    r"|topics?|decide whether|determine whether"
)
_CHOICE_WORDS = (
    r"which of|(?:exactly )?one of|either|yes or no|true or false|choose|select|pick|one word|multiple choice"
)
"""Also of labels, but they say no more than how an answer looks: whatever is asked, it may end in `Answer with one word.`"""


def _words(*tables: str) -> re.Pattern[str]:
    """Finds any of these in a text in lower case."""
    return re.compile(rf"\b(?:{'|'.join(tables)})\b")


_MARKS, _LETTERS, _PARTS = map(_words, (_MARK_WORDS, _LETTER_WORDS, _PART_WORDS))
_LITERALS = _words(_MARK_WORDS, _LETTER_WORDS, _PART_WORDS)
_LABELS, _ANY_LABELS = _words(_LABEL_WORDS), _words(_LABEL_WORDS, _CHOICE_WORDS)
_FORMAT_WORDS = "json|xml|yaml|csv|markdown|schema"
_FORMATS, _SHAPES = _words(_FORMAT_WORDS), _words(_FORMAT_WORDS, "table|fields?|keys?")
_ENGLISH = _words(
    "the|a|an|is|are|to|of|and|in|for|with|what|how|why|where|when|who|which|do|does|can|i|you|my|your|this|it"
)
_ORDERS = word_set(
    "translate transcribe transliterate proofread rewrite rephrase paraphrase reword correct fix spell tokenize tokenise redact anonymize "
    "anonymise convert normalize normalise format reformat punctuate edit count capitalize capitalise repeat quote compare write code "
    "implement make create change turn put give return print output provide show list extract find parse pull name identify check review "
    "explain improve complete add insert remove replace use say tell take read copy answer respond reply summarize summarise task"
)
_ORDER = re.compile(
    r"(?:^|[.!?:;]\s|\n)[\W\d]{0,9}"
    r"(?:(?:please|kindly|now|then|next|first|finally|and|(?:can|could|would|will) you|your task is to|you (?:must|should|are to)),? ){0,3}"
    r"([a-z]+)\b[^.!?:;\n]*"
)
"""A sentence that may say what to do, if its first word of weight is one of those above."""

_CACHED, _CACHED_LETTERS = 4096, 4000


def infer_task(instruction: str, rest: str = "") -> str:
    """The kind of a task from the words of its instruction; in doubt, and in other languages, the strictest one.

    `rest` is what stands beside it in a prompt, and may hold the real instruction: `Answer in English.` may close any prompt. Where the
    instruction says what to do, only sentences of the rest that open like orders count; else every word of it does.
    """
    told = _cached(instruction) if len(instruction) <= _CACHED_LETTERS else _infer(instruction)
    if not rest or told == VERBATIM:
        return told
    if told in LITERAL or (told == CLOSED and _LABELS.search(instruction.lower()) is not None):
        return stricter(told, _ordered(rest.lower()))
    return _hidden(f"{instruction} {rest}") or (CLOSED if _LABELS.search(rest.lower()) is not None else told)


def _infer(instruction: str) -> str:
    low = instruction.lower()
    found = _literal(instruction, low)
    if found is not None:
        return found
    if _ANY_LABELS.search(low) is not None:
        return CLOSED
    if _SHAPES.search(low) is not None:
        return EXTRACT
    return OPEN if _ENGLISH.search(low) is not None else STRICT


def _hidden(text: str) -> str | None:
    """The literal task that any words of a text name, if any; `table` and `key` are words of other things too."""
    low = text.lower()
    return _literal(text, low) or (EXTRACT if _FORMATS.search(low) is not None else None)


def _literal(text: str, low: str) -> str | None:
    """The literal task that a text, also given in lower case, names by words or by holding code."""
    found = _named(low)
    return STRICT if found in (None, EXTRACT) and is_code(text) else found


def _named(low: str) -> str | None:
    """Which literal task the words of a text in lower case name, if any."""
    if _LITERALS.search(low) is None:
        return None
    kinds = ((VERBATIM, _MARKS), (STRICT, _LETTERS), (EXTRACT, _PARTS))
    return next(kind for kind, words in kinds if words.search(low) is not None)


def _ordered(low: str) -> str:
    """What the sentences ask for that open like orders."""
    if _LITERALS.search(low) is None:
        return OPEN
    orders = [found.group() for found in _ORDER.finditer(low) if found[1] in _ORDERS]
    return _named("\n".join(orders)) or OPEN


_cached = lru_cache(maxsize=_CACHED)(_infer)


def stricter(a: str, b: str) -> str:
    """The one of two kinds that allows less."""
    return max(a, b, key=(OPEN, CLOSED, EXTRACT, STRICT, VERBATIM).index)
