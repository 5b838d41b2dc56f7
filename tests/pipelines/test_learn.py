"""Lengths: sums that only grow, a guess that answers outweigh, bounded groups."""

from __future__ import annotations

import msgspec
import pytest

from pipelines.config.sections import Target
from pipelines.learn import GROUPS, READ_LEAST, Answers, Learned, Length, believed, count, outputs, tell
from pipelines.types import BatchHead, Completion, Item, Usage


def of(rows: int, expected: float, actual: float) -> Length:
    return Length(rows, rows * expected, rows * actual, rows * actual**2)


def test_answers_outweigh_the_guess() -> None:
    assert Length().longer() == 1.0
    assert 1.0 < of(1, 100, 300).longer() < 2.0, "one answer says little"
    assert of(4, 100, 300).longer() > 2.3, "a small batch says more than a guess"
    assert of(1000, 100, 300).longer() == pytest.approx(3.0, rel=0.02)
    assert of(4, 200, 20).longer() < 0.2, "a guess of ten times too much is no more than one answer either"
    learned = Learned({"g": of(1000, 100, 50)})
    assert outputs(learned, "g", 200.0) == pytest.approx(100.0, rel=0.02)
    assert outputs(learned, "other", 200.0) == 200.0


def test_sums_are_told_again_and_again_and_counted_once() -> None:
    before, now = of(10, 100, 50), of(30, 100, 50)
    assert now.since(before) == of(20, 100, 50)
    assert now.since(now) == Length()
    assert before.since(now) == before, "a worker that began anew"
    assert now.scaled(0.5) == of(15, 100, 50)


def test_one_answer_after_the_other() -> None:
    length = Length()
    for tokens in (10, 30):
        length.answer(tokens)
    assert (length.rows, length.output_tokens, length.squares) == (2, 40, 1000)


def test_groups_are_bounded() -> None:
    lengths: dict[str, Length] = {}
    for number in range(GROUPS + 5):
        count(lengths, f"g{number}", of(1, 1, 1))
    assert len(lengths) == GROUPS and "g0" not in lengths and f"g{GROUPS + 4}" in lengths
    count(lengths, f"g{GROUPS + 4}", of(2, 1, 1))
    assert lengths[f"g{GROUPS + 4}"] == of(3, 1, 1)


def test_a_count_that_no_answer_can_have_teaches_no_more_than_the_longest_that_can() -> None:
    """One of two hundred said 900 million: each row was expected to have 4.28 million tokens, and after a million more 1,000."""
    target = Target(kind="openai", model="m", base_url="http://127.0.0.1:1/v1", max_output_tokens=400)
    limited, free = Item(0, b"x" * 300, 80, 64), Item(1, b"x" * 300, 80, 0)
    pictures = Item(2, b'{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}]}', 800, 0)

    def told(item: Item, read: int, written: int, *texts: str) -> tuple[int, int]:
        first, *others = (Completion(text, "stop", Usage(read, output_tokens=written), "m") for text in texts or ("",))
        return believed(msgspec.structs.replace(first, others=tuple(others)), item, target)

    odd = (900_000_000, 900_000_000)
    assert told(limited, *odd) == (READ_LEAST + 300, 64), "its row's limit, of all its samples"
    assert told(free, *odd) == (READ_LEAST + 300, 400), "its target's"
    assert told(limited, *odd, "a" * 200, "b" * 300) == (READ_LEAST + 300, 500), "a server that keeps to none"
    assert told(limited, 90, 60, "a") == (90, 60)
    assert told(limited, 0, 0, "a") == (0, 0), "not said is not said"
    assert told(pictures, *odd)[0] > READ_LEAST + 3_000, "an image is more than its address"


def test_an_answer_whose_length_nobody_says_is_none_of_no_tokens() -> None:
    """Half the lines without usage halved the mean."""
    head = BatchHead("r.0.0.1", "r", "small", 0, 4, 100, 400, 1.0, 0, 1, group="g")
    answers, lengths = Answers(), dict[str, Length]()
    for tokens in (30, 0, 50):
        answers.answer(tokens)
    tell(lengths, head, answers)
    assert not lengths, "one is not there yet, and may be the longest"
    answers.answer(0)
    tell(lengths, head, answers)
    assert lengths == {"g": Length(2, 200, 80, 30**2 + 50**2)}
    tell(lengths, msgspec.structs.replace(head, group=""), answers)
    assert len(lengths) == 1, "an audit's has no place"
