"""A report as one self-contained HTML page with a table and, where it helps, a bar chart; without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.reports.shared import pairs
from pipelines.reports.shared.format import cell, heading, is_number
from pipelines.reports.shared.sections import Section

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{color:#57606a;margin-top:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .7rem;border-bottom:1px solid #d8dee4;text-align:left;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tfoot td{font-weight:600;border-top:2px solid #57606a}
svg{width:100%;height:auto;margin:1rem 0}svg text{font:13px system-ui,sans-serif;fill:#1b1f24}rect{fill:#2f6f9f}
@media screen and (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}p{color:#8b949e}
svg text{fill:#e6edf3}rect{fill:#58a6ff}}
@page{margin:16mm}@media print{body{font-size:10pt;margin:0;max-width:none;padding:0;color:#000}thead{display:table-header-group}
.wide{overflow:visible}th,td{white-space:normal;padding:.2rem .35rem}tr,svg{break-inside:avoid}p{color:#333}}
"""
_BAR, _GAP, _LABEL, _WIDTH = 22, 8, 230, 900

Row = Mapping[str, Any]


def page(
    title: str,
    about: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    totals: Row | None = None,
    bars: Sequence[tuple[str, str, float]] = (),
    sections: Sequence[Section] = (),
) -> str:
    """The page; `bars` are (label, value as text, length), `sections` stand below the table."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{pairs.STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>{chart(bars, title)}"
        f'<div class="wide">{table(rows, columns, totals)}</div>{"".join(map(_section, sections))}</body></html>\n'
    )


def _section(section: Section) -> str:
    if section.pairs:
        return pairs.html(section.title, section.pairs)
    drawn = chart(section.bars, section.title)
    return (
        f'<h2>{escape(section.title)}</h2>{drawn}<div class="wide">{table(section.rows, list(section.rows[0]))}</div>'
    )


def table(rows: Sequence[Row], columns: Sequence[str], totals: Row | None = None) -> str:
    numeric = {name for name in columns if any(is_number(row[name]) for row in rows)}
    head = "".join(f"<th{_class(name, numeric)}>{escape(heading(name))}</th>" for name in columns)
    body = "".join(f"<tr>{_cells(row, columns, numeric)}</tr>" for row in rows)
    foot = f"<tfoot><tr>{_cells(totals, columns, numeric, blank=True)}</tr></tfoot>" if totals else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table>"


def chart(bars: Sequence[tuple[str, str, float]], title: str) -> str:
    """Horizontal bars; nothing when there is nothing to compare."""
    longest = max((length for _, _, length in bars), default=0.0)
    if longest <= 0:
        return ""
    height = len(bars) * (_BAR + _GAP)
    lines = []
    for index, (label, value, length) in enumerate(bars):
        top = index * (_BAR + _GAP)
        width = max(0.0, length) / longest * (_WIDTH - _LABEL - 130)
        lines.append(
            f'<text x="{_LABEL - 10}" y="{top + 16}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="3"/>'
            f'<text x="{_LABEL + width + 8:.1f}" y="{top + 16}">{escape(value)}</text>'
        )
    label = escape(title, quote=True)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{"".join(lines)}</svg>'


def _cells(row: Row, columns: Sequence[str], numeric: set[str], *, blank: bool = False) -> str:
    texts = ("" if blank and row.get(name) is None else cell(name, row.get(name)) for name in columns)
    return "".join(f"<td{_class(n, numeric)}>{escape(text)}</td>" for n, text in zip(columns, texts, strict=True))


def _class(name: str, numeric: set[str]) -> str:
    return ' class="n"' if name in numeric else ""
