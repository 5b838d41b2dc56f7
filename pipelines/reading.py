"""How the duplicate stage reads a text: its layout form (white space, Unicode), its loose form (case, soft punctuation), its tokens.

Only forms and comparisons of forms live here; what a difference means is decided in guards.py and dedup.py.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from typing import NamedTuple

from pipelines.words import ASKING, CONTRACTION_TAILS, CONTRACTIONS

_SPACES = dict.fromkeys([0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_NOTHING = dict.fromkeys([0x200B, 0x2060, 0xFEFF, 0x00AD], None)
_MARKS = {0x2010: "-", 0x2011: "-", 0x2013: "-", 0x2026: "..."}
_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2032: "'", 0x2033: '"', 0x201A: "'", 0x201E: '"'}
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
_UNICODE = _SPACES | _NOTHING | _MARKS | _QUOTES | _FULL_WIDTH | _LIGATURES
_LINES = {0x2028: "\n", 0x2029: "\n", 0x0085: "\n"}

CODE_LINE = re.compile(
    r"^\s*(?:def |class |import |from [\w.]+ import|return\b|elif |else:|try:|except\b.*:|for .*:\s*$|while .*:\s*$|if .*:\s*$"
    r"|with .*:\s*$|function\b|const |let |var |public |private |static |#include|@\w+\s*$|package |func |fn |struct )"
    r"|[{};]\s*$|^\s*[}\])]+[,;]?\s*$|[=!<>]=|[-=]>|:=|\+\+|&&|\|\||\w\(.*\)\s*$|^\s*[\w.\[\]]+\s*[-+*/]?=\s*\S"
    r"|\b(?:SELECT\b.*\bFROM|INSERT INTO|UPDATE .*\bSET|DELETE FROM|CREATE TABLE)\b|</?\w+[^<>]*>"
)
_CODE_HINT = re.compile(r"[{};=<>`|\t]|\w\(|^\s{2,}|:\s*$|\b(?:return|import|def|class)\b", re.MULTILINE)
_FENCE = "```"


class Token(NamedTuple):
    """One word, number or symbol; `norm` is what is compared."""

    norm: str
    raw: str
    kind: str  # word | number | id | link | symbol | soft
    first: bool  # at the start of a sentence


_TOKEN = re.compile(
    r"(?P<link>https?://\S+|www\.\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<face>[:;=8][-']?[)(DPpO/\\|]+(?!\w)|<3)"
    r"|(?P<id>[@#]\w+|\w*_\w[\w]*|(?:[^\W\d_]+[-./]?)?\d[\d.,:/-]*[^\W\d_][\w.:/-]*\w|[^\W\d_]+[-./]?\d[\w.:/-]*\w|[^\W\d_]+\d)"
    r"|(?P<number>\d+(?:[.,:/-]\d+)*)"
    r"|(?P<word>(?:[^\W\d_]\.){2,}|[^\W\d_]+(?:'[^\W\d_]+)?|'(?i:s|re|ve|ll|d|m|t)\b)"
    r"|(?P<symbol>\S)"
)
_GROUPS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
_SOFT = frozenset(".,;:!\"'`-()")
_ENDS = frozenset(".!?:")


def layout(text: str) -> str:
    """The text without what only its layout says: Unicode form, line ends, white space; code keeps its indentation."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_LINES).translate(_UNICODE))
    if _CODE_HINT.search(text) is None:
        return " ".join(text.split())
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    coded = code_lines(lines)
    if True not in coded:
        return " ".join(text.split())
    out: list[str] = []
    prose: list[str] = []
    for line, is_code in zip(lines, coded, strict=True):
        if not is_code:
            prose += line.split()
            continue
        if prose:
            out.append(" ".join(prose))
            prose = []
        if line.strip():
            out.append("\t" + (line.strip() if line.lstrip().startswith(_FENCE) else line.rstrip()))
    if prose:
        out.append(" ".join(prose))
    return "\n".join(out)


def code_lines(lines: list[str]) -> list[bool]:
    """Which lines are code: inside a fence, or looking like it, with the indented and blank lines between them."""
    marks, fenced = [], False
    for line in lines:
        if line.lstrip().startswith(_FENCE):
            marks.append(True)
            fenced = not fenced
        else:
            marks.append(fenced or CODE_LINE.search(line) is not None)
    for at in range(1, len(lines)):
        if not marks[at] and marks[at - 1] and (lines[at][:2].isspace() or not lines[at].strip()):
            marks[at] = True
    return marks


def is_code(text: str) -> bool:
    """Any line of the text is code."""
    return _CODE_HINT.search(text) is not None and True in code_lines(text.split("\n"))


def tokens(text: str) -> list[Token]:
    """Words, numbers and symbols of a text in layout form, contractions spelt out; a line of code is one token."""
    if text[:1] != "\t" and "\n\t" not in text:
        return _prose(text)
    out: list[Token] = []
    for line in text.split("\n"):
        out += [Token(line, line, "code", True)] if line[:1] == "\t" else _prose(line)
    return out


def _prose(text: str) -> list[Token]:
    out: list[Token] = []
    first = True
    asking = False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "symbol"
        raw = match.group()
        if kind == "word":
            low = raw.lower()
            if first:
                asking = low.partition("'")[0] in ASKING
            _put_word(out, raw, low, first)
            first = False
        elif kind == "symbol":
            soft = _is_soft(raw, text, match.start()) or (raw == "?" and (asking or (bool(out) and out[-1].raw == "?")))
            out.append(Token(raw, raw, "soft" if soft else "symbol", first))
            first = first or raw in _ENDS
        elif kind == "number":
            norm = raw.replace(",", "") if _GROUPS.match(raw) else raw
            out.append(Token(norm, raw, "number", first))
            first = False
        else:
            out.append(Token(raw, raw, "symbol" if kind == "face" else kind, first))
            first = False
    return out


def _put_word(out: list[Token], raw: str, low: str, first: bool) -> None:
    if low[0] == "'":
        tail = CONTRACTION_TAILS.get(low, low)
        out.append(Token(tail, raw, "word", first))
        return
    if "'" in low or low in CONTRACTIONS:
        for part in _spelt_out(low):
            out.append(Token(part, raw, "word", first))
        return
    out.append(Token(low, raw, "word", first))


def _spelt_out(low: str) -> list[str]:
    if low in CONTRACTIONS:
        return CONTRACTIONS[low].split()
    for tail, word in CONTRACTION_TAILS.items():
        if low.endswith(tail):
            return [low[: -len(tail)], word] if low != tail else [word]
    return [low[:-2], "'s"] if low.endswith("'s") else [low]


def _is_soft(mark: str, text: str, at: int) -> bool:
    """Punctuation that only paces the sentence; next to digits and symbols it may carry meaning."""
    if mark not in _SOFT:
        return False
    before = text[at - 1] if at else " "
    after = text[at + 1] if at + 1 < len(text) else " "
    if mark in "()":
        return False
    if mark == "-":
        return not (before.isalnum() and after.isalnum()) and not after.isdigit() and not before.isdigit()
    if mark in "\"'`":
        return not (before.isdigit() or after.isdigit() or before in "=,(" or after in "=,)")
    return not after.isalnum() or (before == " " and after == " ")


def loose(text: str) -> list[str]:
    """What is left of a text in layout form when case, soft punctuation and contractions are ignored."""
    return [token.norm for token in tokens(text) if token.kind != "soft"]


class Span(NamedTuple):
    """One place where two token lists differ, as half-open ranges."""

    a0: int
    a1: int
    b0: int
    b1: int


def differences(a: list[str], b: list[str]) -> list[Span]:
    """Where two lists differ: common head and tail first, then the longest common runs between them."""
    head, limit = 0, min(len(a), len(b))
    while head < limit and a[head] == b[head]:
        head += 1
    tail, limit = 0, limit - head
    while tail < limit and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    mid_a, mid_b = a[head : len(a) - tail], b[head : len(b) - tail]
    if not mid_a and not mid_b:
        return []
    if not mid_a or not mid_b or len(mid_a) == len(mid_b) == 1:
        return [Span(head, head + len(mid_a), head, head + len(mid_b))]
    codes = SequenceMatcher(None, mid_a, mid_b, autojunk=False).get_opcodes()
    return [Span(head + i, head + j, head + k, head + m) for tag, i, j, k, m in codes if tag != "equal"]
