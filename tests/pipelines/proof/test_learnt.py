"""What was learnt from instructions: that the weights are of the present ones, and how often instructions nobody learnt from are read wrong."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from pipelines.dedup import CLOSED, OPEN, infer_task
from pipelines.proof import learnt
from pipelines.proof.instruction import LITERAL, read_task

FOLDER = Path(__file__).parents[3] / "data" / "instructions"


def unseen(kind: str) -> list[str]:
    """Instructions of an author who knew none of those that were learnt from, without their fields."""
    rows = map(json.loads, (FOLDER / "unseen.jsonl").read_text("utf-8").splitlines())
    return [row["instruction"].replace(learnt.FIELD, "\n").strip() for row in rows if row["kind"] == kind]


def test_the_weights_are_of_the_instructions_beside_them() -> None:
    digest = runpy.run_path(str(FOLDER / "learn.py"))["digest"]()
    with np.load(FOLDER / learnt.WEIGHTS) as stored:
        assert str(stored["source"]) == digest, "run `python data/instructions/learn.py`"


def test_no_instruction_was_learnt_that_is_measured_with() -> None:
    known, held = (
        {json.loads(line)["instruction"].strip().lower() for line in (FOLDER / name).read_text("utf-8").splitlines()}
        for name in ("known.jsonl", "unseen.jsonl")
    )
    assert not known & held


def test_work_on_the_letters_is_seldom_taken_for_something_else() -> None:
    literal = unseen("text")
    missed = [one for one in literal if infer_task(one) not in LITERAL]
    assert len(missed) <= 0.03 * len(literal), missed
    assert len(missed) < 0.5 * sum(read_task(one) not in LITERAL for one in literal)


def test_labels_and_answers_are_seldom_taken_for_work_on_the_letters() -> None:
    free = [*unseen("label"), *unseen("answer")]
    lost = [one for one in free if infer_task(one) in LITERAL]
    assert len(lost) <= 0.17 * len(free), lost
    assert len(lost) < 0.5 * sum(read_task(one) in LITERAL for one in free)


def test_few_answers_are_taken_for_labels() -> None:
    answers = unseen("answer")
    assert sum(infer_task(one) == CLOSED for one in answers) <= 0.05 * len(answers)


@pytest.mark.parametrize(
    ("instruction", "tasks"),
    [
        ('Overall impression (good, bad, mixed) of: ""', {CLOSED, OPEN}),
        ("If you were a librarian, on which shelf would this go?", {CLOSED, OPEN}),
        ("numeric result only, no words:", {OPEN}),
        ("what do i write back to this in a warm way, 3 sentences max:", {OPEN}),
        ("Same thing, but the way a pirate would put it:", LITERAL),
        ("only what stands between the commas:", LITERAL),
        ("fr:", LITERAL),
        ("", LITERAL | {OPEN}),
        ("Переведи на английский:", LITERAL),
        ("Klasifikuj náladu textu", LITERAL),
        ("这句话是什么意思?", LITERAL | {OPEN}),
    ],
)
def test_terse_and_roundabout_instructions(instruction: str, tasks: set[str]) -> None:
    assert infer_task(instruction) in tasks


def test_a_very_long_instruction_is_read_at_its_ends() -> None:
    ends = "Which of the desks should get the letter below?", "Desk (sport, money, culture):"
    assert learnt.odds(f"{ends[0]}\n{'x y z. ' * 100_000}\n{ends[1]}").literal < 0.4


def test_words_that_judge_a_form_are_never_overruled() -> None:
    asked = "How sarcastic is this tweet, 0 to 3?"
    assert learnt.odds(asked).literal < 0.1
    assert infer_task(asked) in LITERAL
