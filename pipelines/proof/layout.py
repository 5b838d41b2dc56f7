"""The layout form of a text: Unicode form, line ends and white space put aside, while code keeps its lines and indentation.

A line of code starts with a tab in the form; prose is one line, and an item of a list one of its own. Nothing else about a text
is changed here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from pipelines.proof.edges import tightened
from pipelines.proof.tags import TAG, wrappers
from pipelines.proof.words import word_set

_SPACES = dict.fromkeys([0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_NOTHING = dict.fromkeys([0x200B, 0x2060, 0xFEFF, 0x00AD], None)
_LINES = dict.fromkeys([0x2028, 0x2029, 0x0085], "\n")
_ANYWHERE: dict[int, str | None] = {**_SPACES, **_NOTHING, **_LINES}

_MARKS = {0x2010: "-", 0x2011: "-", 0x2012: "-", 0x2013: "-", 0x2212: "-", 0x2026: "...", 0x00B5: "\u03bc"}
_SINGLE = dict.fromkeys([0x2018, 0x2019, 0x201A, 0x201B, 0x2032, 0x02BC, 0x00B4], "'")
_DOUBLE = dict.fromkeys([0x201C, 0x201D, 0x201E, 0x201F, 0x2033], '"')
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
_UNSEEN = dict.fromkeys([0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFE0E, 0xFE0F], None)
_IN_PROSE: dict[int, str | None] = {**_MARKS, **_SINGLE, **_DOUBLE, **_FULL_WIDTH, **_LIGATURES, **_UNSEEN}
"""Forms of one character; in code a curly quote is a mistake, and mistakes may be the question."""

_ODD_ANYWHERE = re.compile(f"[{''.join(map(chr, _ANYWHERE))}]")
_ODD_IN_PROSE = re.compile(f"[{''.join(map(chr, _IN_PROSE))}]".replace("\\", "\\\\"))

_LATIN_JOINERS = re.compile("(?<![^\x00-\u024f])[\u200c\u200d]+(?![^\x00-\u024f])")
"""They join emoji and letters of other scripts; between Latin letters they are nothing."""

_SUSPICIOUS = re.compile(r"[{}=<>`|;]|\w\(|\w\+\+|&&|else:|try:|(?:return|import|SELECT|class|def)$")
_CALLS = re.compile(r"\w\(|\w\+\+")
_LISTS = re.compile(r"\n(?:[-*+\u2022]|\d+[.)]|\S+[,;]\S)")

_CODE_LINE = re.compile(
    r"^\s*(?:def \w+\s*\(|class \w+\s*[:({]|import [\w.]+(?: as \w+)?;?\s*$|from [\w.]+ import\b|return(?: \S+)?;?\s*$"
    r"|elif .*:\s*$|else:|try:|finally:|except\b.*:\s*$|for \w+(?:, ?\w+)* in .*:\s*$|(?:while|if|with) .*:\s*$"
    r"|(?:async )?function\b.*\(|(?:const|let|var|public|private|static|int|string|bool|void)\s[\w<>\[\], ]+[=(;{]"
    r"|#include\b|@\w+(?:\(.*\))?\s*$|package [\w.]+;?\s*$|(?:fn|func) \w+\s*\(|struct \w+)"
    r"|^\s+(?:return|yield|raise|pass|break|continue)\b"
    r"|[{}]\s*$|\)\s*;\s*$|=.*;\s*$|^\s*[}\])]+[,;]?\s*$|(?<=[\w)\]'\" ])[=!<>]={1,2}(?!=)(?!\s*$)|\)\s*[-=]>|\w[-=]>\w|=>\s*[{(]|:=|\b(?!C\b)\w+\+\+|&&|\|\|"
    r"|\w\(.*\)\s*$|^\s*[\w.\[\]]+\s*[-+*/]?=(?!>)\s*\S|(?<!<<)</?(?!(?:br|b|i|em|p|strong|tab|TAB|newline|NEWLINE)\b|https?:|[\w.+-]+@)\w+[^<>]*>"
    r"|\b(?:SELECT\b.*\bFROM|INSERT INTO|UPDATE .*\bSET|DELETE FROM|CREATE TABLE)\b"
)
"""Programs, queries and markup."""

_NESTED_KEY = re.compile(r"\s{2,}[\w-]+:(?:\s|$)")
_CELL_ENDS = re.compile(r"(?<=\S)[,;|\t](?=\S)")
_BLANK = re.compile(r"[^\S\t]")
_MIN_CELL_ENDS, _CELL = 2, 24
"""Nested keys and rows of a table: their lines and indentation say something too. Long rows are read in one pass."""

_COLUMNS = re.compile(r"[^\s.!?:;,] {2,}\S")
"""A gap inside a line that no typewriter makes behind a mark: below such a heading, blanks say in which column a figure stands."""

_ROW = re.compile(r"^ {2,}\S|[^\s.!?:;,] {2,}\S|\d")

_ITEM = re.compile(r"^(?:[-*+\u2022]|\d+[.)])\s|^\s{2,}(?:[-*+]|\d+[.)]) |^\u21e5+ ")
_DEEPER = "\N{RIGHTWARDS ARROW TO BAR}"
"""Stands for two blanks of indentation in front of an item."""

_FENCE, _TRIPLE = "```", re.compile(r"\"{3}|'{3}")
_QUOTED_LINE = re.compile(r"\s*```\s?([^\W\d_][\w\s.,;:!?'()&%$€£’–—-]*)```[.,;:]?\s*")
PROSE_WORDS = word_set("the we he she they was were my your our their please you")
_FLAG = re.compile(r"\s--?\w")
"""A sentence that is fenced on its own line is quoted; a command there is code."""


_CACHED_LINES = 16_384
_JUDGED_LETTERS = 500


def layout(text: str) -> str:
    """The text without what only its layout says."""
    form = prose_words(text)
    return tightened(form if isinstance(form, str) else " ".join(form))


def prose_words(text: str) -> list[str] | str:
    """The words of the layout form where that is one line of prose; the form itself where it might have had lines of code."""
    if not text.isascii():
        text = composed(text)
    return _mixed_form(text) if _may_hold_code(text) else _plain(text).split()


def composed(text: str) -> str:
    """The text in one Unicode form, without letters that are not seen."""
    return unicodedata.normalize("NFC", _replace(text, _ODD_ANYWHERE, _ANYWHERE))


def _mixed_form(text: str) -> str:
    lines = (text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text).split("\n")
    kinds = _kinds(lines)
    if "\n " in text and "  " in text and not any(kind.fence for kind in kinds):
        _mark_columns(lines, kinds)
    marks = _marked_lines(lines, kinds, wrappers(text), not _dashed_once(kinds))
    return _mixed(lines, marks) if any(marks) else _prose(text)


def _mark_columns(lines: list[str], kinds: list[_Kind]) -> None:
    """Lines below a heading of several columns, one of which soon begins with blanks, are rows of a table."""
    inside = False
    for at, line in enumerate(lines):
        if not inside and any(below[:2] == "  " for below in lines[at + 1 : at + 3]):
            inside = _COLUMNS.search(line) is not None and not any(kind.code for kind in kinds[at : at + 4])
        if inside and (inside := _ROW.search(line) is not None):
            kinds[at] = kinds[at]._replace(table=True)


def is_code(text: str) -> bool:
    """Any line of the text is code."""
    if not _may_hold_code(text):
        return False
    lines = text.split("\n")
    return _CODE in _marked_lines(lines, _kinds(lines), wrappers(text), False)


def one_line(text: str) -> bool:
    """Plain letters in one line: whether it may hold code is seen from its pieces."""
    return text.isascii() and "\n" not in text and "\t" not in text


def suspicious(piece: str) -> bool:
    """Whether what stands between two blanks may be a sign of code; no `one_line` without such a piece holds any."""
    return _SUSPICIOUS.search(piece) is not None


def _may_hold_code(text: str) -> bool:
    """Cheap signs, without one of which nothing needs to be looked at line by line; a word costs more than a letter."""
    if "=" in text or "<" in text or ">" in text or "{" in text or "}" in text or ";" in text or "|" in text:
        return True
    if "`" in text or "\t" in text or "return " in text or "import " in text or "SELECT " in text:
        return True
    if ":" in text and ("else:" in text or "try:" in text or "class " in text):
        return True
    if ("(" in text or "+" in text) and ("def " in text or "class " in text or _CALLS.search(text) is not None):
        return True
    if "&" in text and "&&" in text:
        return True
    return "\n" in text and ("\n  " in text or _LISTS.search(text) is not None)


def _prose(text: str) -> str:
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    if text.isascii():
        return text
    text = _replace(text, _ODD_IN_PROSE, _IN_PROSE)
    return _LATIN_JOINERS.sub("", text) if "\u200c" in text or "\u200d" in text else text


def _replace(text: str, odd: re.Pattern[str], table: dict[int, str | None]) -> str:
    """One form after the other: translating costs more, since it looks at every letter."""
    for each in set(odd.findall(text)):
        text = text.replace(each, table[ord(each)] or "")
    return text


def _mixed(lines: list[str], marks: list[int]) -> str:
    out: list[str] = []
    prose: list[str] = []
    quotes = ""  # of the string of several lines that goes on
    for line, mark in zip(lines, marks, strict=True):
        if mark == _PLAIN:
            prose.append(line)
            continue
        if any(prose):
            out.append(_prose("\n".join(prose)))
            quotes = ""
        prose = []
        if line.strip():
            out.append(_item(line) if mark == _LISTED else "\t" + _code_line(line))
            quotes = "" if _is_fence(line) else _quotes_behind(line, quotes)
        elif quotes:
            out.append("\t")  # a blank line is nothing to a program, but a part of its string
    if any(prose):
        out.append(_prose("\n".join(prose)))
    return "\n".join(out).rstrip("\n\t")


def _quotes_behind(line: str, quotes: str) -> str:
    """The triple quotation marks that are open behind a line, of which `quotes` were open before it."""
    for found in _TRIPLE.findall(line):
        quotes = found if not quotes else "" if found == quotes else quotes
    return quotes


def _item(line: str) -> str:
    depth = (len(line) - len(line.lstrip())) // 2
    return (_DEEPER * depth + " " if depth else "") + _prose(line)


def _code_line(line: str) -> str:
    return line.strip() if line.lstrip().startswith(_FENCE) else line.rstrip()


_PLAIN, _LISTED, _CODE = 0, 1, 2


class _Kind(NamedTuple):
    """What a line is by itself: code, a row of a table, an item of a list."""

    fence: bool
    code: bool
    table: bool
    item: bool
    dashed: bool  # begins with a dash
    follows: bool  # is blank or indented: a part of what stands above it
    cells: bool  # holds a tab, as a row of the table above it with an empty cell does


def _marked_lines(lines: list[str], kinds: list[_Kind], wrappers: frozenset[str], listed: bool) -> list[int]:
    """Which lines are inside a fence or look like code or a list, with the indented and blank lines that follow them."""
    marks: list[int] = []
    fenced, last = False, _PLAIN
    for line, kind in zip(lines, kinds, strict=True):
        if kind.fence:
            last, fenced = _CODE, not fenced
        elif (
            fenced
            or (listed and kind.table)
            or (_is_code_line(_unwrapped(line, wrappers)) if wrappers and "<" in line else kind.code)
        ):
            last = _CODE
        elif listed and kind.item:
            last = _LISTED
        elif not (kind.follows or (listed and kind.cells and last == _CODE)):
            last = _PLAIN
        marks.append(last)
    return marks


def _unwrapped(line: str, wrappers: frozenset[str]) -> str:
    return _ends(TAG.sub(lambda tag: " " if tag[2] in wrappers else tag[0], line))


def _dashed_once(kinds: list[_Kind]) -> bool:
    """One line that begins with a dash is no list, but prose that was broken there: `AP\n- The game …`."""
    listed = [kind for kind in kinds if kind.item or kind.table]
    return len(listed) == 1 and listed[0].dashed


def _kinds(lines: list[str]) -> list[_Kind]:
    """A very long line is judged by its beginning and its end."""
    return [_kind(line) if len(line) <= 2 * _JUDGED_LETTERS else _kind_of_long(line) for line in lines]


def _kind_of_long(line: str) -> _Kind:
    return _kind(_ends(line))._replace(fence=_is_fence(line))


def _is_fence(line: str) -> bool:
    if not line.lstrip().startswith(_FENCE):
        return False
    quoted = _QUOTED_LINE.fullmatch(line)
    if quoted is None or _CODE_LINE.search(_ends(quoted[1])) is not None or _FLAG.search(quoted[1]) is not None:
        return True
    return PROSE_WORDS.isdisjoint(quoted[1].lower().split()) and not quoted[1].startswith(("I ", "I'"))


def _ends(line: str) -> str:
    return line if len(line) <= 2 * _JUDGED_LETTERS else line[:_JUDGED_LETTERS] + line[-_JUDGED_LETTERS:]


@lru_cache(maxsize=_CACHED_LINES)
def _kind(line: str) -> _Kind:
    row = line.rstrip()
    is_row = row[:1].strip() != "" and (
        (row.count("\t") >= _MIN_CELL_ENDS and max(map(len, row.split("\t"))) <= _CELL)
        or (_BLANK.search(row) is None and len(_CELL_ENDS.findall(row)) >= _MIN_CELL_ENDS)
    )
    return _Kind(
        _is_fence(line),
        _CODE_LINE.search(line) is not None,
        is_row or _NESTED_KEY.match(line) is not None,
        _ITEM.search(line) is not None,
        line[:2] == "- ",
        line[:2].isspace() or not line.strip(),
        "\t" in row,
    )


@lru_cache(maxsize=_CACHED_LINES)
def _is_code_line(line: str) -> bool:
    return _CODE_LINE.search(line) is not None
