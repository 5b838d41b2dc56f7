"""Writes support tickets from the fragments: what is asked of the model, and what the customer says in which manner."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grammar import Dice, Facts
from variants import typo

CLASSIFY = (
    "Classify the support ticket. Answer with exactly one label and nothing else: "
    "billing, shipping, refund, technical, account, other."
)
ANSWER_TOKENS = 700
CHANNELS = {"plain": "web", "email": "email", "form": "web", "chat": "chat", "terse": "app", "angry": "email"}
STYLES = ("plain",) * 8 + ("email",) * 9 + ("form",) * 4 + ("chat",) * 4 + ("terse",) * 3 + ("angry",) * 2
LABELS = ("technical",) * 5 + ("shipping",) * 4 + ("billing",) * 3 + ("refund",) * 3 + ("account",) * 3 + ("other",) * 2
_FOLDER = Path(__file__).parent / "fragments"


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of trouble, with the sentences that tell it."""

    label: str
    family: str | None
    say: list[str]
    more: list[str]
    ask: list[str]
    lang: str = "en"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request: what is asked, the turns before, and the text, which is what variants change."""

    text: str
    system: str
    facts: Facts
    channel: str
    turns: tuple[tuple[str, str], ...] = ()
    as_messages: bool = False
    hard: bool = False


def load(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def cases() -> list[Case]:
    """Every case in English, in the order of the files."""
    technical = load("technical")
    groups = [{"label": "technical", "ask": technical["ask"], "case": technical["case"]}]
    groups += load("money")["group"] + load("rest")["group"]
    return [
        Case(group["label"], case.get("family"), case["say"], case["more"], [*group["ask"], *case.get("ask", []) * 3])
        for group in groups
        for case in group["case"]
    ]


def foreign_cases() -> list[Case]:
    return [
        Case(case["label"], None, case["say"], case["more"], [], lang)
        for lang, section in load("languages").items()
        for case in section["case"]
    ]


def _tellable(case: Case) -> int:
    return int(len(case.say) * 2 ** len(case.more))


class Writer:
    """Draws tickets; no two of them tell the same sentences."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.world = load("world")
        self.frame = self.world["frame"]
        self.hard = load("hard")
        self.cases, self.foreign = cases(), foreign_cases()
        self.languages = load("languages")
        products = (name for names in self.world["families"].values() for name in names)
        self._names = {name.split()[0] for name in (*products, *self.world["lists"]["carrier"])}
        self._told: set[tuple[object, ...]] = set()
        self._count: Counter[str] = Counter()

    def easy(self) -> Ticket:
        """A ticket that needs one label."""
        case = self._case(self.cases)
        facts = Facts(self.dice, self.world, "en", case.family)
        style = self.dice.one(STYLES)
        body = self._told_once(case, facts, 1 if style in ("terse", "chat") else 3)
        text = getattr(self, f"_{style}")(facts, body, case)
        if style != "form" and self.dice.chance(0.07):
            text = self._quoted(facts, text)
        for _ in range(self.dice.between(1, 2) if self.dice.chance(0.16) else 0):
            text = typo(text, self.dice)
        return Ticket(text, CLASSIFY, facts, CHANNELS[style], as_messages=self.dice.chance(0.15))

    def abroad(self) -> Ticket:
        """A ticket in German, Spanish or French."""
        case = self._case(self.foreign)
        facts = Facts(self.dice, self.world, case.lang)
        body = " ".join(self._told_once(case, facts, 2))
        section = self.languages[case.lang]
        if self.dice.chance(0.6):
            body = f"{self.dice.one(section['hello'])},\n\n{body}"
            body += f"\n\n{self.dice.one(section['bye'])}\n{facts.another('person')}"
        return Ticket(body, CLASSIFY, facts, "email")

    def escalated(self) -> Ticket:
        """A case of several problems that asks for an analysis."""
        dice, lines = self.dice, self.hard["text"]
        facts = Facts(dice, self.world, "en", dice.one(lines["families"]))
        fitting = [case for case in self.cases if case.family in (None, facts.family) and case.label != "other"]
        issues = [self._issue(case, facts) for case in dice.some(fitting, dice.between(2, 3))]
        pools = dice.some(["tech", "money", "logistics", "contradiction", "tried"], dice.between(2, 3))
        issues += [self._hard_issue(lines[pool], facts) for pool in pools]
        parts = [facts.write(dice.one(lines["open"])), *self._in_order(issues)]
        if dice.chance(0.4):
            parts.append("From the log of the device:\n" + self._log(facts))
        parts.append(facts.write(dice.one(lines["ask"])))
        if dice.chance(0.7):
            parts.append(f"{dice.one(self.frame['bye'])},\n{facts.another('person')}")
        turns: tuple[tuple[str, str], ...] = ()
        if dice.chance(0.12):
            turns = (("user", parts.pop(0)), ("assistant", facts.write(dice.one(self.frame["agent"]))))
        system = dice.one(self.hard["system"])["text"]
        return Ticket("\n\n".join(parts), system, facts, "email", turns, as_messages=True, hard=True)

    # -- what is told --------------------------------------------------------------------------------------------

    def _case(self, pool: list[Case]) -> Case:
        """A label first, as often as shops see it, then one of its cases that still has much untold."""
        label = self.dice.one([label for label in LABELS if any(case.label == label for case in pool)])
        room = [case for case in pool if case.label == label and self._count[case.say[0]] < _tellable(case) // 2]
        case = self.dice.one(room)
        self._count[case.say[0]] += 1
        return case

    def _told_once(self, case: Case, facts: Facts, most: int) -> list[str]:
        """Sentences of the case, chosen as nobody else has told them."""
        while True:
            say, more, ask = self._chosen(case, 0, most)
            key = (say, frozenset(more))  # what is asked for, or how politely, makes no other ticket
            if key not in self._told:
                self._told.add(key)
                return [facts.write(text) for text in (say, *more, ask) if text]
            most += 1  # the short ways are told: tell more

    def _chosen(self, case: Case, least: int, most: int) -> tuple[str, list[str], str]:
        more = self.dice.some(case.more, self.dice.between(least, min(most, len(case.more))))
        return self.dice.one(case.say), more, self.dice.one(case.ask) if case.ask and self.dice.chance(0.6) else ""

    def _issue(self, case: Case, facts: Facts) -> str:
        say, more, ask = self._chosen(case, 2, 4)
        facts.next_issue()
        return " ".join(facts.write(text) for text in (say, *more, ask) if text)

    def _hard_issue(self, lines: list[str], facts: Facts) -> str:
        facts.next_issue()
        return facts.write(self.dice.one(lines))

    def _in_order(self, issues: list[str]) -> list[str]:
        way = self.dice.below(3)
        if way == 0:
            return [f"{number}. {issue}" for number, issue in enumerate(issues, 1)]
        if way == 1:
            joins = self.dice.some(self.hard["text"]["join"], len(issues) - 1)
            issues[1:] = [f"{join} {issue}" for join, issue in zip(joins, issues[1:], strict=True)]
        return issues

    def _log(self, facts: Facts) -> str:
        dice, hour, minute = self.dice, self.dice.between(0, 22), self.dice.between(0, 30)
        lines = []
        for line in dice.some(self.hard["text"]["logline"], dice.between(4, 7)):
            lines.append(f"{hour:02}:{minute:02}:{dice.between(0, 59):02} {facts.write(line).lower()}")
            minute += dice.between(1, 3)
        return "\n".join(lines)

    # -- in which manner -----------------------------------------------------------------------------------------

    def _plain(self, facts: Facts, body: list[str], case: Case) -> str:
        if self.dice.chance(0.3):
            body.insert(self.dice.between(1, len(body)), facts.write(self.dice.one(self.frame["aside"])))
        text = " ".join(body)
        return f"{text} {self.dice.one(self.frame['emoji'])}" if self.dice.chance(0.06) else text

    def _email(self, facts: Facts, body: list[str], case: Case) -> str:
        dice, frame = self.dice, self.frame
        text = self._plain(facts, body, case)
        if len(text) > 220 and dice.chance(0.5):
            text = text.replace(". ", ".\n\n", 1)
        head = f"Subject: {facts.write(dice.one(frame['subject']))}\n\n" if dice.chance(0.4) else ""
        foot = f"\n\n{dice.one(frame['bye'])},\n{facts.another('person')}"
        if dice.chance(0.12):
            foot += f"\n\n{dice.one(frame['mobile'])}"
        return f"{head}{dice.one(frame['hello'])},\n\n{text}{foot}"

    def _form(self, facts: Facts, body: list[str], case: Case) -> str:
        fields = [f"Product: {facts['product']}", f"Order: {facts['order']}"]
        if self.dice.chance(0.5):
            fields.append(f"Purchased: {facts['date']}")
        if self.dice.chance(0.3):
            fields.insert(0, f"Name: {facts['person']}")
        return "\n".join([*fields, f"Message: {' '.join(body)}"])

    def _chat(self, facts: Facts, body: list[str], case: Case) -> str:
        lines = [self._small(line) for line in body]
        if self.dice.chance(0.6):
            lines.insert(0, self.dice.one(self.frame["chatty"]))
        if self.dice.chance(0.4):
            lines[-1] += f" {self.dice.one(self.frame['emoji'])}"
        return "\n".join(lines)

    def _terse(self, facts: Facts, body: list[str], case: Case) -> str:
        return self._small(" ".join(body))

    def _angry(self, facts: Facts, body: list[str], case: Case) -> str:
        cries = self.dice.some(self.frame["angry"], 2)
        return f"{cries[0]} {' '.join(body)} {cries[1]}"

    def _quoted(self, facts: Facts, text: str) -> str:
        answer = facts.write(self.dice.one(self.frame["agent"]))
        day = facts.another("date")
        return f"{text}\n\nOn {day} at {facts['hour']}:{facts['mm']}, Halden Support wrote:\n> {answer}"

    def _small(self, line: str) -> str:
        """As typed on a phone: no capital at the start unless it is a name, no full stop at the end."""
        small = line[1:2].islower() and line.split()[0] not in self._names
        return (line[0].lower() + line[1:] if small else line).removesuffix(".")
