"""One spelling for the British and the American form of a word."""

from __future__ import annotations

import re

from pipelines.proof.words import word_pairs

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
