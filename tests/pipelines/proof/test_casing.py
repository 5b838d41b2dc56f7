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
        ("What is the use of a Signal tower?", "What is the use of a signal tower?"),
        ("Why is The boat late?", "Why is the boat late?"),
    ],
)
def test_case_that_says_nothing(one: str, another: str) -> None:
    assert decide((one,), (another,), OPEN).accept
    assert decide((another,), (one,), OPEN).accept


def test_a_label_does_not_hang_on_it() -> None:
    assert decide(("We met in The Office today",), ("We met in the office today",), CLOSED).accept
