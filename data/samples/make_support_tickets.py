"""Writes support_tickets.jsonl, 2,000 prompts, and support_tickets_truth.csv, which says which of them repeat another.

The same seed writes the same bytes. Run it from anywhere: python data/samples/make_support_tickets.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from grammar import Dice
from tickets import ANSWER_TOKENS, Ticket, Writer
from variants import Variant, near_miss, repeat

SEED = 20260504
EASY, ABROAD, HARD = 1_284, 150, 246
REPEATED = {"identical": 60, "case": 22, "spaces": 32, "unicode": 26, "punctuation": 16, "typo": 14, "reworded": 30}
NEARLY = {"order": 26, "product": 20, "amount": 20, "date": 18, "person": 14, "negation": 22}
START = datetime(2026, 5, 4, 5, 58, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """A ticket at its place in the file; `of` is the number of the base that it repeats or resembles."""

    place: float
    kind: str
    ticket: Ticket
    base: int
    of: int | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out
    prompts, truth = make()
    (out / "support_tickets.jsonl").write_bytes(prompts.encode())
    (out / "support_tickets_truth.csv").write_bytes(truth.encode())


def make() -> tuple[str, str]:
    """Both files as text."""
    dice = Dice(SEED)
    writer = Writer(dice)
    bases = _shuffled(
        [writer.easy() for _ in range(EASY)]
        + [writer.abroad() for _ in range(ABROAD)]
        + [writer.escalated() for _ in range(HARD)],
        dice,
    )
    rows = [Row(float(place), "base", ticket, place) for place, ticket in enumerate(bases)]
    for kind, count in NEARLY.items():
        rows += _variants(f"near_{kind}", count, bases, rows, dice, lambda ticket, kind=kind: _near(kind, ticket))
    for kind, count in REPEATED.items():
        rows += _variants(kind, count, bases, rows, dice, lambda ticket, kind=kind: _again(kind, ticket, dice))
    rows.sort(key=lambda row: row.place)
    return _prompts(rows, dice), _truth(rows)


def _near(kind: str, ticket: Ticket) -> Variant | None:
    return near_miss(kind, ticket.text, ticket.facts)


def _again(kind: str, ticket: Ticket, dice: Dice) -> Variant | None:
    if kind == "reworded" and ticket.facts.lang != "en":
        return None
    return repeat(kind, ticket.text, dice)


def _variants(
    kind: str, count: int, bases: list[Ticket], rows: list[Row], dice: Dice, vary: Callable[[Ticket], Variant | None]
) -> list[Row]:
    """`count` rows of one kind, of bases that nothing was made of yet (now and then of one that has a variant)."""
    made: list[Row] = []
    taken = {row.of for row in rows}
    while len(made) < count:
        base = dice.below(len(bases) - 40)  # what repeats comes later, so the last ones are left alone
        if base in taken and not dice.chance(0.08):
            continue
        variant = vary(bases[base])
        if variant is None or any(row.of == base and row.ticket.text == variant.text for row in made + rows):
            continue
        taken.add(base)
        soon = kind == "identical" and dice.chance(0.6)
        gap = dice.between(1, 12) if soon else dice.between(1, len(bases) - base)
        place = base + gap - 0.5 + dice.below(1000) / 2001
        made.append(Row(place, kind, replace(bases[base], text=variant.text), len(bases) + len(rows) + len(made), base))
    return made


def _prompts(rows: list[Row], dice: Dice) -> str:
    lines, at = [], START
    for number, row in enumerate(rows, 1):
        at += timedelta(minutes=dice.between(1, 13))
        lines.append(json.dumps(_record(_id(number), row.ticket, at), ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _record(name: str, ticket: Ticket, at: datetime) -> dict[str, Any]:
    metadata = {"channel": ticket.channel, "received": f"{at:%Y-%m-%dT%H:%MZ}"}
    if not ticket.as_messages:
        return {"id": name, "system": ticket.system, "prompt": ticket.text, "metadata": metadata}
    turns = [("system", ticket.system), *ticket.turns, ("user", ticket.text)]
    messages = [{"role": role, "content": content} for role, content in turns]
    limit = {"max_tokens": ANSWER_TOKENS} if ticket.hard else {}
    return {"id": name, "messages": messages, **limit, "metadata": metadata}


def _truth(rows: list[Row]) -> str:
    ids = {row.base: _id(number) for number, row in enumerate(rows, 1)}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("id", "kind", "of"))
    table.writerows((ids[row.base], row.kind, "" if row.of is None else ids[row.of]) for row in rows)
    return text.getvalue()


def _id(number: int) -> str:
    return f"T-{number:06}"


def _shuffled(tickets: list[Ticket], dice: Dice) -> list[Ticket]:
    return dice.some(tickets, len(tickets))


if __name__ == "__main__":
    main()
