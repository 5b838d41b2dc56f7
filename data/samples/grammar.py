"""Small grammar of the samples: `[a|b]` is a choice, `<a/b>` a statement and its opposite, `{name}` a fact of the ticket.

Everything hangs on `random.random()`, whose sequence for a seed is the same in every Python version.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_FLIP = re.compile(r"<([^<>/]*)/([^<>]*)>")
_FACT = re.compile(r"\{(\w+)\}")
_MONTHS = {"mar": 2, "apr": 3, "may": 4, "jun": 5}
_DATE_STYLES = {
    "en": ("{d} {month}", "{month} {d}", "{d:02}/{m:02}", "{abbr} {d}", "{d}. {abbr}"),
    "de": ("{d}. {month}", "{d:02}.{m:02}.", "{d:02}.{m:02}.2026"),
    "es": ("{d} de {month}", "{d:02}/{m:02}"),
    "fr": ("{d} {month}", "{d:02}/{m:02}/2026"),
}
_MONEY_STYLES = {"en": ("${}.{:02}", "£{}.{:02}", "€{}.{:02}"), "de": ("{},{:02} €", "{},{:02} Euro")}
_ORDER_STYLES = ("{}", "#{}", "HP-{}", "HP{}", "no. {}")
_FLEETING = frozenset({"few", "digit", "percent", "minutes", "hours", "hour", "mm"})  # mere numbers: new each time
_OF_AN_ISSUE = frozenset(
    {"order", "order2", "amount", "amount2", "date", "date2", "soon", "tracking", "person", "email"}
)
_CENTS = (0, 50, 90, 95, 99, 49)


class Dice:
    """Seeded chance."""

    def __init__(self, seed: int) -> None:
        self._next = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._next() * limit)

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        return self._next() < share

    def one(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        """Different items, in an order of their own."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]


class Facts:
    """What a ticket speaks of: drawn when first asked for, the same ever after."""

    def __init__(self, dice: Dice, world: dict[str, Any], lang: str = "en", family: str | None = None) -> None:
        self.dice, self.world, self.lang = dice, world, lang
        self.family = family or dice.one(list(world["families"]))
        self.values: dict[str, str] = {}
        self.flips: dict[str, str] = {}
        self.date_style = dice.one(_DATE_STYLES[lang])
        self.money_style = dice.one(_MONEY_STYLES["en" if lang == "en" else "de"])
        self.order_style = dice.one(_ORDER_STYLES)

    def __getitem__(self, name: str) -> str:
        if name in _FLEETING:
            return str(_DRAWS[name](self))
        if name not in self.values:
            self.values[name] = self.another(name)
        return self.values[name]

    def another(self, name: str) -> str:
        """A value for this fact that no fact of the ticket has yet."""
        draw = _DRAWS.get(name)
        for _ in range(50):
            value = draw(self) if draw else self.dice.one(self.world["lists"][name])
            if value not in self.values.values():
                break
        return value

    def next_issue(self) -> None:
        """The same customer speaks of another matter: other orders, dates and sums."""
        for name in sorted(_OF_AN_ISSUE & self.values.keys()):
            self.values[f"{name} of issue {len(self.values)}"] = self.values.pop(name)

    def write(self, text: str) -> str:
        """The text with its choices made and its facts filled in; the first letter is a capital."""
        while (choice := _CHOICE.search(text)) is not None:
            text = text[: choice.start()] + self.dice.one(choice[1].split("|")) + text[choice.end() :]
        text = _FACT.sub(lambda match: self[match[1]], text)
        while (flip := _FLIP.search(text)) is not None:
            said, opposite = self.dice.some(flip.groups(), 2)
            self.flips[said] = opposite
            text = text[: flip.start()] + said + text[flip.end() :]
        text = re.sub(r" +(?=[ .,])", "", text).strip()  # what an empty choice leaves behind
        return text[:1].upper() + text[1:]


def _date(facts: Facts, first: int, last: int) -> str:
    number = facts.dice.between(first, last)  # days since 1 March 2026, months of 30 days are near enough
    month, day = 2 + number // 30, number % 30 + 1
    name = facts.world["months"][facts.lang][month]
    return facts.date_style.format(d=day, m=month + 1, month=name, abbr=name[:3])


def _money(facts: Facts) -> str:
    low, high = (9, 40) if facts.dice.chance(0.3) else (41, 480)
    return facts.money_style.format(facts.dice.between(low, high), facts.dice.one(_CENTS))


def _less_money(facts: Facts) -> str:
    """Below `amount`, so that what dropped, was short or went up did so."""
    most = int(re.search(r"\d+", facts["amount"])[0]) - 1  # type: ignore[index]
    return facts.money_style.format(facts.dice.between(most // 3, most), facts.dice.one(_CENTS))


def _person(facts: Facts) -> str:
    names = facts.world["names"]
    return f"{facts.dice.one(names[f'{facts.lang}_first'])} {facts.dice.one(names[f'{facts.lang}_last'])}"


def _email(facts: Facts) -> str:
    first, last = _person(facts).split(" ", 1)
    plain = re.sub(r"[^a-z]", "", f"{first[0]}{last}".lower())
    return f"{plain}{facts.dice.between(1, 99)}@{facts.dice.one(('example.com', 'example.net', 'mail.example'))}"


def _number(low: int, high: int) -> Any:
    return lambda facts: str(facts.dice.between(low, high))


_DRAWS: dict[str, Any] = {
    "order": lambda facts: facts.order_style.format(facts.dice.between(204_000, 879_999)),
    "order2": lambda facts: facts.order_style.format(facts.dice.between(880_000, 979_999)),
    "date": lambda facts: _date(facts, 0, 44),
    "date2": lambda facts: _date(facts, 45, 62),
    "soon": lambda facts: _date(facts, 80, 119),
    "amount": _money,
    "amount2": _less_money,
    "person": _person,
    "last": lambda facts: facts.dice.one(facts.world["names"][f"{facts.lang}_last"]),
    "email": _email,
    "email2": _email,
    "product": lambda facts: facts.dice.one(facts.world["families"][facts.family]),
    "product2": lambda facts: facts.dice.one(facts.world["families"][facts.family]),
    "thing": lambda facts: facts.family,
    "other": lambda facts: facts.dice.one([name for names in facts.world["families"].values() for name in names]),
    "month": lambda facts: facts.dice.one(facts.world["months"][facts.lang][3:]),
    "tracking": lambda facts: f"{facts.dice.one(('DP', 'NP', 'SV', 'RP'))}{facts.dice.between(10**9, 10**10 - 1)}",
    "firmware": lambda facts: f"{facts.dice.between(1, 4)}.{facts.dice.between(0, 9)}.{facts.dice.between(0, 19)}",
    "serial": _number(100_000, 999_999),
    "vat": _number(100_000_000, 999_999_999),
    "card": lambda facts: f"{facts.dice.between(0, 9999):04}",
    "few": _number(2, 7),
    "digit": _number(1, 9),
    "minutes": _number(10, 45),
    "hours": lambda facts: f"{facts.dice.between(8, 40)} hours",
    "hour": _number(3, 9),
    "mm": lambda facts: f"{facts.dice.between(0, 59):02}",
    "percent": _number(12, 95),
}
