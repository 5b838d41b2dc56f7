"""Numbers, times, dates and measures that are written in two ways: `09:00` and `9:00`, `3rd Apr` and `3 April`, `10x5`, `5 mins`.

Each is read as its common form, and only beside a number or another of its kind; a text about how things are written keeps them all. Other numbers,
units and dates stay other ones: nothing here computes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.proof.reading import Token
from pipelines.proof.words import word_set

_MONTHS = {
    "jan": "january", "feb": "february", "mar": "march", "apr": "april", "jun": "june", "jul": "july", "aug": "august",
    "sep": "september", "sept": "september", "oct": "october", "nov": "november", "dec": "december",
}  # fmt: skip
_WHOLE_MONTHS = frozenset(_MONTHS.values()) | {"may"}
_DAYS = {
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday", "thur": "thursday",
    "thurs": "thursday", "fri": "friday", "sat": "saturday", "sun": "sunday",
}  # fmt: skip
WHOLE_DAYS = frozenset(_DAYS.values())
_SHORT = _MONTHS.keys() | _DAYS.keys()
_UNITS = {
    form: short
    for short, forms in {
        "h": "hr hrs hour hours", "min": "mins minute minutes", "sec": "secs second seconds", "yr": "yrs year years",
        "kg": "kgs kilo kilos kilogram kilograms", "mg": "milligram milligrams", "g": "gram grams",
        "km": "kms kilometer kilometers kilometre kilometres", "cm": "cms centimeter centimeters centimetre centimetres",
        "mm": "millimeter millimeters millimetre millimetres", "ml": "milliliter milliliters millilitre millilitres",
        "lb": "lbs", "ft": "foot feet",
    }.items()
    for form in forms.split()
}  # fmt: skip
"""Only what is nothing else behind a number: pounds are money too, `m` may be minutes."""

PAUSE = "\0"
"""Stands for a soft mark."""

MEASURES = frozenset(_UNITS.values())
_IN_WORDS = word_set(
    "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty ninety"
)
_COUNTED = _UNITS.keys() | word_set(
    "day week month pack piece part door star page mile inch pound person bedroom seater litre liter gallon volt watt stage step"
)
_HYPHENED = re.compile(r"(\d+(?:\.\d+)?)-([A-Za-z]+)")
"""`a 6-foot man` and `a 6 foot man`; with another word behind it that may be an id."""

_ABOUT_FORM = word_set(
    "format formats formatted formatting written write writes notation digit digits character characters letter letters abbreviation "
    "abbreviations abbreviate abbreviated spell spelled spelling ordinal ordinals unit units stand stands padded padding leading symbol symbols "
    "iso americans american british europeans dialect writer"
)
_ORDINAL = re.compile(r"([1-9]|[12]\d|3[01])(?:st|nd|rd|th)")
_PADDED = re.compile(r"0(\d:[0-5]\d(?::[0-5]\d)?)")
_TIMES = re.compile(r"[1-9]\d*(?:\.\d+)?(?:[xX][1-9]\d*(?:\.\d+)?)+(mm|cm|km|ft)?")
_ISO = re.compile(r"([12]\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_DAY = re.compile(r"[1-9]|[12]\d|3[01]")
_MONTHS_IN_ORDER = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]  # fmt: skip
_SIGNS = {sign: sign for sign in "$\u20ac\u00a3"} | {"eur": "\u20ac", "gbp": "\u00a3"}
_ORDERED = _SIGNS.keys() | _WHOLE_MONTHS | _MONTHS.keys()
_CROSS = "\N{MULTIPLICATION SIGN}"


def figures(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """The tokens with what stands beside a number in its common form."""
    found = tuple(tokens)
    norms = [token.norm for token in found]
    if (
        not any(token.kind in ("number", "id") for token in found)
        and _SHORT.isdisjoint(norms)
        and _IN_WORDS.isdisjoint(norms)
    ):
        return found
    if not _ABOUT_FORM.isdisjoint(norms):
        return found
    split = [part for token in found for part in _factors(token)]
    crosses = _crosses(split)
    forms = [_common(split, at, at in crosses) for at in range(len(split))]
    ordered = not _ORDERED.isdisjoint(norms) or any(len(norm) == len("2024-08-03") and norm[4] == "-" for norm in norms)
    return tuple(_in_order(forms) if ordered else forms)


def _in_order(tokens: list[Token]) -> list[Token]:
    """`August 3, 2024`, `the 3rd of August 2024` and `2024-08-03` as `3 August 2024`, `$5` as `5 $`."""
    out: list[Token] = []
    for token in tokens:
        if token.kind == "number" and len(out) > 1 and out[-1].norm == PAUSE and out[-2].raw.lower() in _MONTHS:
            out.pop()  # `Aug. 3`
        before = out[-1] if out else None
        if token.kind == "number":
            if (iso := _ISO.fullmatch(token.norm)) is not None:
                out += [_number_token(iso[3].lstrip("0"), token), _word_token(_MONTHS_IN_ORDER[int(iso[2]) - 1], token)]
                out.append(_number_token(iso[1], token)._replace(first=False))
                continue
            turned = before is not None and (_money(before) or (_is_month(before) and _DAY.fullmatch(token.norm)))
            if turned and before is not None and not (len(out) > 1 and out[-2].kind == "number"):
                out[-1] = token._replace(first=before.first)
                out.append(before._replace(norm=_money(before) or before.norm, first=False))
                continue
        elif token.norm in _SIGNS and before is not None and before.kind == "number":
            token = token._replace(norm=_money(token), kind="symbol")
        elif token.norm in _WHOLE_MONTHS and _of_a_day(out):
            out[-2:] = [out[-2]._replace(norm=out[-2].norm.rstrip("dhnrst"), kind="number")]
            if len(out) > 1 and out[-2].norm == "the":
                out[-2:] = [out[-1]._replace(first=out[-2].first)]
        out.append(token)
    return out


def _of_a_day(tokens: Sequence[Token]) -> bool:
    """`3rd of`"""
    return len(tokens) > 1 and tokens[-1].norm == "of" and _ORDINAL.fullmatch(tokens[-2].norm.lower()) is not None


def _is_month(token: Token) -> bool:
    return token.kind == "word" and token.norm in _WHOLE_MONTHS


def _money(token: Token) -> str:
    """The sign of a currency, for its code too; which dollars are meant, `15 dollars` says no more than `$15`, but it is kept apart."""
    return _SIGNS.get(token.norm, "")


def _number_token(norm: str, token: Token) -> Token:
    return token._replace(norm=norm, raw=norm)


def _word_token(norm: str, token: Token) -> Token:
    return Token(norm, token.raw, "word", False)


def _factors(token: Token) -> list[Token]:
    """`10x5cm`: two numbers, a sign between them and a unit; `6-foot`: a number and a unit."""
    if token.kind != "id":
        return [token]
    if (match := _HYPHENED.fullmatch(token.raw)) is not None and match[2].lower() in _COUNTED:
        return [Token(match[1], match[1], "number", token.first), Token(match[2].lower(), match[2], "word", False)]
    if (match := _TIMES.fullmatch(token.raw)) is None:
        return [token]
    unit = match[1] or ""
    out: list[Token] = []
    for number in re.split("[xX]", token.raw.removesuffix(unit)):
        out += [Token(_CROSS, "x", "symbol", False)] if out else []
        out.append(Token(number, number, "number", token.first and not out))
    return [*out, Token(unit, unit, "word", False)] if unit else out


def _crosses(tokens: Sequence[Token]) -> set[int]:
    """Where an `x` multiplies two numbers; not where there is one that may be an unknown."""
    places = {at for at, token in enumerate(tokens) if token.norm == "x"}
    return places if all(_number(tokens, at - 1) and _number(tokens, at + 1) for at in places) else set()


def _common(tokens: Sequence[Token], at: int, cross: bool) -> Token:
    token = tokens[at]
    if cross:
        return token._replace(norm=_CROSS, kind="symbol")
    if token.kind == "number":
        padded = _PADDED.fullmatch(token.norm)
        return token._replace(norm=padded[1]) if padded else token
    if token.kind == "id":
        return _day_of_month(tokens, at)
    if token.kind != "word":
        return token
    norm = _word(tokens, at)
    return token if norm == token.norm else token._replace(norm=norm)


def _word(tokens: Sequence[Token], at: int) -> str:
    norm = tokens[at].norm
    if norm in _UNITS and (_number(tokens, at - 1) or _norm(tokens, at - 1) in _IN_WORDS):
        return _UNITS[norm]
    if norm in _MONTHS and (
        _figure(tokens, at - 1)
        or _figure(tokens, at + 1 + (_norm(tokens, at + 1) == PAUSE))
        or _beside(tokens, at, _MONTHS, _WHOLE_MONTHS)
    ):
        return _MONTHS[norm]
    if norm in _DAYS and (_figure(tokens, at + 1) or _beside(tokens, at, _DAYS, WHOLE_DAYS)):
        return _DAYS[norm]
    return norm


def _day_of_month(tokens: Sequence[Token], at: int) -> Token:
    token, match = tokens[at], _ORDINAL.fullmatch(tokens[at].norm.lower())
    if match is None or not any(_norm(tokens, near) in _MONTHS.keys() | _WHOLE_MONTHS for near in (at - 1, at + 1)):
        return token
    return token._replace(norm=match[1], kind="number")


def _beside(tokens: Sequence[Token], at: int, short: dict[str, str], whole: frozenset[str]) -> bool:
    """One of its kind is on the other side of a dash."""
    for dash, far in ((at - 1, at - 2), (at + 1, at + 2)):
        if _norm(tokens, dash) in ("-", "to") and (_norm(tokens, far) in short or _norm(tokens, far) in whole):
            return True
    return False


def _norm(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].norm if 0 <= at < len(tokens) else ""


def _number(tokens: Sequence[Token], at: int) -> bool:
    return 0 <= at < len(tokens) and tokens[at].kind == "number"


def _figure(tokens: Sequence[Token], at: int) -> bool:
    """A number, or one with an ending: `3rd`."""
    return _number(tokens, at) or _ORDINAL.fullmatch(_norm(tokens, at).lower()) is not None
