"""Capital letters that make a name of a word, where an answer is free."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, OPEN, decide

pytestmark = pytest.mark.usefixtures("vocabulary")


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("Who played in The Office?", "Who played in the office?"),
        ("What is The Guardian?", "What is the guardian?"),
        ("What is Signal used for?", "What is a signal used for?"),
        ("How do I get rid of Edge?", "How can I get rid of an edge?"),
        ("How does Signal work on a phone?", "How does signal work on a phone?"),
        ("WHO recommends masks to whom?", "Who recommends masks to whom?"),
        ("It broke. IT ordered new laptops", "It broke. It ordered new laptops"),
    ],
)
def test_a_name_is_not_the_thing(one: str, another: str) -> None:
    assert not decide((one,), (another,), OPEN).accept
    assert not decide((another,), (one,), OPEN).accept


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("Who played in The Office?", "who played in the office?"),
        ("Who played in The Office?", "WHO PLAYED IN THE OFFICE?"),
        ("HOW did they play in the office?", "How did they play in the office?"),
        ("What is the use of a Garden tower?", "What is the use of a garden tower?"),
        ("Why is The boat late?", "Why is the boat late?"),
        ("Does Orange sell an orange pie recpie?", "Does Orange sell an orange pie recipe?"),
    ],
)
def test_case_that_says_nothing(one: str, another: str) -> None:
    assert decide((one,), (another,), OPEN).accept
    assert decide((another,), (one,), OPEN).accept


def test_a_label_does_not_hang_on_it() -> None:
    assert decide(("We met in The Office today",), ("We met in the office today",), CLOSED).accept
