"""One story in other words, for labels of what a text is about; and everything that only looks like it."""

from __future__ import annotations

import pytest

from pipelines.proof.retelling import RARE_PAIRS, about, rare_pairs, retold

STORY = "Harbour workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials said on Friday."

pytestmark = pytest.mark.usefixtures("vocabulary")

TOLD = [
    "Officials said on Friday that harbour workers in Gdansk ended their strike after the union accepted a pay rise of 6 percent offered by the port.",
    "Harbour workers ended their strike in Gdansk when the union accepted a rise of 6 percent after long talks, officials said.",
    "Harbour workers in Gdansk are ending their strike: the union leader accepted 6 percent more pay, officials said late on Friday.",
    "In Gdansk, a strike that closed the harbour ended on Friday after dockers were offered a rise of 6 percent.",
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
    "Until recently, harbour workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials said on Friday at last.",
    "If harbour workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials only said on Friday by post.",
    "Harbour workers in Gdansk end their strike after the union accepted a rise of 6 percent, officials said on Friday, but only until Sunday morning.",
    "It was never printed: harbour workers in Gdansk ended their strike after the union accepted a rise of 6 percent, officials say on Friday.",
    "Harbour workers in Gdansk ended their strike after the airline cancelled its flights and passengers slept in the hall, officials said on Friday.",
    "Nurses in Gdansk ended their strike after the mayor accepted a rise of 6 percent, doctors said on Friday.",
    "In Gdansk, a strike that closed the harbour ended on Friday before dockers were offered a rise of 6 percent.",
    "On Friday a strike in the harbour of Sopot ended, officials said, when workers were offered a rise of 6 percent.",
    "A strike of harbour workers.",
]


@pytest.mark.parametrize("text", TOLD)
def test_one_story(text: str) -> None:
    assert retold(STORY, text)
    assert retold(text, STORY)
    assert set(rare_pairs(STORY)) & set(rare_pairs(text)), "and it is proposed"


@pytest.mark.parametrize(
    ("one", "another"),
    [("However, Marion Fell, the spokeswoman of the museum in Aarhus, said shortly after the theft that the painting had been insured since May.",
      "However, the spokeswoman of the museum in Aarhus, said that the painting had been insured since May."),
     ("Ferry passengers were held on Sunday in the harbour of Trelleborg after divers found a grenade from the last war.",
      "Ferry passengers remained in the harbour of Trelleborg on Sunday after divers found a grenade from the last war."),
     ('"I think the team has some chances, some small chances, in October and possibly in Lahti," the ski jumper told reporters.',
      '"The team has some small chances in October and maybe in Lahti," the ski jumper Aaltonen told reporters calmly.')],
)  # fmt: skip
def test_who_says_more_or_says_it_elsewhere_tells_the_same(one: str, another: str) -> None:
    assert retold(one, another)
    assert retold(another, one)


@pytest.mark.parametrize("text", OTHER)
def test_another_story(text: str) -> None:
    assert not retold(STORY, text)
    assert not retold(text, STORY)


@pytest.mark.parametrize(
    ("one", "another"),
    [("Brightside Rovers lost 3-0 to Harwick at Mill Lane on Saturday and slipped to sixth place.",
      "Brightside Rovers shares slipped on Saturday after the club lost 3-0 to Harwick at Mill Lane."),
     ("The rocket firm Nordlys launched 22 probes for its Polar network from Kiruna on Thursday night.",
      "The rocket firm Nordlys raised the price of its Polar network on Thursday night, hours after 22 probes left from Kiruna."),
     ("The Delta chain closed 40 shops in Ohio in May, its first cut in ten years, after a fire at its depot.",
      "A court told the Delta chain to pay for the 40 shops in Ohio that it closed in May, its first cut in ten years.")],
)  # fmt: skip
def test_another_side_of_a_story_is_another_topic(one: str, another: str) -> None:
    assert not retold(one, another)
    assert not retold(another, one)


def test_who_speaks_of_himself_is_not_merely_quoted() -> None:
    said = "I have waited since Monday for the parcel from Lahti, and the courier says that the depot is closed."
    told = "Since Monday I have been waiting for a parcel from Lahti, and the courier says that the depot is closed for repairs."
    assert not retold(said, told)
    assert not retold(f'"{said}"', f'"{told}"')
    assert retold(said.replace("I have", "She has"), told.replace("I have", "she has"))


SHUT = "The airport was shut for hours after a drone was sighted."
JAILED = "The ex-mayor was given five years in prison by a Milan court for taking bribes."
ERUPTED = "A volcano erupted on the island of Reunion, but nobody was hurt."


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(SHUT, "A drone sighting closed the airport for several hours.", True),
     (SHUT, "A drone sighting opened the airport for several hours.", False),
     (SHUT.replace("after", "before"), "A drone sighting closed the airport for several hours.", False),
     (ERUPTED, "No one was injured when a volcano on Reunion island erupted.", True),
     (ERUPTED, "No one was injured when a volcano on Hawaii island erupted.", False),
     (SHUT[:-1] + " on Monday.", "On Friday a drone sighting closed the airport for several hours.", False),
     (JAILED, "A court in Milan sentenced the former mayor to five years for bribery.", True),
     (JAILED, "A court in South Milan sentenced the former mayor to five years for bribery.", False)],
)  # fmt: skip
def test_a_word_turned_around_or_another_name_makes_another_story(a: str, b: str, expected: bool) -> None:
    assert retold(a, b) is retold(b, a) is expected


def test_a_text_is_no_retelling_of_itself() -> None:
    assert not retold(STORY, STORY)
    assert not retold(STORY, STORY.replace("harbour", "harbor").upper())


def test_two_fillings_of_one_form_are_two_stories() -> None:
    form = "The {} of the old town hall in the northern district was {} by the council after a long public debate last spring."
    assert not retold(form.format("garden", "sold"), form.format("roof", "repaired"))
    assert not retold(form.format("garden", "sold"), form.format("small theatre", "finally closed"))


@pytest.mark.parametrize(
    ("one", "another"),
    [("the lawn mower leaks", "her winter coat was sent in the wrong size"),
     ("a coffee grinder stopped working", "the ceiling lamp in the hall arrived with a broken handle"),
     ("a folding table for six smells of smoke", "the blue kettle has lost its colour"),
     ("the lift has been out of order since March", "a rare painting was hung upside down"),
     ("two horses had escaped from a stable", "the library has not been heated")],
)  # fmt: skip
def test_fillings_of_several_words_are_two_stories_too(one: str, another: str) -> None:
    form = "The customer complained in the branch that {} and wants to know whether the warranty covers a replacement or a refund."
    assert not retold(form.format(one), form.format(another))
    assert not retold(form.format(another), form.format(one))


def test_two_edits_of_several_words_are_edits() -> None:
    text = "Newcastle goalkeeper Shay Given fouled the young striker inside the area at a crucial juncture of the Sunday encounter."
    assert not retold(text, text.replace("crucial juncture", "streets of Belgrade").replace("young", "tall and famous"))
    assert not retold(text, text.replace("inside the area", "at last").replace("goalkeeper", "keeper and captain"))


def test_short_texts_propose_nothing_and_long_ones_ten_pairs() -> None:
    assert rare_pairs("The harbour strike ended.") == []
    assert len(rare_pairs(STORY)) == RARE_PAIRS


@pytest.mark.parametrize(
    ("task", "instruction", "expected"),
    [("closed", 50 * "The news of this section have a topic, and a license. " + "\nIs the clause below in it? Answer YES or NO.", False),
     ("closed", "Which topic is this text about?", True), ("closed", "Put the news item into a section: World, Sport.", True),
     ("closed", "Which topic is this support message about?", False), ("closed", "Give the topic of the customer's e-mail.", False),
     ("closed", "What is the sentiment of this news item?", False), ("closed", "Is the review of this topic positive?", False),
     ("closed", "Which intent does the message express?", False), ("open", "Summarise the news.", False),
     ("strict", "Translate the headline.", False)],
)  # fmt: skip
def test_only_labels_of_what_a_text_is_about(task: str, instruction: str, expected: bool) -> None:
    assert about(task, instruction) is expected
