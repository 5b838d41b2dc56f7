"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

What its words name counts (English ones), and what was learnt from thousands of instructions; in doubt it is the strict side. The route or
the options of a run know better.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from pipelines.proof import learnt
from pipelines.proof.apart import RUNS
from pipelines.proof.choices import of_its_form, offers, repeated_labels, uncased, unshown, wanted, without_case
from pipelines.proof.layout import is_code
from pipelines.proof.reworking import (
    ENGLISH,
    asks_openly,
    is_about_words,
    is_foreign,
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

_CERTAIN, _SURE, _NAMED, _BARE, _CODE, _SHAPED, _ASKED, _LABELLED = 0.0, 0.03, 0.1, 0.3, 0.2, 0.2, 0.4, 0.6
_TOLD, _SHOWN_LABELS = 1.0, 0.9
"""From which likelihood on an instruction is taken for a literal one, by what its words say: it judges a form; every mark counts, or it
is code that runs; it names such a task; it names none at all; it is code; it names a form like JSON; it asks for an answer; for a label;
it says to reply; its examples repeat labels."""

_TOLD_WORDS, _CLOSED = 4, re.compile(r"[:?!.>)\]}|=]\s*$")
"""Fewer words that no mark closes may be how the texts of a file begin, `Dear Sir`."""

_SURELY, _HARDLY = 0.9, 0.1
"""So likely is a label where no word names one, and so unlikely where only words do."""

_ENGLISH = 0.85
"""In an English instruction so many pieces of words are among those of the instructions that were learnt from."""

_OPENING = 5
_CACHED, _CACHED_LETTERS = 1024, 16_000

Told = TypeVar("Told")


def _remembered(read: Callable[[str], Told]) -> Callable[[str], Told]:
    """Most prompts of a file have one instruction; a very long text is hardly one."""
    cached = lru_cache(maxsize=_CACHED)(read)
    return lambda text: cached(text) if len(text) <= _CACHED_LETTERS else read(text)


def infer_task(instruction: str, rest: str = "") -> str:
    """The kind of the task that an instruction sets; in doubt, and in other languages, the strictest one.

    `rest` is what stands beside it in a prompt, and may hold the real instruction: `Answer in English.` may close any prompt. Where the
    instruction says what to do, only sentences of the rest that open like orders count; else every word of it does.
    """
    told, overruled = _learnt(instruction), _worded(instruction)[0] in LITERAL
    if not rest or told == VERBATIM:
        return told
    if told not in LITERAL:
        instruction = asked_of(instruction)
    if told in LITERAL or (told == CLOSED and _says_of_what(instruction.lower())):
        return stricter(told, _ordered(rest.lower()))
    if told == OPEN and _TELLS.search(instruction.lower()) is not None:
        return STRICT if is_code(_without_json(rest)) else _ordered(rest.lower())
    low = rest.lower()
    hidden = _hidden(rest if overruled else f"{instruction} {rest}")
    if orders_rework(low):
        return stricter(hidden or STRICT, STRICT)
    return hidden or (CLOSED if LABELS.search(low) is not None else told)


def read_task(prompt: str) -> str:
    """The kind of a task by the words of a whole prompt, of which nobody knows what in it is the instruction."""
    return _worded(prompt)[0]


def labelled_task(instruction: str, rest: str) -> str:
    """The kind of a task whose answer is known to be a label: closed, unless its words say that form or letters are judged."""
    low = instruction.lower()
    strict = _judges_form(low) or is_about_words(uncased(low), labels=True)
    return stricter(_named(low) or (STRICT if strict else CLOSED), _ordered(rest.lower()))


@_remembered
def asked_of(instruction: str) -> str:
    """What of the words that all prompts share may say what to do: not the examples, nor a long passage that is read or judged,
    but for the orders in them. All of it where nothing else is left."""
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


@_remembered
def _learnt(instruction: str) -> str:
    """What its words say, unless what was learnt says otherwise."""
    told, least = _worded(instruction)
    odds = learnt.odds(instruction)
    if odds.known < _ENGLISH or is_foreign(instruction.lower()):
        return told
    if odds.literal >= least:
        return told if told in LITERAL else STRICT
    if odds.label >= _SURELY and (told == CLOSED or odds.literal < _HARDLY):
        return CLOSED
    return OPEN if told in LITERAL or odds.label < _HARDLY else told


@_remembered
def _worded(whole: str) -> tuple[str, float]:
    """What the words of an instruction say, and from which likelihood on it is literal all the same, or still."""
    instruction = asked_of(whole)
    if instruction != whole and _judges_form(whole.lower(), LABELS):
        return STRICT, _CERTAIN
    low = instruction.lower()
    found = _named(low)
    if found not in (None, EXTRACT):
        return found, _SURE if found == VERBATIM else _NAMED
    if is_code(_without_json(instruction)):
        return STRICT, _SURE if RUNS.search(instruction) is not None else _CODE
    labels = repeated_labels(whole)
    asked = unshown(low) if labels else uncased(low)
    if is_about_words(asked, labels=LABELS.search(low) is not None) or reworks(asked):
        return STRICT, _NAMED
    if _judges_form(low):
        return found or STRICT, _CERTAIN
    if found is not None:
        return found, _NAMED
    if ANY_LABELS.search(low) is not None or OPTIONS.search(low) is not None or _names_choice(instruction, low):
        return CLOSED, _LABELLED
    if labels or offers(instruction, low):
        formal = FORMS.search(f"{labels}\n{_short(asked)}") is not None
        return (STRICT, _CERTAIN) if formal else (CLOSED, _SHOWN_LABELS if labels else _LABELLED)
    if _SHAPES.search(low) is not None:
        return EXTRACT, _SHAPED
    if not asks_openly(low) or perhaps_reworks(low):
        return STRICT, _BARE if len(low.split()) >= _TOLD_WORDS or _CLOSED.search(low) is not None else _CERTAIN
    return OPEN, _TOLD if _TELLS.search(low) is not None else _ASKED


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
    low = wanted(low)
    if LITERALS.search(low) is None:
        return None
    kinds = ((VERBATIM, MARKS), (STRICT, LETTERS), (EXTRACT, PARTS))
    return next(kind for kind, words in kinds if words.search(low) is not None)


def _judges_form(low: str, labels: re.Pattern[str] = ANY_LABELS) -> bool:
    """One sentence names labels of form, or asks for the form of a text."""
    if FORMS.search(low) is None or FORMS.search(low := of_its_form(low)) is None:
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


def stricter(a: str, b: str) -> str:
    """The one of two kinds that allows less."""
    return max(a, b, key=(OPEN, CLOSED, EXTRACT, STRICT, VERBATIM).index)
