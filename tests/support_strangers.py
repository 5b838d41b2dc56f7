"""A file of prompts as a stranger would bring it: interleaved templates, parameters, examples in front, near misses and variants.

Every prompt is made from a *meaning* (a tuple of choices). Two prompts may share an answer only if their meanings are equal;
variants say the same meaning in harmless other letters, near misses change exactly one choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple


class Strange(NamedTuple):
    """One prompt: its text and what it means."""

    text: str
    meaning: tuple[str, ...]


SLOTS: dict[str, tuple[str, ...]] = {
    "who": ("Ingrid", "Oskar", "Leila", "Tomasz", "the plumber", "our neighbour", "her uncle", "his aunt"),
    "town": ("Ghent", "Porto", "Tampere", "Graz", "Bergen", "Lucca"),
    "day": ("Monday", "Tuesday", "Friday", "3 May", "5 March", "13 May", "the 2nd of June"),
    "thing": ("kettle", "heater", "toaster", "router", "printer", "blender"),
    "count": ("2", "12", "three", "thirteen", "20", "200"),
    "amount": ("$15", "€15", "$50", "15 dollars", "£1,500", "£15.00"),
    "unit": ("kg", "g", "km", "miles", "ml", "mg"),
    "state": ("works", "never works", "hardly works", "no longer works", "works well", "works badly"),
    "verb": ("enable", "disable", "raise", "lower", "open", "close"),
    "than": ("cheaper than", "dearer than", "as cheap as", "faster than", "slower than"),
    "some": ("all", "some", "most", "few", "none of the", "only a few"),
    "may": ("can", "must", "may not", "should", "could", "did", "will"),
    "op": ("+", "-", "*", "/", "<=", ">="),
    "name": ("total", "totals", "count_rows", "count_row", "sum", "max"),
    "lang": ("German", "French", "Dutch", "Danish"),
    "link": ("https://shop.example/a?id=7", "https://shop.example/a?id=8", "http://shop.example/b", "ann@shop.example"),
    "face": ("🙂", "🙁", "👍", "👎"),
    "code": ("AB-1209", "AB-1290", "v1.3", "v1.13", "A7", "A8"),
}
"""The choices; any two of one slot mean different things."""

FIELDS: dict[str, tuple[str, ...]] = {
    "review": (
        "Bought the {thing} from {who} in {town} for {amount}, and it {state} {face}",
        "After {count} weeks the {thing} {state}; {some} guests {may} use it.",
        "The {thing} is {than} the one that {who} sent on {day}, ticket {code}.",
    ),
    "ticket": (
        "On {day} {who} paid {amount} for the {thing} but it {state}",
        "How do I {verb} the {thing} in {town}? See {link}",
        "The {thing} weighs {count} {unit}, can you {verb} the limit for {who}",
        "Please tell {who} that {some} orders from {day} {may} be sent to {town}",
    ),
    "question": (
        "How do I {verb} the {thing} that {who} brought from {town}?",
        "Is the {thing} in {town} {than} the {thing} of {who}?",
        "What is {count} {unit} of rice worth in {town} on {day}?",
        "Why {may} {some} tenants {verb} the gate on {day}?",
    ),
    "sum": (
        "{who} has {count} apples and buys {amount} worth of pears on {day}. How much is left?",
        "A lorry drives {count} {unit} on {day} and {who} drives twice as far. How far is that?",
    ),
    "code": (
        "def {name}(rows):\n    for row in rows:\n        if row.a {op} {count}:\n            return row\n    return None",
        "SELECT {name} FROM orders WHERE town = '{town}' AND amount {op} {count}",
    ),
}

FEW_SHOT = "".join(
    f"Message: {text}\nLabel: {label}\n\n"
    for text, label in (
        ("The lift has been stuck since noon and nobody has come", "repair"),
        ("I was charged for a night that I did not stay", "billing"),
        ("Could we have a late breakfast on our last day", "wish"),
        ("The staff at the desk were so kind to my mother", "praise"),
    )
    * 12
)
TEMPLATES: dict[str, tuple[str, str]] = {
    "sentiment": (
        "review",
        "Classify the sentiment of this review as positive, negative or mixed.\n\nReview: {}\nSentiment:",
    ),
    "stars": ("review", "{}\n\nHow many stars would this reviewer give? Answer with one number from 1 to 5."),
    "team": ("ticket", "Assign the ticket to one of: billing, hardware, shipping.\nTicket: {}\nTeam:"),
    "topic": (
        "ticket",
        "Which topic is this message about: billing, hardware or shipping?\nMessage: {}\nTopic:",
    ),
    "section": ("review", "Put the text into one of these sections: home, travel, trade.\n\n{}\n\nSection:"),
    "examples": ("ticket", FEW_SHOT + "Message: {}\nLabel:"),
    "translate German": ("ticket", "Translate into German:\n{}"),
    "translate Danish": ("ticket", "Translate into Danish:\n{}"),
    "fields": ("ticket", "Extract the names, places and amounts as JSON.\nText: {}\nJSON:"),
    "answer": ("question", "Answer in one short sentence.\n\nQuestion: {}\nAnswer:"),
    "bare": ("question", "{}"),
    "sums": ("sum", "Solve the problem and reply with the number only.\n{}"),
    "review code": ("code", "Review this code and name one bug.\n\n{}"),
}
"""Kind of field and template; `{}` is where the field stands."""

LITERAL = frozenset({"translate German", "translate Danish", "fields", "review code"})
_POLITE = ("Please ", "Hi, ", "Hello! ")


def strange_rows(count: int, seed: int) -> list[Strange]:
    """A shuffled file; the first of each meaning may come after its variants."""
    rng = random.Random(seed)
    rows: list[Strange] = []
    while len(rows) < count:
        name = rng.choice(list(TEMPLATES))
        kind, template = TEMPLATES[name]
        sentence = rng.choice(FIELDS[kind])
        chosen = {slot: rng.choice(values) for slot, values in SLOTS.items() if "{" + slot + "}" in sentence}
        rows.append(_made(name, template, sentence, chosen))
        for _ in range(rng.randint(1, 3)):
            slot = rng.choice(list(chosen))
            other = chosen | {slot: rng.choice([value for value in SLOTS[slot] if value != chosen[slot]])}
            rows.append(_made(name, template, sentence, other))
        if rng.random() < 0.5:
            rows.append(rows[-1])
        if rng.random() < 0.8:
            harmless = _ANYWHERE if name in LITERAL else (*_ANYWHERE, *_IN_PROSE)
            field = rng.choice(harmless)(sentence.format(**other), rng)
            rows.append(rows[-1]._replace(text=template.replace("{}", field)))
    rng.shuffle(rows)
    return rows[:count]


def _made(name: str, template: str, sentence: str, chosen: dict[str, str]) -> Strange:
    meaning = (name, sentence, *(f"{slot}={value}" for slot, value in sorted(chosen.items())))
    return Strange(template.replace("{}", sentence.format(**chosen)), meaning)


def _non_breaking(field: str, rng: random.Random) -> str:
    return field if "\n" in field else field.replace(" ", "\u00a0", 1)


def _trailing(field: str, rng: random.Random) -> str:
    return field + " " * rng.randint(1, 3) + "\n"


def _swapped_letters(field: str, rng: random.Random) -> str:
    """A slip in the middle of a long ordinary word."""
    words = ("weeks", "apples", "orders", "guests", "tenants", "twice", "bought", "brought", "Bought")
    for word in rng.sample(words, len(words)):
        if f" {word} " in f" {field} " and len(word) > 5:
            return field.replace(word, word[:2] + word[3] + word[2] + word[4:], 1)
    return field


_ANYWHERE: tuple[Callable[[str, random.Random], str], ...] = (_non_breaking, _trailing)
_IN_PROSE: tuple[Callable[[str, random.Random], str], ...] = (
    lambda field, rng: field if "\n" in field or "http" in field else field.upper(),
    lambda field, rng: rng.choice(_POLITE) + field,
    lambda field, rng: field.replace("the ", "the  ", 2),
    lambda field, rng: field.replace(" it ", " , it ", 1),
    _swapped_letters,
)
