"""Templates found by themselves: head, tail, slots, several at once, and none where there is none."""

from __future__ import annotations

import random

import pytest

from pipelines.proof.templates import Templates

WORDS = [f"word{n}" for n in range(400)]


def fields(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 12))) for _ in range(count)]


SHAPES = {
    "head and tail": "You are an editor.\n\nArticle:\n{}\n\nSection:",
    "one short word": "Classify: {}",
    "in one line": "Translate to French: {} Answer with the text only.",
    "field first": "{}\n\nIs the text above positive or negative?",
    "few shots": "Label reviews.\nReview: good stuff\nLabel: yes\nReview: bad stuff\nLabel: no\nReview: {}\nLabel:",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_field_is_found(shape: str) -> None:
    texts = fields(60, 1)
    templates = Templates()
    templates.learn(shape.format(text) for text in texts)
    assert [templates.split(shape.format(text)).field for text in texts] == texts


def test_interleaved_templates_are_kept_apart() -> None:
    templates = Templates()
    rows = [(shape, text) for n, shape in enumerate(SHAPES.values()) for text in fields(50, n)]
    random.Random(3).shuffle(rows)
    templates.learn(shape.format(text) for shape, text in rows)
    assert [templates.split(shape.format(text)).field for shape, text in rows] == [text for _, text in rows]
    assert len({templates.split(shape.format(text)).template for shape, text in rows}) == len(SHAPES)


def test_parameters_make_templates_of_their_own() -> None:
    templates = Templates()
    rows = [(language, text) for language in ("German", "French") for text in fields(40, 5)]
    templates.learn(f"Translate into {language}. Keep names.\n\n{text}" for language, text in rows)
    found = {
        language: templates.split(f"Translate into {language}. Keep names.\n\nsome text").constant
        for language, _ in rows
    }
    assert found == {language: f"Translate into {language}. Keep names." for language in ("German", "French")}


def test_two_slots_lose_their_labels() -> None:
    templates = Templates()
    left, right = fields(40, 6), fields(40, 7)
    templates.learn(f"Compare.\nFirst: {a}\nSecond: {b}\nAnswer:" for a, b in zip(left, right, strict=True))
    parts = templates.split("Compare.\nFirst: red\nSecond: blue\nAnswer:")
    assert parts.field == "red\nblue"
    assert "Second:" in parts.constant


def test_what_the_data_repeats_is_no_template() -> None:
    templates = Templates()
    openings = ["How do I", "What is the", "Why does my", "Where can I"]
    texts = [f"{openings[n % 4]} {text}" for n, text in enumerate(fields(200, 8))]
    templates.learn(texts)
    assert templates.split(texts[0]) == ("", texts[0], -1)


def test_a_few_prompts_teach_nothing() -> None:
    templates = Templates()
    templates.learn(["Classify: a b", "Classify: c d"])
    assert templates.split("Classify: e f").template == -1


def test_a_later_chunk_adds_its_template() -> None:
    templates = Templates()
    templates.learn(f"Classify: {text}" for text in fields(30, 9))
    templates.learn(f"Summarise the text.\n{text}" for text in fields(30, 10))
    assert templates.split("Summarise the text.\nsome thing").field == "some thing"
    assert templates.split("Classify: some thing").field == "some thing"


@pytest.mark.parametrize(
    ("shape", "beside"),
    [
        ('text = """{}"""\ncategory =', True),
        ("LANG=de\nSOURCE={}\n\nTARGET=", True),
        ('How would you put "{}"? Only that.', True),
        ('"{}" ==>', True),
        ("Article:\n{}\n\nSection:", False),
    ],
)
def test_the_place_of_the_field_is_told_where_words_stand_on_its_line(shape: str, beside: bool) -> None:
    """Quotation marks that touch the field belong to it."""
    texts = fields(60, 8)
    templates = Templates()
    templates.learn(shape.format(text) for text in texts)
    for text in texts:
        prompt = shape.format(text)
        place = templates.place(prompt)
        assert (place is not None) == beside
        if place:
            assert prompt[slice(*place)].strip().strip('"?') == text
