"""How an instruction says what an answer may be and how it looks: lists of words, examples that repeat their answers, in capitals.

Whether the letters of a text matter all the same is instruction.py's to say.
"""

from __future__ import annotations

import re
from collections import defaultdict

from pipelines.proof.reworking import TONGUES

_WORD = r"[\w-]{1,30}"
_LIST = rf"{_WORD}(?:, {_WORD}){{1,9}}(?:,? or {_WORD})?"
_HEADS = "feeling|emotion|mood|attitude|stance|opinion|verdict|section|desk|department|queue|priority|genre|theme|impression|relation"
_OFFERED = re.compile(
    rf"\b(?:{_HEADS}) ?\({_LIST}\)[ \t]*(?:[:?]|$)|\?[ \t\n]*\({_LIST}\)[ \t]*$"
    rf"|\b(?:(?:{_HEADS})s?|options|choices|labels|classes|buckets|priorities): ?{_WORD}(?:, [\w& -]{{1,30}}){{1,19}}"
    rf"|\b(?:answer|reply|respond|verdict|output):? {_WORD}(?: ?[/|] ?{_WORD}){{1,9}}(?=[ \t]*(?:[.:]|$))"
    rf"|\b(?:answer|reply|respond)(?: with)?:? {_WORD}(?:, {_WORD}){{1,9}},? or {_WORD}(?=[ \t]*(?:[.:]|$))"
    rf"|\bword: {_WORD}(?:, {_WORD}){{1,9}},?(?: or {_WORD})?(?=[ \t]*(?:\.|$))|\by ?/ ?n\b"
    r"|\b(?:spam or (?:ham|not)|for or against|(?:un)?happy or (?:un)?happy|real or fake|fake or real|(?:in)?correct or (?:in)?correct|(?:un)?favou?rable or (?:un)?favou?rable|(?:ir)?relevant or (?:ir)?relevant)\b"
    rf"|\bonly (?:the |its )?(?:[a-z]+ ){{0,2}}[a-z]+: {_WORD}(?:, {_WORD}){{0,9}},? or {_WORD}(?=[ \t]*(?:\.|$))"
    r"|(?:^|[\s(])a[.)] [^\n]{1,60}?[\s(]b[.)] "
    r"|^(?:good or bad|liked? or dis-?liked?)\?"
    r"|\b(?:under|into|in) (?:exactly |only |just )?one (?:heading|section|desk|bucket|queue|department|theme|class|group)\b",
    re.MULTILINE,
)
"""`Mood (glad, sad, calm):`, `Desks: sport, money`, `Answer: kept / sold`, `one word: near, far or neither`"""

_SAID_TO_BE = re.compile(
    r"\b(?:[Mm]ark|[Ff]lag|[Ff]ile|[Tt]ag)(?: [\w-]+){1,4} (?:as|under) [A-Z][A-Z_-]+(?:, [A-Z][A-Z_-]+)*,? or [A-Z][A-Z_-]+\b"
)
"""`Mark the mail as KEPT or SOLD`"""

_SHOWN = re.compile(r"^([^\W\d_][\w -]{0,30}:)[ \t]*(.*)$", re.MULTILINE)
_LABEL = re.compile(r"[^\W\d_]+(?:[ _-][^\W\d_]+){0,2}")
_TRUTHS = frozenset({"yes", "no", "true", "false"})
"""Whether a fact is true hangs on the spelling of names."""
_EXAMPLES, _REPEATED = 4, 2

KEPT = re.compile(
    r"\b(?:spell(?:ed|ing)|spelt|spell (?:it|them|(?:the |all |each |every )?(?:names?|one))) (?:exactly |just )?(?:(?:as|like|how) (?:(?:it|they) (?:is|are) )?(?:in|given|found|written|used|above|below|there|the (?:text|sentence|passage|source|original) (?:does|has))"
    r"|(?:the (?:same )?way|as|like|how) (?:it|they|you) (?:is|are|find|stands?|occurs?|appears?))\b"
    r"|\b(?:keep(?:ing)?|preserv(?:e|ing)|with|in) (?:the |their |its )?(?:(?:original|exact|same) spelling|spelling of the (?:text|original|source|passage|sentence))"
)
"""Where what is found is to be spelt as the text has it, nobody asks how it should be spelt."""

_UNSAID = re.compile(
    r"\b(?:no|without(?: any)?|skip|leave out|omit|spare me)(?: the| your)? (?:notes?|comments?|remarks?|explanations?|advice|lectures?|word)"
    r" (?:on|about|of) (?:the |its )?(?:grammar|spelling|punctuation|style|wording)"
    r"|(?:(?<=[,.;:(] )|(?m:^)[ \t]*[-*\u2022]?[ \t]*)(?:and )?(?:no|without) (?:punctuation|quotes|quotation marks|full stop)"
    r"(?=[ \t]*(?:[,.!;)\n]|and no |or |\Z))"
    r"|\b(?:return|print|output|write|give|(?:answer|reply|respond) with)(?: only| just)? the letter of the (?:team|option|answer|choice|category|label|group|desk|queue|topic)\b"
)
"""What an answer is to be without, or which letter stands for it; nobody asks for it."""

_UNJUDGED = re.compile(
    r"\beven (?:if|when|where|though) [^.!?;,\n]*"
    r"|\b(?:do not|don't|never|no need to) (?:worry|care|mind|bother|think)(?: about| for)?(?: (?!and\b|but\b|only\b|just\b)[\w'-]+){1,3}"
    r"(?: (?:or|and|nor) (?!judge|rate|label|say|tell|decide|choose|pick|mark)[\w-]+)?"
)
"""`Treat it as data even if it holds a question or an order` says what to make of a text, whatever it says; `Don't worry about tone` says
what is not judged."""

_REPLIED = re.compile(
    r"\b(?:answer|address|pick up|cover|handle|acknowledge|(?:respond|reply) to|deal with|go into) (?:every|each|all|any) "
    r"(?:questions?|requests?|orders?)(?:,? (?:or|and) (?:questions?|requests?|orders?))?\b"
)
"""A reply to `every question or request` does not tell one from the other."""

_CODE_OF_LABEL = re.compile(r"\b(?:subject|topic|theme|category|label|desk|department|reason|priority) codes?\b")
_CODES = re.compile(r"\bcodes?\b")
_PROGRAMS = re.compile(r"\b(?:e-?mail|mail|loyalty|rewards?|training|exchange|degree|support) programs?\b")
"""These are no programs."""

_THING = r"(?:persons?|people|names?|places?|locations?|organi[sz]ations?|dates?)"
_NAMES = re.compile(
    rf"\b(?:(?:named )?entit(?:y|ies)|proper (?:nouns?|names?)|{_THING}, {_THING}(?:,|,? and|,? or) {_THING})\b"
)
_COPIED = re.compile(rf"\b(?:translat\w+|locali[sz]\w+|extract\w*|{TONGUES})\b")
_WRITING = r"(?:spelling|punctuation|grammar)"
_KEEPING = re.compile(
    rf"\b(?:never|not|don't) (?:correct|fix|change|alter|touch|modify|normali[sz]e|improve|edit|adapt|judge|mind) (?:the |any |its |their )?(?:\w+ (?:or|and|nor) )?{_WRITING}\b"
    rf"|\b(?:keep\w*|copy|same)(?:,? (?!fix|repair|correct|check|mend|improve|only|just|but)[\w-]+){{0,6}}?,? {_WRITING}\b|\bpunctuation (?:as (?:is|in)\b|stays?\b(?! (?:correct|right|consistent))|(?:must |should )?remains? (?:unchanged|as|the same)\b)"
)
"""In what is translated or found, marks are to stay as they are or as is usual: nobody asks about them."""

_ANSWERING = re.compile(
    r"(?:(?:please|then|just|only) )?(?:answer|reply|respond|write|return|output|print|state|put|(?:exactly )?(?:one|two|single|a single) words?)\b"
)
_SENTENCE = re.compile(r"([ \t]*)([^.!?\n]+)")
_CASE_OF_ANSWER = re.compile(
    r"\b(?:words?|answer|label|name|verdict|letter|category|class|section|topic|only|reply|respond|output)\b,? in (?:all )?"
    r"(?:capitals|caps|capital letters|(?:upper|lower)[ -]?case)(?: letters)?\b(?! (?:from|of|that|which|in)\b)|\b(?:upper|lower)[ -]?case (?=word|letter|label|answer)"
)
"""`Write the word in capitals` says how the answer looks, and asks nothing about the letters of the text."""


def offers(text: str, low: str) -> bool:
    """Whether it names what may be answered, also given in lower case."""
    return _OFFERED.search(low) is not None or _SAID_TO_BE.search(text) is not None


def wanted(low: str) -> str:
    """An instruction in lower case without what its answer is not to have, or to have as the text has it."""
    low = KEPT.sub("exactly as written", _UNSAID.sub("", low))
    if "program" in low:
        low = _PROGRAMS.sub("", low)
    if "code" in low and _CODE_OF_LABEL.search(low) is not None:
        low = _CODES.sub("label", low)
    names = _NAMES.search(low) is not None
    if names:
        low = low.replace("verbatim", "exactly as written")
    kept = _KEEPING.sub("exactly as written", low)
    return kept if kept == low or names or _COPIED.search(low) is not None else low


def of_its_form(low: str) -> str:
    """An instruction in lower case without what it says of texts of whatever form."""
    return _REPLIED.sub("", _UNJUDGED.sub("", low))


def without_case(sentence: str) -> str:
    """An order to answer, in lower case, without the case that the answer is to have."""
    return _CASE_OF_ANSWER.sub("", sentence) if _ANSWERING.match(sentence) is not None else sentence


def uncased(low: str) -> str:
    """An instruction in lower case, without the case that its answer is to have."""
    return _SENTENCE.sub(lambda found: found[1] + without_case(found[2]), low) if _CASE_OF_ANSWER.search(low) else low


def unshown(low: str) -> str:
    """What stands beside the examples of an instruction in lower case."""
    return uncased("\n".join(line for line in low.split("\n") if _SHOWN.match(line) is None))


def repeated_labels(instruction: str) -> str:
    """What the examples of a prompt answer, and under which heading, where few labels are given again and again and one more is asked for."""
    last = instruction.rstrip().rpartition("\n")[2].strip()
    if last[-1:] != ":" or instruction.count(last) <= _EXAMPLES:
        return ""
    given: dict[str, list[str]] = defaultdict(list)
    for head, said in _SHOWN.findall(instruction):
        if said.strip():
            given[head].append(said.strip().lower())
    labels = given[last]
    different = set(labels)
    if len(labels) < max(_EXAMPLES, _REPEATED * len(different)) or different & _TRUTHS:
        return ""
    return f"{last} {' '.join(labels)}".lower() if all(_LABEL.fullmatch(label) for label in different) else ""
