"""Keys and the proof by difference, as tables of pairs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines import lexicon
from pipelines.dedup import (
    CLOSED,
    EXTRACT,
    OPEN,
    STRICT,
    Candidate,
    canonical_key,
    decide,
    infer_task,
    read,
    said,
    stored,
)

_WORDS = "account transfer delivery pending from form trail trial please estimated exchange where quite quiet casual"
_NAMES = "Smith Johnson Paris Oslo"


@pytest.fixture(autouse=True)
def vocabulary() -> Iterator[None]:
    words = [(b" " + word.encode(), at + 10) for at, word in enumerate([*_WORDS.split(), *_NAMES.split()])]
    lexicon.install(words)
    yield
    lexicon.forget()


SAME_FORM = [
    (STRICT, "A  text\twith\nspace ", "A text with space"),
    (STRICT, "café", "cafe\u0301"),
    (STRICT, "a\u00a0b\u200b c", "a b c"),
    (STRICT, "def f(x):\n    return x\n", "\r\ndef f(x):   \r\n    return x\r\n\r\n"),
    (OPEN, "What's the plan", "what is the plan?"),
    (OPEN, "Great film!", "great film!!!"),
    (CLOSED, "I haven't got it.", "I have not got it"),
    (CLOSED, "Population was 1,500.", "population was 1500"),
]
OTHER_FORM = [
    (STRICT, "Great film", "great film"),
    (STRICT, "Great film", "Great film?"),
    (STRICT, 'print("a  b")', 'print("a b")'),
    (STRICT, "if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
    (STRICT, "10²", "102"),
    (OPEN, "Great film", "Great film?"),
    (OPEN, "café menu", "cafe menu"),
    (OPEN, "Compute -5 + 2", "Compute 5 + 2"),
    (OPEN, "nice one :)", "nice one :("),
    (OPEN, "sort a list in C", "sort a list in C++"),
    (OPEN, "it costs 1.5", "it costs 15"),
]


def _key(text: str, task: str) -> bytes:
    return canonical_key(b"family-1", text, task)


@pytest.mark.parametrize(("task", "a", "b"), SAME_FORM)
def test_harmless_forms_share_a_key(task: str, a: str, b: str) -> None:
    assert _key(a, task) == _key(b, task)


@pytest.mark.parametrize(("task", "a", "b"), OTHER_FORM)
def test_other_texts_do_not(task: str, a: str, b: str) -> None:
    assert _key(a, task) != _key(b, task)


def test_keys_of_other_families_and_tasks_never_meet() -> None:
    keys = {
        canonical_key(family, "same", task) for family in (b"family-1", b"family-2") for task in (OPEN, CLOSED, STRICT)
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}


ACCEPTED = [
    (OPEN, "What is the estimated date?", "What is the estimaetd date?", "typo"),
    (OPEN, "Please reset my account", "Reset my account", "politeness"),
    (OPEN, "Which colour is the delivery", "Which color is the delivery", "spelling"),
    (CLOSED, "MY TRANSFER IS LATE", "my transfer is late", "case or punctuation"),
    (STRICT, "the land had no lake", "the land had no lake.", "closing mark"),
    (EXTRACT, "Ann met Bob in Rome", "Ann met Bob in Rome !", "closing mark"),
    (STRICT, "same  words", "same words", "layout"),
]
REFUSED = [
    (OPEN, "Take the trail", "Take the trial", "unexplained"),
    (OPEN, "Where is Mr Johnson", "Where is Mr Jonson", "name"),
    (OPEN, "Is it quite here", "Is it quiet here", "quantifier"),
    (OPEN, "Deliver to Oslo", "Deliver to Paris", "name"),
    (STRICT, "my estimated cost", "my estimaetd cost", "strict task"),
    (STRICT, "Save", "Save.", "strict task"),
    (STRICT, "Ann met Bob in Rome", "Ann met Bob in Rome!", "strict task"),
    (EXTRACT, "Ann met Bob in Rome", "ann met Bob in Rome", "strict task"),
    (EXTRACT, "Ann met Bob in Rome", "Ann met Bob in Rome?", "symbol"),
    (CLOSED, "I was not paid", "I was paid", "negation"),
    (OPEN, "one two three four five six seven", "red green blue", "number"),
]


@pytest.mark.parametrize(("task", "a", "b", "reason"), ACCEPTED)
def test_accepts_what_it_can_explain(task: str, a: str, b: str, reason: str) -> None:
    for pair in ((a, b), (b, a)):
        verdict = decide(pair[:1], pair[1:], task, 0.99)
        assert (verdict.accept, verdict.reason) == (True, reason)


@pytest.mark.parametrize(("task", "a", "b", "reason"), REFUSED)
def test_refuses_what_it_cannot(task: str, a: str, b: str, reason: str) -> None:
    for pair in ((a, b), (b, a)):
        verdict = decide(pair[:1], pair[1:], task, 1.0)
        assert (verdict.accept, verdict.reason) == (False, reason)


def test_every_field_must_agree() -> None:
    assert decide(("Oslo", "a  b"), ("Oslo", "a b"), OPEN, 1.0).accept
    assert not decide(("Oslo", "a b"), ("Paris", "a b"), OPEN, 1.0).accept
    assert not decide(("a",), ("a", "b"), OPEN, 1.0).accept


INSTRUCTIONS = [
    ("Translate the sentence into German.", STRICT),
    ("Extract all fields as JSON.", EXTRACT),
    ("Return the order as JSON with the keys id and date.", EXTRACT),
    ("Übersetze den Satz ins Englische.", STRICT),
    ("Summarise the report in three bullet points.", OPEN),
    ("Review this Python function.", STRICT),
    ("Classify the sentiment as positive or negative.", CLOSED),
    ("Which of these topics is it? Answer with one word only.", CLOSED),
    ("Answer the user's question in two sentences.", OPEN),
    ("Classify and translate the review.", STRICT),
    ("Text:\nTone (warm / cool / hostile):", CLOSED),
    ("On a scale from 1 to 5, how pleased is the writer?", CLOSED),
    ("Is the post an insult? Answer with yes or no.", CLOSED),
    ('Classify the message. Answer as JSON: {"label": "late", "why": ["..."]}', CLOSED),
    ("You label reviews.\n<review>\n</review>\n<label>", CLOSED),
    ("Explain this page: <div>it</div>", STRICT),
    ("Explain it: if (a == b) { return 1; }", STRICT),
]


@pytest.mark.parametrize(("instruction", "task"), INSTRUCTIONS)
def test_task_is_read_from_the_instruction(instruction: str, task: str) -> None:
    assert infer_task(instruction) == task


@pytest.mark.parametrize("fields", [None, ("Oslo", "a b"), ("not there",)])
def test_what_is_stored_can_be_read_again(fields: tuple[str, ...] | None) -> None:
    row = Candidate(0, b"k" * 16, b"f" * 8, "From Oslo: a b.", fields)
    assert read(stored(row)) == said(row)
