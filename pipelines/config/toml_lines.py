"""Finds the line on which a key of a TOML text stands, for error messages; it does not parse values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_SPLIT = re.compile(_PART)


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """1-based line of `path`, or of the nearest table or key that holds it; None when nothing of it is in the text."""
    lines: dict[Path, int] = {}
    for entry, number in _entries(text):
        lines.setdefault(entry, number)
    for length in range(len(path), 0, -1):
        if (found := lines.get(tuple(path[:length]))) is not None:
            return found
    return None


def _entries(text: str) -> Iterator[tuple[Path, int]]:
    table: Path = ()
    counts: dict[Path, int] = {}
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not quote:
            if header := _HEADER.match(line):
                table = _resolve(_parts(header[2]), counts, array=header[1] == "[[")
                yield from ((table[:length], number) for length in range(1, len(table) + 1))
            elif key := _KEY.match(line):
                path = table + _parts(key[1])
                yield from ((path[:length], number) for length in range(len(table) + 1, len(path) + 1))
        quote = _open_quote(line, quote)


def _parts(dotted: str) -> Path:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _SPLIT.findall(dotted))


def _resolve(name: Path, counts: dict[Path, int], *, array: bool) -> Path:
    """Puts the index of the current element behind the name of every array of tables."""
    path: Path = ()
    for position, part in enumerate(name):
        path = (*path, part)
        if array and position == len(name) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _open_quote(line: str, quote: str) -> str:
    """The triple quote that is still open at the line's end: keys inside such a text are no keys."""
    rest = line
    while True:
        if quote:
            _, found, rest = rest.partition(quote)
            if not found:
                return quote
            quote = ""
        marks = [(rest.find(mark), mark) for mark in ('"""', "'''") if mark in rest]
        if not marks:
            return ""
        at, quote = min(marks)
        rest = rest[at + 3 :]
