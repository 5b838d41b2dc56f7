"""Which marks only pace a sentence, and which are signs: the minus of `-x`, the prime of `f'`, the product `n!`, the charge of `OH-`,
the quotation marks of a "friend".

Read where it stands between two blanks (`is_soft`), or as a piece of its own (`is_sign`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.proof.words import RANGED, word_set

_FACTORIAL = re.compile(r"(?<![\w.,$€£¥'`\"])(?:\d{1,3}|[a-zA-Z])\)?$")
"""`5!` and `n!` are products; a year, a price or a version is only told aloud."""

_NEAR = 16
_LETTERS_BEHIND = re.compile(r"(?<![^\W\d_])[^\W\d_]{1,4}$")
_SYMBOL = re.compile(r"[^\W\d_]|[A-Z][a-z]?|[A-Z]{2,4}")
"""What may have a sign behind it: a letter, an ion, a grade."""

_DOUBTED = re.compile(r"([\"'`])([A-Za-z]{2,20}(?: [A-Za-z]{1,20})?)\\?\1(?!\w)")
"""One or two words in quotation marks inside of a sentence that tells something; what asks for a \"term\" asks for the term."""

_NAMING = word_set(
    "word words term terms phrase name names named called titled labelled labeled label labels button buttons key keys option options tab "
    "menu folder file command field column page message error status type class tag category say says said answer reply"
)
"""Behind one of these, quotation marks only show what is named."""

_NAMED = _NAMING - word_set("column page message error status type class category answer reply file folder")
"""So they do before one of these; a "free" page and a "helpful" answer are doubted."""

SOFT = frozenset(".,;:!\"'`-()\N{EM DASH}\N{HORIZONTAL BAR}«»")
_QUOTE_MARKS = frozenset("\"'`")
_BEFORE, _AFTER, _ENDING = re.compile(r"(\w*)[,;]?[ (\n]+$"), re.compile(r" (\w+)"), re.compile(r"[.!?\n]")
_AROUND, _SENTENCE = 40, 200
_OPENINGS = ("", ".", "!", "?", ":", ">", "\n")
_QUOTES, DASHES = "\"'`«»", "\N{EM DASH}\N{HORIZONTAL BAR}"
RANGES = frozenset("-" + DASHES)

_OPENERS = (
    "The|A|An|I|I'm|I've|I'd|I'll|My|We|We're|Our|You|Your|He|His|She|Her|It|It's|Its|They|They're|Their|This|That|That's|These|Those|There|There's|Here"
    "|But|And|So|Or|If|When|After|Before|Since|Because|While|Once|Then|Now|Not|No|Nothing|Nobody|Never|Always|Also|Even|Just|Only|All|Every|Everything"
    "|Some|Most|Many|Both|One|Two|In|On|At|For|From|With|Without|To|By|As|What|Why|How|Who|Where|Which|Is|Are|Was|Were|Do|Don't|Does|Did|Didn't|Can|Can't"
    "|Could|Would|Will|Won't|Have|Has|Very|Really|Too|Great|Good|Bad|Best|Worst|Love|Hate|Highly|Definitely|Overall|However|Unfortunately|Please|Thanks"
)
_IN_ANY_CASE = "the|i|i'm|we|they|this|that|but|then|he|she|there|when|after|very|would|was|were|can|could|what|why|how|nothing|never|also"
"""No domains of countries, as `it` and `my` are."""
_NO_BLANK = re.compile(rf"[a-z]{{2}}[.!](?:{_OPENERS})(?![\w.'])|(?i:[a-z]{{2}}[.!](?:{_IN_ANY_CASE}))(?![\w.'])")
"""`It broke.The shop`: a blank is missing before a word that opens sentences; in `os.Path` and `example.Com` none is."""
_LONGEST = 16


def is_soft(mark: str, text: str, at: int) -> bool:
    """Punctuation that only paces the sentence; next to digits, symbols and lone letters it may carry meaning."""
    if mark not in SOFT:
        return False
    before = text[at - 1] if at else " "
    after = text[at + 1] if at + 1 < len(text) else " "
    if mark in "()":
        return False
    if before == after == " ":
        return True
    if mark == "-":
        return not (
            (before.isalnum() and after.isalnum()) or after.isdigit() or before.isdigit() or _is_signed(text, at)
        )
    if mark == "!" and (before.isdigit() or (before.isalpha() and before != "I") or before == ")"):
        return _FACTORIAL.search(text[max(0, at - 5) : at]) is None
    if mark in DASHES:
        return not (before.isdigit() or after.isdigit())
    if mark in _QUOTES:
        return not (
            before.isdigit() or after.isdigit() or before in "=,(" or after in "=,)" or _is_prime(mark, text, at)
        )
    if mark == "," and after in ")]}":
        return False
    if mark in ".!" and after.isalpha():
        return _NO_BLANK.match(text, max(0, at - 2), at + _LONGEST) is not None
    return not after.isalnum()


def doubted(form: str, *, asked: bool) -> list[str]:
    """The words that a text holds at arm's length: `my "friend"`, `a "free" offer`; not `the "Save" button` nor `the word "free"`, nor
    in a question where it is `asked` for what is named.
    """
    return [said for said, name in _quoted(form, asked) if not name]


def same_doubts(a: str, b: str, *, asked: bool) -> bool:
    """What one text doubts has quotation marks in the other too, in whatever case."""
    mine, other = list(_quoted(a, asked)), list(_quoted(b, asked))
    return all(
        {said for said, name in one if not name} <= {said for said, _ in two}
        for one, two in ((mine, other), (other, mine))
    )


def _quoted(form: str, asked: bool) -> Iterator[tuple[str, bool]]:
    """One or two words in quotation marks, and whether a capital letter may make them a name."""
    if '"' not in form and " '" not in form and "`" not in form and form[:1] != "'":
        return
    if form.isupper():
        form = form.lower()
    for found in _DOUBTED.finditer(form):
        start, end, said = found.start(), found.end(), found[2]
        before = form[max(0, start - _AROUND) : start].rstrip("\\")
        word = _BEFORE.search(before)
        near = word[1] if word else ""
        after = _AFTER.match(form, end)
        follows = after[1] if after else ""
        if not near and not (follows[:1].islower() and before.rstrip(" (")[-1:] in _OPENINGS):
            continue
        if near.lower() in _NAMING or follows in _NAMED or (before and word is None):
            continue
        closes = _ENDING.search(form, end, end + _SENTENCE) if asked else None
        if closes is None or closes[0] != "?":
            yield said.lower(), bool(near) and not said.islower()


def _is_signed(text: str, at: int) -> bool:
    """`-x` and `--verbose`, `A-` and `OH-`; a dash between two words, or behind a longer one, only parts them."""
    before, after = text[max(0, at - _NEAR) : at].rstrip("-"), text[at + 1 : at + 2]
    if after.isalpha():
        return not before[-1:].isalnum()
    behind = _LETTERS_BEHIND.search(before)
    return (
        behind is not None
        and not text[at : at + _NEAR].lstrip("-")[:1].isalnum()
        and _SYMBOL.fullmatch(behind.group()) is not None
    )


def _is_prime(mark: str, text: str, at: int) -> bool:
    """`f'(3)`, `x'` and `AB'`: an apostrophe that neither closes a quotation nor stands in a word."""
    after, stem = text[at + 1 : at + 2], text[max(0, at - _NEAR) : at].rstrip("'")
    if after == "(":
        return stem[-1:].isalpha()
    behind = _LETTERS_BEHIND.search(stem) if mark == "'" and not after.isalnum() else None
    if behind is None or behind.group() == "I":
        return False
    return (len(behind.group()) == 1 or behind.group().isupper()) and not _QUOTE_MARKS.intersection(
        stem[: behind.start()]
    )


def is_sign(mark: str, before: str, after: str, formula: bool) -> bool:
    """`5 - 3` is no `5 : 3`, and `x - y` no `x y`: a mark that stands alone may be an operator, and a dash a sign."""
    if (after[:1].isdigit() and (before[-1:].isdigit() or mark == "-")) or (mark == "-" and before[-1:].isdigit()):
        return True
    if mark == "!":
        return _letter(before)
    if mark in RANGES and _ranged(before) and _ranged(after):
        return True
    return mark == "-" and (formula or _letter(before) or _letter(after)) and bool(before and after)


def _ranged(piece: str) -> bool:
    """`Mon - Fri`: a day, a month or the like."""
    return piece.strip("*_.,;:()\"'").lower() in RANGED


def _letter(piece: str) -> bool:
    """One letter that is no word."""
    core = piece.strip(".,;:?!()\"'")
    return len(core) == 1 and core.isalpha() and core not in "aAI"
