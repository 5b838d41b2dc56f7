"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

It reads words only, and errs on the strict side; the route or the options of a run know better.
"""

from __future__ import annotations

import re

from pipelines.reading import is_code

CLOSED, OPEN, STRICT = "closed", "open", "strict"

_STRICT_WORK = re.compile(
    r"\b(?:translat\w+|extract\w*|transcri\w+|transliterat\w+|proofread\w*|rewrit\w+|rephras\w+|paraphras\w+"
    r"|correct (?:the|this|any|all|my|every)|correct\w* grammar|grammar\w*|spell\w*|tokeni[sz]e\w*|redact\w*"
    r"|anonymi[sz]\w+|verbatim|convert\w*|normali[sz]\w+|parse|format (?:the|this)|reformat\w*|punctuat\w+|copy-?edit\w*"
    r"|count (?:the|how)|named entit\w+|entities|list (?:all|every|the|each)|find (?:all|every)"
    r"|code|sql|regex\w*|scripts?|functions?|python|javascript|typescript|java|html|css|bash|shell|program)\b",
    re.IGNORECASE,
)
_CLOSED_WORK = re.compile(
    r"\b(?:classif\w+|categori[sz]\w+|labels?|labell?ing|sentiment|assign|which of|(?:exactly )?one of|either|yes or no"
    r"|true or false|positive or negative|choose|select|pick|rate|rating|score|intents?|category|categories|topics?"
    r"|one word|multiple choice|decide whether|determine whether|is (?:it|this|the))\b",
    re.IGNORECASE,
)
_SHAPED_WORK = re.compile(r"\b(?:json|xml|yaml|csv|markdown|table|fields?|schema|keys?)\b", re.IGNORECASE)


def infer_task(instruction: str) -> str:
    """The kind of a task from the words of its instruction; in doubt the stricter one."""
    if _STRICT_WORK.search(instruction) is not None or is_code(instruction):
        return STRICT
    if _CLOSED_WORK.search(instruction) is not None:
        return CLOSED
    return STRICT if _SHAPED_WORK.search(instruction) is not None else OPEN
