"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

It reads English words only, and errs on the strict side; the route or the options of a run know better.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipelines.layout import is_code

CLOSED, OPEN, EXTRACT, STRICT, VERBATIM = "closed", "open", "extract", "strict", "verbatim"
LITERAL = frozenset({EXTRACT, STRICT, VERBATIM})
"""Tasks whose answer repeats letters of the text: only what is beyond dispute may differ."""

_LETTERS = re.compile(
    r"\b(?:translat\w+|transcri\w+|transliterat\w+|proofread\w*|rewrit\w+|rephras\w+|paraphras\w+|reword\w*"
    r"|correct (?:the|this|any|all|my|every)|correct\w* grammar|grammar\w*|spell\w*|tokeni[sz]e\w*|redact\w*"
    r"|anonymi[sz]\w+|verbatim|convert\w*|normali[sz]\w+|format (?:the|this)|reformat\w*|punctuat\w+|copy-?edit\w*"
    r"|count (?:the|how)|capitali[sz]\w+|repeat (?:the|this|after)|quote (?:the|all|every)|compare\w*"
    r"|code|sql|regex\w*|scripts?|functions?|python|javascript|typescript|java|html|css|bash|shell|program)\b",
    re.IGNORECASE,
)
_MARKS = re.compile(
    r"\b(?:punctuat\w+|proofread\w*|copy-?edit\w*|grammar\w*|spell\w*|tokeni[sz]e\w*|verbatim|count (?:the|how)"
    r"|repeat (?:the|this|after)|quote (?:the|all|every)|(?:characters?|letters?|tokens?) (?:are|is|in|of))\b",
    re.IGNORECASE,
)
"""Of these every mark is the point."""

_PARTS = re.compile(
    r"\b(?:extract\w*|named entit\w+|entit(?:y|ies)|parse|list (?:all|every|the|each)|find (?:all|every)|pull out)\b",
    re.IGNORECASE,
)
_LABELS = re.compile(
    r"\b(?:classif\w+|categori[sz]\w+|labels?|labell?ing|sentiment|assign|which of|(?:exactly )?one of|either|yes or no"
    r"|true or false|positive or negative|choose|select|pick|rate|rating|score|intents?|category|categories|topics?"
    r"|one word|multiple choice|decide whether|determine whether|on a scale|yes ?/ ?no|true ?/ ?false|(?:number|letter|label) only"
    r"|answer with (?:yes|a number|a letter)|does the (?:text|post|message|review|comment|e-?mail)\b.{0,80}\byes|polarity|tone|mood)\b"
    r"|[(\[{<]\s*[\w-]+(?: ?[/|] ?[\w-]+){1,9}\s*[)\]}>]",
    re.IGNORECASE,
)
_JSON = re.compile(r"[\[{][^\[\]{}\"]*\"[^\[\]{}]*[\]}]")
_NESTED = 4
_SHAPES = re.compile(r"\b(?:json|xml|yaml|csv|markdown|table|fields?|schema|keys?)\b", re.IGNORECASE)
_ENGLISH = re.compile(
    r"\b(?:the|a|an|is|are|to|of|and|in|for|with|what|how|why|where|when|who|which|do|does|can|i|you|my|your|this|it)\b",
    re.IGNORECASE,
)
_CACHED, _CACHED_LETTERS = 4096, 4000


def infer_task(instruction: str) -> str:
    """The kind of a task from the words of its instruction; in doubt, and in other languages, the strictest one."""
    return _cached(instruction) if len(instruction) <= _CACHED_LETTERS else _infer(instruction)


def _infer(instruction: str) -> str:
    if _MARKS.search(instruction) is not None:
        return VERBATIM
    if _LETTERS.search(instruction) is not None or is_code(_without_json(instruction)):
        return STRICT
    if _PARTS.search(instruction) is not None:
        return EXTRACT
    if _LABELS.search(instruction) is not None:
        return CLOSED
    if _SHAPES.search(instruction) is not None:
        return EXTRACT
    return OPEN if _ENGLISH.search(instruction) is not None else STRICT


def _without_json(text: str) -> str:
    """The form of an answer is no program."""
    for _ in range(_NESTED if '"' in text else 0):
        text = _JSON.sub(" ", text)
    return text


_cached = lru_cache(maxsize=_CACHED)(_infer)


def stricter(a: str, b: str) -> str:
    """The one of two kinds that allows less."""
    return max(a, b, key=(OPEN, CLOSED, EXTRACT, STRICT, VERBATIM).index)
