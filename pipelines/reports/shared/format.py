"""Cells of reports as text for people: the column's name says the unit. Machines get the raw values elsewhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def dollars(value: Decimal) -> str:
    """US dollars with the digits that matter: cents from a dollar up, three significant digits below."""
    if value == 0:
        return "$0"
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    digits = min(12, 2 - size.adjusted())
    return f"{sign}${size:.{digits}f}"


def percent(value: float) -> str:
    return f"{value * 100:.1f}%"


def duration(seconds: float) -> str:
    """0.412 s, 41 s, 3 m 07 s, 2 h 05 m."""
    if seconds < 10:
        return f"{seconds:.3g} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"


def cell(column: str, value: Any) -> str:
    """One value of a report."""
    if value is None:
        return "-"
    if column == "due_usd":
        return f"${Decimal(value):,.2f}"
    if column.endswith("_usd"):
        return dollars(Decimal(value))
    if column.endswith("_share"):
        return percent(value)
    if column.endswith("_s") and not column.endswith("_per_s"):
        return duration(value)
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def heading(column: str) -> str:
    """`avoided_local_usd` -> `avoided local`, `busy_s` -> `busy time`, `tokens_per_s` -> `tokens/s`."""
    if column.endswith("_per_s"):
        return f"{column.removesuffix('_per_s').replace('_', ' ')}/s"
    words = f"{column.removesuffix('_s')} time" if column.endswith("_s") else column.removesuffix("_usd")
    return words.replace("_", " ")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
