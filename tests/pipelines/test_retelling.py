"""One story in other words, for labels of what a text is about; and everything that only looks like it."""

from __future__ import annotations

import pytest

from pipelines.retelling import RARE_PAIRS, about, rare_pairs, retold

STORY = "Harbour workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials said on Friday."

pytestmark = pytest.mark.usefixtures("vocabulary")

TOLD = [
    "Officials said on Friday that harbour workers in Gdansk ended their strike after the union accepted a pay rise of 6 percent offered by the port.",
    "Harbour workers ended their strike in Gdansk when the union accepted a rise of 6 percent after long talks, officials said.",
]
OTHER = [
    "Harbour workers in Gdansk ended their strike after the union rejected a rise of 6 percent, officials said on Friday night in Sopot.",
    "Harbour workers in Gdansk ended their strike after the union accepted a rise of 8 percent, said port officials on late Friday.",
    "Harbour workers in Gdansk did not end their strike after the union accepted a rise of 6 percent, port officials said early on Friday.",
    "Harbour workers in Gdynia ended their strike after the union accepted a rise of 6 percent, port officials said early on Friday.",
    "Airport workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials said on Friday.",
    "Harbour pilots in Gdansk ended their blockade after the union accepted a rise of 6 percent, officials said on Friday.",
    "My harbour crew in Gdansk ended the strike after the union accepted a rise of 6 percent, I told officials on Friday.",
    "Harbour workers in Gdansk ended their wild strike after the large union accepted a rise of 6 percent, officials said on Friday.",
    "Harbour workers in Gdansk ended their long strike after the union quickly accepted a rise of 6 percent, city officials said on Friday.",
    "Workers in Gdansk ended their strike after the union accepted a mere rise of 6 percent, rail officials said on Friday.",
    "A strike of harbour workers.",
]


@pytest.mark.parametrize("text", TOLD)
def test_one_story(text: str) -> None:
    assert retold(STORY, text)
    assert retold(text, STORY)
    assert set(rare_pairs(STORY)) & set(rare_pairs(text)), "and it is proposed"


@pytest.mark.parametrize("text", OTHER)
def test_another_story(text: str) -> None:
    assert not retold(STORY, text)
    assert not retold(text, STORY)


def test_a_text_is_no_retelling_of_itself() -> None:
    assert not retold(STORY, STORY)
    assert not retold(STORY, STORY.replace("harbour", "harbor").upper())


def test_two_fillings_of_one_form_are_two_stories() -> None:
    form = "The {} of the old town hall in the northern district was {} by the council after a long public debate last spring."
    assert not retold(form.format("garden", "sold"), form.format("roof", "repaired"))
    assert not retold(form.format("garden", "sold"), form.format("small theatre", "finally closed"))


def test_short_texts_propose_nothing_and_long_ones_six_pairs() -> None:
    assert rare_pairs("The harbour strike ended.") == []
    assert len(rare_pairs(STORY)) == RARE_PAIRS


@pytest.mark.parametrize(
    ("task", "instruction", "expected"),
    [("closed", "Which topic is this text about?", True), ("closed", "Put the news item into a section: World, Sport.", True),
     ("closed", "What is the sentiment of this news item?", False), ("closed", "Is the review of this topic positive?", False),
     ("closed", "Which intent does the message express?", False), ("open", "Summarise the news.", False),
     ("strict", "Translate the headline.", False)],
)  # fmt: skip
def test_only_labels_of_what_a_text_is_about(task: str, instruction: str, expected: bool) -> None:
    assert about(task, instruction) is expected
