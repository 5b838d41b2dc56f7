"""The opt-in verifier: what a near vector may decide, and what it may not."""

from __future__ import annotations

import pytest

from pipelines.proof.instruction import CLOSED, OPEN, STRICT
from pipelines.proof.paraphrase import same_meaning

pytestmark = pytest.mark.usefixtures("vocabulary")

MEANT = [
    ("How do I mend a broken window?", "What is the best way to repair a window that is broken?"),
    ("Why do cats purr when they sleep?", "Why does a sleeping cat purr?"),
    (
        "The firm said on Monday that it will close two plants in Texas next year, cutting 300 jobs.",
        "Two Texas plants will be closed next year by the firm, it said on Monday, and 300 jobs cut.",
    ),
]
NOT_MEANT = [
    ("How do I open a tin?", "How do I open a door?"),  # one word for another
    ("Who is behind in the race at half time?", "Who is ahead in the race at half time?"),
    ("Why do cats purr?", "How do cats purr?"),  # another kind of question
    ("How many cats purr at night?", "How often do cats purr at night?"),
    ("How can I study medicine in Canada?", "How can I study in Canada?"),  # asks for less
    ("Did the bank refuse my loan request today?", "Was my loan request today not refused by the bank?"),
    ("What did Anna tell Boris about the trip?", "What did Boris tell Anna concerning the trip?"),
    ("He has 3 pens and buys 4. How many pens has he?", "He buys 4 pens and had 3 pens. How many did he buy?"),
    (
        "The firm said on Monday that it will close two plants in Texas next year, cutting 300 jobs.",
        "The firm said on Monday that it will close two plants in Ohio next year, and 300 jobs are cut.",
    ),
]


@pytest.mark.parametrize(("a", "b"), MEANT)
def test_other_words_for_the_same(a: str, b: str) -> None:
    assert same_meaning(a, b, OPEN, "", 0.9)
    assert same_meaning(b, a, OPEN, "", 0.9)
    assert not same_meaning(a, b, OPEN, "", 0.6)


@pytest.mark.parametrize(("a", "b"), NOT_MEANT)
def test_other_words_for_something_else(a: str, b: str) -> None:
    assert not same_meaning(a, b, OPEN, "", 0.99)
    assert not same_meaning(b, a, OPEN, "", 0.99)


def test_literal_tasks_and_opinions_are_never_judged() -> None:
    a, b = MEANT[0]
    assert not same_meaning(a, b, STRICT, "", 0.99)
    assert not same_meaning(a, b, CLOSED, "Classify the sentiment of the review.", 0.99)


def test_a_label_that_nobody_explains_is_never_judged() -> None:
    a, b = MEANT[2]
    assert same_meaning(a, b, CLOSED, "Which topic is it?", 0.95)
    assert not same_meaning(a, b, CLOSED, "Classify:", 0.95)


def test_short_texts_for_a_label_need_a_nearer_vector() -> None:
    a, b = MEANT[0]
    assert not same_meaning(a, b, CLOSED, "Which topic is it?", 0.88)
    assert same_meaning(a, b, CLOSED, "Which topic is it?", 0.95)
