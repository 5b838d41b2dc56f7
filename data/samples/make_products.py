"""Writes products.csv: 200 product reviews, a table to be turned into prompts with review_template.j2.

The same seed writes the same bytes: python data/samples/make_products.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

from grammar import Dice, Facts
from tickets import load

SEED, ROWS = 20260611, 200
COLUMNS = ("id", "product", "category", "price_eur", "stars", "reviewer", "review")
BASE_PRICE_EUR = {
    "espresso machine": 389, "headset": 149, "robot vacuum": 429, "smart lock": 219, "e-reader": 139, "router": 99,
    "lamp": 59, "backpack": 79, "standing desk": 459, "watch": 199, "doorbell camera": 119, "air purifier": 179,
}  # fmt: skip
SPANS = ("two weeks", "a month", "three months", "half a year", "a year", "ten days")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    (parser.parse_args().out / "products.csv").write_bytes(make().encode())


def make() -> str:
    """The table as text."""
    dice, world, words = Dice(SEED), load("world"), load("reviews")
    text, seen = io.StringIO(), set[str]()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    while len(seen) < ROWS:
        row = _row(len(seen) + 1, dice, world, words)
        if row[-1] not in seen:
            seen.add(str(row[-1]))
            table.writerow(row)
    return text.getvalue()


def _row(number: int, dice: Dice, world: dict[str, Any], words: dict[str, Any]) -> tuple[str | int, ...]:
    facts = Facts(dice, world)
    product, family = facts["product"], facts.family
    tier = world["families"][family].index(product)
    price_eur = f"{BASE_PRICE_EUR[family] * (10 + 3 * tier) // 10}.{dice.one(('00', '90', '95'))}"
    stars = dice.one((1, 2, 2, 3, 3, 4, 4, 4, 5, 5))
    good = dice.some(words["good"][family], min(3, max(0, stars - 1)))
    bad = dice.some(words["bad"][family], min(3, max(0, 5 - stars)))
    said = dice.some([*good, *bad], 4)
    sentences = [dice.one(words["open"]), *said] if dice.chance(0.8) else said
    if dice.chance(0.6):
        sentences.append(dice.one(words["close"]))
    facts.values["span"] = dice.one(SPANS)
    review = " ".join(facts.write(sentence) for sentence in sentences)
    return f"R-{number:04}", product, family, price_eur, stars, facts["person"], review


if __name__ == "__main__":
    main()
