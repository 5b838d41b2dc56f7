"""The same ticket once more (as people, forms and mail programs repeat it), and tickets that only look like another one.

Each function returns the changed text, or the text itself when it has nothing to change.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from grammar import Dice, Facts

_SMART = {"'": "’", '"': "”", "...": "…", " - ": " – ", "->": "→"}
_REWORDED = (
    (r"\bI have\b", "I've"), (r"\bI've\b", "I have"), (r"\bI am\b", "I'm"), (r"\bI'm\b", "I am"), (r"\bI would\b", "I'd"),
    (r"\bI'd\b", "I would"), (r"\bcannot\b", "can't"), (r"\bcan't\b", "cannot"), (r"\bdoes not\b", "doesn't"),
    (r"\bdo not\b", "don't"), (r"\bdid not\b", "didn't"), (r"\bis not\b", "isn't"), (r"\bwas not\b", "wasn't"),
    (r"\bCan you\b", "Could you"), (r"\bCould you\b", "Can you"), (r"\bany more\b", "anymore"), (r"\bparcel\b", "package"),
    (r"\be-mail\b", "email"), (r"\bcolour\b", "color"), (r"\bWhat should\b", "What can"), (r"\bKind regards\b", "Best regards"),
    (r"\bregards\b", "wishes"), (r"^Hi\b", "Hello"), (r"^Hello\b", "Hi"), (r"\bthough\b", "although"), (r"\bmaybe\b", "perhaps"),
)  # fmt: skip
_AROUND = ("Hi, {}", "Hello, {}", "{} Thanks!", "{} Thank you.", "{} Please help.", "Hello! {} Many thanks")
_SLIPPABLE = re.compile(r"(?<![\w@.{/-])[a-z]{6,}(?![\w@.-])")
_MIN_CHARS = 25


class Variant(NamedTuple):
    """A text made from another one, and the ticket's fact that differs (None for a mere repetition)."""

    text: str
    fact: str | None = None


def case(text: str, dice: Dice) -> str:
    return dice.one((text.lower, text.lower, text.upper, text.capitalize, text.swapcase))()


def spaces(text: str, dice: Dice) -> str:
    ways: tuple[Callable[[], str], ...] = (
        lambda: text + dice.one(("\n", " ", "\n\n", "\r\n")),
        lambda: re.sub(r"([.!?]) ", r"\1  ", text),
        lambda: text.replace("\n", "\r\n"),
        lambda: _wrapped(text, 58),
        lambda: text.replace(". ", ".\n\n"),
        lambda: "\t" + text.replace("\n", "\n\t"),
        lambda: re.sub(r" ", "  ", text, count=3),
    )
    return dice.one(ways)()


def unicode(text: str, dice: Dice) -> str:
    """Accents taken apart where there are any, else marks and spaces that look the same."""
    if unicodedata.normalize("NFD", text) != text and dice.chance(0.8):
        return unicodedata.normalize("NFD", text)
    ways: tuple[Callable[[], str], ...] = (
        lambda: _translated(text, _SMART),
        lambda: re.sub(r" (?=[\d#€$£])", "\u00a0", text),
        lambda: text.replace("-", "\u2011"),
        lambda: "\u200b" + text.replace(". ", ".\u200b "),
        lambda: text.replace(" ", "\u00a0"),
        lambda: text.replace("fi", "\ufb01"),
    )
    return dice.one(ways)()


def punctuation(text: str, dice: Dice) -> str:
    ways: tuple[Callable[[], str], ...] = (
        lambda: text.rstrip(".!?"),
        lambda: text.replace(". ", "! ", 1) if ". " in text else text + "!",
        lambda: text.replace(", ", " "),
        lambda: text.replace("?", "??"),
        lambda: text.replace("!", "."),
    )
    return dice.one(ways)()


def typo(text: str, dice: Dice) -> str:
    """One slip in an ordinary word; numbers, names and addresses stay."""
    words = list(_SLIPPABLE.finditer(text))
    if not words:
        return text
    word = dice.one(words)
    at = dice.between(1, len(word[0]) - 3)
    letters = word[0]
    slips = (
        letters[:at] + letters[at + 1] + letters[at] + letters[at + 2 :],
        letters[:at] + letters[at + 1 :],
        letters[:at] + letters[at] + letters[at:],
    )
    return text[: word.start()] + dice.one(slips) + text[word.end() :]


def reworded(text: str, dice: Dice) -> str:
    fitting = [pair for pair in _REWORDED if re.search(pair[0], text, re.MULTILINE)]
    for pattern, replacement in dice.some(fitting, dice.between(1, 2)):
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    if (not fitting or dice.chance(0.2)) and "\n" not in text:
        text = dice.one(_AROUND).format(text)
    return text


REPEATS: Mapping[str, Callable[[str, Dice], str]] = {
    "identical": lambda text, dice: text,
    "case": case,
    "spaces": spaces,
    "unicode": unicode,
    "punctuation": punctuation,
    "typo": typo,
    "reworded": reworded,
}


def repeat(kind: str, text: str, dice: Dice) -> Variant | None:
    """The same request again; None when this text gives no cause for it."""
    if len(text) < _MIN_CHARS:
        return None
    again = REPEATS[kind](text, dice)
    return Variant(again) if kind == "identical" or again != text else None


def other_order(facts: Facts) -> tuple[str, str]:
    """One digit of the number is another one, or two have changed places."""
    order, dice = facts.values["order"], facts.dice
    digits = re.sub(r"\D", "", order)
    at = dice.between(1, len(digits) - 2)
    swapped = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
    changed = digits[:at] + str((int(digits[at]) + dice.between(1, 9)) % 10) + digits[at + 1 :]
    return order, order.replace(digits, swapped if swapped != digits and dice.chance(0.4) else changed)


def other_amount(facts: Facts) -> tuple[str, str]:
    """One digit before the cents is another one: 249.90 and 259.90."""
    amount, dice = facts.values["amount"], facts.dice
    whole = re.search(r"\d+", amount)
    assert whole is not None
    at = whole.end() - 1 if len(whole[0]) < 3 or dice.chance(0.5) else whole.end() - 2
    return amount, amount[:at] + str((int(amount[at]) + dice.between(1, 8)) % 10) + amount[at + 1 :]


def other_name(facts: Facts) -> tuple[str, str]:
    """Same surname, another first name."""
    first, last = facts.values["person"].split(" ", 1)
    names = [name for name in facts.world["names"][f"{facts.lang}_first"] if name != first]
    return f"{first} {last}", f"{facts.dice.one(names)} {last}"


def other_product(facts: Facts) -> tuple[str, str]:
    """Another model of the same family."""
    own = facts.values["product"]
    models = [name for name in facts.world["families"][facts.family] if name not in facts.values.values()]
    return own, facts.dice.one(models) if models else own


def opposite(facts: Facts) -> tuple[str, str]:
    return facts.dice.one(list(facts.flips.items()))


NEAR_MISSES: Mapping[str, Callable[[Facts], tuple[str, str]]] = {
    "order": other_order,
    "product": other_product,
    "amount": other_amount,
    "date": lambda facts: (facts.values["date"], facts.another("date")),
    "person": other_name,
    "negation": opposite,
}


def near_miss(kind: str, text: str, facts: Facts) -> Variant | None:
    """The ticket with one fact changed, everywhere it stands; None when the text does not hold that fact."""
    if not (facts.flips if kind == "negation" else kind in facts.values):
        return None
    before, after = NEAR_MISSES[kind](facts)
    found = re.compile(rf"(?<!\w){re.escape(before)}(?![\w-])")
    inside = any(before != value and before in value for value in facts.values.values())  # Porch View, Porch View 2
    if before == after or inside or found.search(text) is None:
        return None
    return Variant(found.sub(lambda _: after, text), before)


def _wrapped(text: str, width: int) -> str:
    """As a mail program breaks lines."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + len(word) >= width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return "\n".join(lines)


def _translated(text: str, table: Mapping[str, str]) -> str:
    for mark, other in table.items():
        text = text.replace(mark, other)
    return text
