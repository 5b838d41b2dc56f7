"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

It reads English words only, and errs on the strict side; the route or the options of a run know better.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from pipelines.proof.choices import KEPT, offers, repeated_labels, uncased, unshown, without_case
from pipelines.proof.layout import is_code
from pipelines.proof.reworking import (
    ENGLISH,
    asks_openly,
    is_about_words,
    orders_rework,
    perhaps_reworks,
    reworks,
)
from pipelines.proof.taskwords import (
    ANY_LABELS,
    FORMS,
    LABELS,
    LETTERS,
    LITERALS,
    MARKS,
    NAMED_CHOICE,
    OPTIONS,
    PARTS,
    words,
)
from pipelines.proof.words import ASKING, word_set

CLOSED, OPEN, EXTRACT, STRICT, VERBATIM = "closed", "open", "extract", "strict", "verbatim"
LITERAL = frozenset({EXTRACT, STRICT, VERBATIM})
"""Tasks whose answer repeats letters of the text: only what is beyond dispute may differ."""

_JSON = re.compile(r"[\[{][^\[\]{}\"]*\"[^\[\]{}]*[\]}]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_NESTED, _GUIDE_WORDS = 4, 30
_TEXTS = words(
    r"this|it|following|texts?|sentences?|messages?|e-?mails?|comments?|reviews?|writers?|customers?|authors?|speakers?|users?|tweets?"
    r"|posts?|passages?|paragraphs?|documents?|articles?|quer(?:y|ies)|repl(?:y|ies)|claims?|statements?|descriptions?|headlines?|titles?"
)
_JUDGING = ASKING | word_set("whether if judge detect check tell say decide")
_SENTENCE = re.compile(r"[^.!?\n]+")
_FORMAT_WORDS = "json|xml|yaml|csv|markdown|schema"
_FORMATS, _SHAPES = words(_FORMAT_WORDS), words(_FORMAT_WORDS, r"(?<!on the )(?<!at the )table|fields?|keys?")
_TELLS = words(
    r"summari[sz]\w+|summary|tl;? ?dr|(?:reply|respond) to (?:the|this|my|his|her|their)"
    r"|(?:write|draft|compose) (?:[\w-]+,? ){0,5}(?:repl(?:y|ies)|answers?|responses?|e-?mails?|letters?|headlines?|titles?)"
)
"""Of open tasks that say what to do with a text: of what stands in it only orders count."""

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

_SHOWN = re.compile(r"^([^\W\d_][\w -]{0,30}:)[ \t].*$", re.MULTILINE)
"""A line of an example: `Review: It was dull.`"""

_EXAMPLES, _LONG = 3, 1500
"""So often a label makes examples; a line of more letters is a passage to be read."""

_OPENING = 5
_CACHED, _CACHED_LETTERS = 1024, 16_000


def infer_task(instruction: str, rest: str = "") -> str:
    """The kind of a task from the words of its instruction; in doubt, and in other languages, the strictest one.

    `rest` is what stands beside it in a prompt, and may hold the real instruction: `Answer in English.` may close any prompt. Where the
    instruction says what to do, only sentences of the rest that open like orders count; else every word of it does.
    """
    told = _cached(instruction) if len(instruction) <= _CACHED_LETTERS else _infer(instruction)
    if not rest or told == VERBATIM:
        return told
    if told not in LITERAL:
        instruction = asked_of(instruction)
    if told in LITERAL or (told == CLOSED and _says_of_what(instruction.lower())):
        return stricter(told, _ordered(rest.lower()))
    if told == OPEN and _TELLS.search(instruction.lower()) is not None:
        return STRICT if is_code(_without_json(rest)) else _ordered(rest.lower())
    low = rest.lower()
    hidden = _hidden(f"{instruction} {rest}")
    if orders_rework(low):
        return stricter(hidden or STRICT, STRICT)
    return hidden or (CLOSED if LABELS.search(low) is not None else told)


def labelled_task(instruction: str, rest: str) -> str:
    """The kind of a task whose answer is known to be a label: closed, unless its words say that form or letters are judged."""
    low = instruction.lower()
    strict = _judges_form(low) or is_about_words(uncased(low), labels=True)
    return stricter(_named(low) or (STRICT if strict else CLOSED), _ordered(rest.lower()))


def asked_of(instruction: str) -> str:
    """What of the words that all prompts share may say what to do: not the examples, nor a long passage that is read or judged,
    but for the orders in them. All of it where nothing else is left."""
    return (_cached_asked if len(instruction) <= _CACHED_LETTERS else _asked)(instruction)


def _asked(instruction: str) -> str:
    shown = Counter(_SHOWN.findall(instruction)) if instruction.count("\n") > _EXAMPLES else {}
    many = {label for label, count in shown.items() if count >= _EXAMPLES}
    left = _SHOWN.sub(lambda line: line[1] if line[1] in many else line[0], instruction) if many else instruction
    told = left
    if len(left) > _LONG:
        left = "\n".join(line for line in left.split("\n") if len(line) <= _LONG)
    if len(left) == len(instruction) or ENGLISH.search(left.lower()) is None or is_code(_without_json(instruction)):
        return instruction
    orders = (found.group() for found in _ORDER.finditer(told.lower()) if found[1] in _ORDERS)
    return "\n".join([left, *(" ".join(order.split()[:_OPENING]) for order in orders)])


def says_what(instruction: str) -> bool:
    """Whether it says what to do with a text, so that only orders in the text could say more."""
    told = infer_task(instruction)
    return told == CLOSED or (told == OPEN and _TELLS.search(instruction.lower()) is not None)


def _infer(whole: str) -> str:
    instruction = asked_of(whole)
    if instruction != whole and _judges_form(whole.lower(), LABELS):
        return STRICT
    low = instruction.lower()
    found = _literal(instruction, low)
    if found not in (None, EXTRACT):
        return found
    labels = repeated_labels(whole)
    asked = unshown(low) if labels else uncased(low)
    if is_about_words(asked, labels=LABELS.search(low) is not None) or reworks(asked):
        return STRICT
    if found is not None or _judges_form(low):
        return found or STRICT
    if ANY_LABELS.search(low) is not None or OPTIONS.search(low) is not None or _names_choice(instruction, low):
        return CLOSED
    if labels or offers(instruction, low):
        return STRICT if FORMS.search(f"{labels}\n{_short(asked)}") is not None else CLOSED
    if _SHAPES.search(low) is not None:
        return EXTRACT
    return OPEN if asks_openly(low) and not perhaps_reworks(low) else STRICT


def _short(asked: str) -> str:
    """What is asked; of a guide to labels, which may name any word to explain them, only what offers some."""
    if len(asked.split()) < _GUIDE_WORDS:
        return asked
    return "\n".join(line for line in asked.split("\n") if offers(line, line))


def _names_choice(instruction: str, low: str) -> bool:
    return NAMED_CHOICE.search(instruction) is not None and _FORMATS.search(low) is None


def _hidden(text: str) -> str | None:
    """The literal task that any words of a text name, if any; `table` and `key` are words of other things too."""
    low = text.lower()
    if _judges_form(low):
        return stricter(_literal(text, low) or STRICT, STRICT)
    return _literal(text, low) or (EXTRACT if _FORMATS.search(low) is not None else None)


def _literal(text: str, low: str) -> str | None:
    """The literal task that a text, also given in lower case, names by words or by holding code."""
    found = _named(low)
    return STRICT if found in (None, EXTRACT) and is_code(_without_json(text)) else found


def _named(low: str) -> str | None:
    """Which literal task the words of a text in lower case name, if any."""
    low = KEPT.sub("exactly as written", low) if "spel" in low else low
    if LITERALS.search(low) is None:
        return None
    kinds = ((VERBATIM, MARKS), (STRICT, LETTERS), (EXTRACT, PARTS))
    return next(kind for kind, words in kinds if words.search(low) is not None)


def _judges_form(low: str, labels: re.Pattern[str] = ANY_LABELS) -> bool:
    """One sentence names labels of form, or asks for the form of a text."""
    if FORMS.search(low) is None:
        return False
    if "positive" in low and "negative" in low:
        low = low.replace("tone", "")  # another word for sentiment
    sentences = [_of_text(found.group().strip()) for found in _SENTENCE.finditer(low)]
    return any(
        FORMS.search(one) is not None
        and (
            labels.search(one) is not None
            or OPTIONS.search(one) is not None
            or (one.split(" ", 1)[0] in _JUDGING and _TEXTS.search(one) is not None)
        )
        for one in sentences
    )


def _of_text(one: str) -> str:
    """A sentence without how the answer is to be written."""
    judges = _TEXTS.search(one.partition(" ")[2]) is not None or not _JUDGING.isdisjoint(one.split())
    return one if judges else without_case(one)


def _says_of_what(low: str) -> bool:
    """The labels are named as such, or a question is asked of the text: `Does the message below help? Answer YES or NO.`"""
    return LABELS.search(low) is not None or any(
        _TEXTS.search(one) is not None and not _JUDGING.isdisjoint(one.split())
        for one in map(re.Match.group, _SENTENCE.finditer(low))
    )


def _ordered(low: str) -> str:
    """What the sentences ask for that open like orders."""
    if LITERALS.search(low) is None:
        return OPEN
    orders = [found.group() for found in _ORDER.finditer(low) if found[1] in _ORDERS]
    return _named("\n".join(orders)) or OPEN


def _without_json(text: str) -> str:
    """The form of an answer is no program; a string of several lines in it may be one."""
    for _ in range(_NESTED if '"' in text else 0):
        text = _JSON.sub(_long_strings, text)
    return text


def _long_strings(found: re.Match[str]) -> str:
    """The strings of several lines, each on lines of its own and still in quotes: an outer object keeps them too."""
    strings = [one.strip('"').replace("\\n", "\n") for one in _STRING.findall(found.group())]
    return " ".join(f'"\n{one}\n"' for one in strings if "\n" in one) or " "


_cached = lru_cache(maxsize=_CACHED)(_infer)
_cached_asked = lru_cache(maxsize=_CACHED)(_asked)


def stricter(a: str, b: str) -> str:
    """The one of two kinds that allows less."""
    return max(a, b, key=(OPEN, CLOSED, EXTRACT, STRICT, VERBATIM).index)
