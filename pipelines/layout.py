"""The layout form of a text: Unicode form, line ends and white space put aside, while code keeps its lines and indentation.

A line of code starts with a tab in the form; prose is one line. Nothing else about a text is changed here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_SPACES = dict.fromkeys([0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_NOTHING = dict.fromkeys([0x200B, 0x2060, 0xFEFF, 0x00AD], None)
_LINES = dict.fromkeys([0x2028, 0x2029, 0x0085], "\n")
_ANYWHERE: dict[int, str | None] = {**_SPACES, **_NOTHING, **_LINES}

_MARKS = {0x2010: "-", 0x2011: "-", 0x2013: "-", 0x2026: "..."}
_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2032: "'", 0x2033: '"', 0x201A: "'", 0x201E: '"'}
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl"}
_IN_PROSE: dict[int, str | None] = {**_MARKS, **_QUOTES, **_FULL_WIDTH, **_LIGATURES}
"""Forms of one character; in code a curly quote is a mistake, and mistakes may be the question."""

_ODD_ANYWHERE = re.compile(f"[{''.join(map(chr, _ANYWHERE))}]")
_ODD_IN_PROSE = re.compile(f"[{''.join(map(chr, _IN_PROSE))}]".replace("\\", "\\\\"))

_CODE_CHARS = re.compile(r"[{}=<>`|;\t]")
_CALLS = re.compile(r"\w\(|\w\+\+")
_LISTS = re.compile(r"\n(?:[-*+\u2022]|\d+[.)]|\S+[,;]\S)")

_CODE_LINE = re.compile(
    r"^\s*(?:def \w+\s*\(|class \w+\s*[:({]|import [\w.]+(?: as \w+)?;?\s*$|from [\w.]+ import\b|return(?: \S+)?;?\s*$"
    r"|elif .*:\s*$|else:|try:|finally:|except\b.*:\s*$|for \w+(?:, ?\w+)* in .*:\s*$|(?:while|if|with) .*:\s*$"
    r"|(?:async )?function\b.*\(|(?:const|let|var|public|private|static|int|string|bool|void)\s[\w<>\[\], ]+[=(;{]"
    r"|#include\b|@\w+(?:\(.*\))?\s*$|package [\w.]+;?\s*$|(?:fn|func) \w+\s*\(|struct \w+)"
    r"|^\s+(?:return|yield|raise|pass|break|continue)\b"
    r"|[{}]\s*$|\)\s*;\s*$|=.*;\s*$|^\s*[}\])]+[,;]?\s*$|[=!<>]=|[-=]>|:=|\b(?!C\b)\w+\+\+|&&|\|\|"
    r"|\w\(.*\)\s*$|^\s*[\w.\[\]]+\s*[-+*/]?=\s*\S|</?(?!(?:br|b|i|em|p|strong)\b)\w+[^<>]*>"
    r"|\b(?:SELECT\b.*\bFROM|INSERT INTO|UPDATE .*\bSET|DELETE FROM|CREATE TABLE)\b"
)
"""Programs, queries and markup."""

_LIST_LINE = re.compile(
    r"^\s{2,}(?:[-*+] |\d+[.)] |[\w-]+:(?:\s|$))|^(?:[-*+\u2022]|\d+[.)])\s|^\S+(?:[,;|\t]\S+){2,}\s*$"
)
"""Lists, plain or nested, and rows of a table: their lines and indentation say something too."""

_FENCE = "```"
_CACHED_LINES = 16_384
_JUDGED_LETTERS = 500


def layout(text: str) -> str:
    """The text without what only its layout says."""
    if not text.isascii():
        text = _composed(text)
    return _mixed_form(text) if _may_hold_code(text) else _prose(text)


def prose_words(text: str) -> list[str] | None:
    """The words of `layout(text)` where that is one line of prose; None where it may have lines of code."""
    if not text.isascii():
        text = _composed(text)
    return None if _may_hold_code(text) else _plain(text).split()


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", _replace(text, _ODD_ANYWHERE, _ANYWHERE))


def _mixed_form(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    coded = _marked_lines(lines, _looks_like_code if _dashed_once(lines) else _keeps_its_line)
    return _mixed(lines, coded) if True in coded else _prose(text)


def is_code(text: str) -> bool:
    """Any line of the text is code."""
    return _may_hold_code(text) and True in _marked_lines(text.split("\n"), _looks_like_code)


def _may_hold_code(text: str) -> bool:
    """Cheap signs, without one of which nothing needs to be looked at line by line; a word costs more than a letter."""
    if _CODE_CHARS.search(text) is not None or "return " in text or "import " in text or "SELECT " in text:
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
    return text if text.isascii() else _replace(text, _ODD_IN_PROSE, _IN_PROSE)


def _replace(text: str, odd: re.Pattern[str], table: dict[int, str | None]) -> str:
    """Translating costs more than looking whether there is anything to translate."""
    return text if odd.search(text) is None else text.translate(table)


def _mixed(lines: list[str], coded: list[bool]) -> str:
    out: list[str] = []
    prose: list[str] = []
    for line, is_code in zip(lines, coded, strict=True):
        if not is_code:
            prose.append(line)
            continue
        if any(prose):
            out.append(_prose("\n".join(prose)))
        prose = []
        if line.strip():
            out.append("\t" + (line.strip() if line.lstrip().startswith(_FENCE) else line.rstrip()))
    if any(prose):
        out.append(_prose("\n".join(prose)))
    return "\n".join(out)


def _marked_lines(lines: list[str], marks_it: Callable[[str], bool]) -> list[bool]:
    """Which lines are inside a fence or look like code, with the indented and blank lines that follow them."""
    marks: list[bool] = []
    fenced = False
    for line in lines:
        if line.lstrip().startswith(_FENCE):
            marks.append(True)
            fenced = not fenced
        elif fenced or marks_it(line):
            marks.append(True)
        else:
            marks.append(bool(marks) and marks[-1] and (line[:2].isspace() or not line.strip()))
    return marks


def _looks_like_code(line: str) -> bool:
    return _is_code_line(_ends(line))


def _keeps_its_line(line: str) -> bool:
    line = _ends(line)
    return _is_code_line(line) or _is_list_line(line)


def _dashed_once(lines: list[str]) -> bool:
    """One line that begins with a dash is no list, but prose that was broken there: `AP\n- The game …`."""
    listed = [line for line in map(_ends, lines) if _is_list_line(line)]
    return len(listed) == 1 and listed[0][:2] == "- "


def _ends(line: str) -> str:
    """A very long line is judged by its beginning and its end."""
    return line if len(line) <= 2 * _JUDGED_LETTERS else line[:_JUDGED_LETTERS] + line[-_JUDGED_LETTERS:]


@lru_cache(maxsize=_CACHED_LINES)
def _is_code_line(line: str) -> bool:
    return _CODE_LINE.search(line) is not None


@lru_cache(maxsize=_CACHED_LINES)
def _is_list_line(line: str) -> bool:
    return _LIST_LINE.search(line) is not None
