"""How the duplicate stage reads a text in layout form: its tokens. loose.py has the form of them that keys are made of.

Where two readings differ is difference.py's, what a difference means guards.py's and explain.py's concern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from pipelines.proof.asking import asked, begins, opens_question
from pipelines.proof.layout import is_code, layout
from pipelines.proof.signs import DASHES, SOFT, is_sign, is_soft
from pipelines.proof.words import (
    CASED_UNITS,
    CONTRACTION_TAILS,
    CONTRACTIONS,
    FOREIGN_DENIALS,
    GREETINGS,
    NEGATION,
    POLITE,
    word_set,
)

CACHED_PIECES = 65_536
CACHED_LETTERS = 64
_CURRENCIES = frozenset("$€£¥")
_WHOLE = re.compile(r"(?<=\d)\.00$")
_MEASURE = re.compile(
    r"(\d+(?:[.,:]\d+)*)(mm|cm|km|mg|kg|lbs?|oz|ml|[kmgt]b|[kmg]?hz|kwh?|mph|km/h|hrs?|mins?|secs?|am|pm|usd|eur|gbp)",
    re.IGNORECASE,
)
"""A number and its unit, with or without a blank between them."""


PLAIN_UNITS = word_set("kb mb gb kbps mbps gbps kbit mbit gbit mw mwh mhz mpa")
"""Of the units whose case tells, those that are nothing else: `Ms` is also a woman, `Pb` lead."""

CIVIL = POLITE | GREETINGS


class Token(NamedTuple):
    """One word, number or symbol; `norm` is what is compared."""

    norm: str
    raw: str
    kind: str  # word | number | id | link | symbol | soft
    first: bool  # at the start of a sentence


_TOKEN = re.compile(
    r"(?P<link>(?i:https?)://\S*[^\s.,;!\"'>*]|(?i:www)\.\S*[^\s.,;!\"'>*]|(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,12}/\S*[^\s.,;!\"'>*]"
    r"|(?<![\w)])(?:~|\.{0,2})(?:/[\w.-]{0,80}\w){2,20}|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8})"
    r"|(?P<face>[:;=8][-']?[)(DdPpOo/\\|]+(?!\w)|<3)"
    r"|(?P<id>[@#]\w+|\w*_\w[\w]*"
    r"|(?:[^\W\d_]{1,40}[-./]?)?\d[\d.,:/-]{0,40}[^\W\d_][\w.:/-]{0,200}\w|[^\W\d_]{1,40}[-./]?\d[\w.:/-]{0,200}\w|[^\W\d_]{1,40}\d)"
    r"|(?P<number>\d+(?:[.,:/-]\d+)*)"
    r"|(?P<word>[^\W\d_](?:\.[^\W\d_]){1,20}\b\.?|[^\W\d_]+(?:'[^\W\d_]+)?|'(?i:s|re|ve|ll|d|m|t)\b)"
    r"|(?P<symbol>\S)"
)
"""Every repetition is bounded: a megabyte of dashes must not take an hour."""

_HOST = re.compile(r"(?i:https?://|www\.)[^/?#@]*(?![^/?#]*@)|^(?:[\w-]+\.)+\w+(?=/)")
"""What of an address has no case; names and passwords in it, and what follows the host, do."""

_PATTERN = re.compile(
    r"\\[A-Za-z]|\[\^?(?:\w-\w(?:\w-\w|_|[^\w\s])|\\)|\(\?[:=!<P]|(?:^|[>\"'(/`])\^[\w(.]|^/.*\w\$$|(?<!\w)\$[A-Za-z_{]|^[>\"'(`]?\.{1,2}/\w"
)
"""A regular expression or a macro: `[A-Z]`, `\\d+`, `(?=a)`, `^a$`, `\\Delta`; in it each letter's case counts.
So it does in `$HOME`, and in `./run` and `../run` each point."""

_GROUPS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
ENDS = frozenset(".!?:>")
PACES = frozenset(".,;:!")
PAUSES = PACES | {"-"} | set(DASHES)
"""Marks that part a denial from what stands beside it."""

DENIALS = NEGATION | FOREIGN_DENIALS | {"stop", "plus", "divided", "multiplied"}
PAUSE = ","
"""A mark beside a denial says what is denied: `No, more cuts` is not `No more cuts`. Which mark it is does not matter.
Beside an operator it says of what: *half of 10, plus 2*."""


def tokens(text: str) -> list[Token]:
    """Words, numbers and symbols of a text in layout form, contractions spelt out; a line of code is one token."""
    if text[:1] != "\t" and "\n" not in text:
        return _prose(text)
    out: list[Token] = []
    for line in text.split("\n"):
        coded = line[:1] == "\t"
        if out and not coded and out[-1].kind != "code":
            out.append(Token("\n", "\n", "symbol", True))
        out += _coded(line) if coded else _prose(line)
    return out


def _coded(line: str) -> list[Token]:
    """A line of code is one token; in one that is a JSON object the strings are read as prose, but for programs."""
    if line[1:2] == "{" and line[-1:] == "}":
        with suppress(ValueError, RecursionError):
            return _of_json(json.loads(line, object_pairs_hook=tuple, parse_int=str.encode, parse_float=str.encode))
    return [Token(line, line, "code", True)]


def _of_json(value: object) -> list[Token]:
    """Objects come as tuples of pairs, so that a name may come twice, and numbers as the bytes that were written."""
    if isinstance(value, str):
        form = value if "\n" in value else layout(value)
        if "\n" in form or form[:1] == "\t" or is_code(value):
            return [_code(value)]
        quote = Token('"', '"', "symbol", True)
        return [quote, *_prose(form), quote]
    if isinstance(value, tuple):
        return [_code("{"), *(t for name, part in value for t in (_code(name), *_of_json(part))), _code("}")]
    if isinstance(value, list):
        return [_code("["), *(token for part in value for token in _of_json(part)), _code("]")]
    return [_code(value.decode() if isinstance(value, bytes) else str(value))]


def _code(text: str) -> Token:
    return Token(text, text, "code", True)


class _Piece(NamedTuple):
    """What stands between two blanks, read as if nothing stood around it."""

    tokens: tuple[Token, ...]
    first_after: bool  # the next word begins a sentence
    opens: bool | None  # the last sentence that begins here does so like a question; None: none begins here
    asks: bool  # holds a question mark


_pieces: dict[tuple[str, bool], _Piece] = {}


def _prose(text: str) -> list[Token]:
    """Piece by piece from memory; only question marks and lone marks depend on what stands around them."""
    out: list[Token] = []
    first, start = True, 0
    pieces = text.split(" ")
    for at, word in enumerate(pieces):
        piece = _pieces.get((word, first)) or _remember(word, first)
        if piece.asks:
            _put_questions(out, piece.tokens, asked(pieces, start, at))
        elif len(word) == 1 and word in SOFT and is_sign(word, *around(pieces, at), "=" in text):
            out.append(Token(word, word, "symbol", first))
        else:
            out += piece.tokens
        if piece.opens is not None:
            start = at
        first = piece.first_after
    norms = [token.norm for token in out]
    if not CASED_UNITS.isdisjoint(norms):
        _keep_units(out)
    return out if DENIALS.isdisjoint(norms) else with_pauses(out)


def _keep_units(out: list[Token]) -> None:
    """A unit behind a number keeps its case, and one of data or power wherever it stands."""
    for at, token in enumerate(out):
        if cased_unit(token.raw) and (token.norm in PLAIN_UNITS or (at and out[at - 1].kind == "number")):
            out[at] = token._replace(norm=token.raw)


def cased_unit(raw: str) -> bool:
    """Where all is in capitals or all in small letters, case says nothing."""
    return raw.lower() in CASED_UNITS and not (raw.islower() or raw.isupper())


def with_pauses(found: Sequence[Token]) -> list[Token]:
    """The first of the soft marks between a denial and the word before or after it is no soft one."""
    out: list[Token] = []
    before, mark = "", -1
    for token in found:
        if token.kind == "soft":
            mark = len(out) if mark < 0 and before and token.norm in PAUSES else mark
        else:
            if mark >= 0 and (before in DENIALS or (token.norm in DENIALS and before not in CIVIL)):
                out[mark] = out[mark]._replace(norm=PAUSE, kind="symbol")
            before, mark = last_said(before, token.norm), -1
        out.append(token)
    return out


def last_said(before: str, word: str) -> str:
    """The word, except for the denial that is one of two choices: `yes or no`."""
    return before if before == "or" and word in DENIALS else word


def _put_questions(out: list[Token], found: Sequence[Token], asking: bool) -> None:
    """A question mark is needless where the sentence opens like a question, and after another one."""
    for token in found:
        if token.kind == "word" and token.first:
            asking = opens_question(token.raw)
        needless = token.norm == "?" and (asking or (bool(out) and out[-1].norm == "?"))
        out.append(token._replace(kind="soft") if needless else token)


def around(pieces: Sequence[str], at: int) -> tuple[str, str]:
    """The pieces on both sides of one."""
    return (pieces[at - 1] if at else "", pieces[at + 1] if at + 1 < len(pieces) else "")


def _remember(word: str, first: bool) -> _Piece:
    found = read_piece(word, first)
    if len(word) <= CACHED_LETTERS:
        if len(_pieces) > CACHED_PIECES:
            _pieces.clear()
        _pieces[word, first] = found
    return found


def read_piece(word: str, first: bool) -> _Piece:
    out: list[Token] = []
    after = first
    opens: bool | None = None
    if _PATTERN.search(word) is not None:
        return _Piece((Token(word, word, "code", first),), False, None, "?" in word)
    for match in _TOKEN.finditer(word):
        kind, raw = match.lastgroup or "symbol", match.group()
        after = after or begins(raw)
        if kind == "word":
            opens = opens_question(raw) if after else opens
            flag = word[0] == "-" and is_flag(raw) and not word[: match.start()].strip("-")
            _put_word(out, raw, raw if flag or is_identifier(raw) else raw.lower(), after)
            after = False
        elif kind == "symbol":
            soft = is_soft(raw, word, match.start()) or (raw in "\"'" and bool(out) and out[-1].kind == "link")
            charge = (
                raw == "-"
                and not soft
                and bool(out)
                and out[-1].kind == "word"
                and not word[match.end() :][:1].isalnum()
            )
            out.append(Token("\N{MINUS SIGN}" if charge else raw, raw, "soft" if soft else "symbol", after))
            after = after or raw in ENDS
        elif kind == "id" and (measure := _MEASURE.fullmatch(raw)) is not None:
            out += [
                Token(_norm("number", measure[1]), measure[1], "number", after),
                Token(measure[2] if cased_unit(measure[2]) else measure[2].lower(), measure[2], "word", False),
            ]
            after = False
        else:
            price = kind == "number" and bool(out) and out[-1].norm in _CURRENCIES
            norm = _norm(kind, _WHOLE.sub("", raw) if price else raw)
            out.append(Token(norm, raw, "symbol" if kind == "face" else kind, after))
            after = False
    return _Piece(tuple(out), after, opens, "?" in word)


def is_identifier(raw: str) -> bool:
    """`getValue`, of whose letters each counts; `iPhone` and `YouTube` are written in many ways."""
    return raw[:2].islower() and not raw.islower() and raw.isalpha()


def is_flag(raw: str) -> bool:
    """What stands behind a dash at the beginning of a piece: `-d` and `-D` are two."""
    return len(raw) == 1 or not raw.istitle()


def _norm(kind: str, raw: str) -> str:
    if kind == "number":
        return raw.replace(",", "") if _GROUPS.match(raw) else raw
    if kind == "face":
        return raw.lower()
    return _HOST.sub(lambda found: found.group().lower(), raw, count=1) if kind == "link" else raw


def _put_word(out: list[Token], raw: str, low: str, first: bool) -> None:
    if low[0] == "'":
        tail = CONTRACTION_TAILS.get(low, low)
        out.append(Token(tail, raw, "word", first))
        return
    if "'" in low or low in CONTRACTIONS:
        for at, part in enumerate(_spelt_out(low)):
            out.append(Token(part, raw, "word", first and not at))
        return
    out.append(Token(low.rstrip("."), raw, "word", first))


def _spelt_out(low: str) -> list[str]:
    if low in CONTRACTIONS:
        return CONTRACTIONS[low].split()
    for tail, word in CONTRACTION_TAILS.items():
        if low.endswith(tail):
            return [low[: -len(tail)], word] if low != tail else [word]
    return [low[:-2], "'s"] if low.endswith("'s") else [low]
