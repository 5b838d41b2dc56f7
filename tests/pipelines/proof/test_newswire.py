"""One report as two papers print it, and everything that only looks like it."""

from __future__ import annotations

import pytest

from pipelines.proof.explain import read
from pipelines.proof.newswire import abbreviated, same_quotation, same_report
from pipelines.proof.retelling import rare_pairs, retold

pytestmark = pytest.mark.usefixtures("vocabulary")

REPORT = "Mr. Aalto's lawyer, Mia Lind, said that the board of the dairy in Lahti was not told of the sale."
QUOTED = '"The new ferry to Hanko will leave every hour from May on," said Ida Berg.'


@pytest.mark.parametrize(
    ("one", "another"),
    [("Before yesterday 19 boats had sunk, said Mia Lind, a spokeswoman for the harbour board.",
      "Before Sunday, 19 boats had sunk, according to Mia Lind of the harbour board."),
     ("The World Dairy Trade Union said on Monday that Finland had accepted its offer, but named no date.",
      "The WDTU said that Finland would accept the offer, although no date was named."),
     ("The rest of the islanders sold their boats in May or moved to the city.",
      "The rest of the islanders moved to the city or sold their boats in May."),
     (REPORT, "Aalto's lawyer, Mia Lind, said in an interview on Tuesday that the board of the dairy in Lahti wasn't told of the sale."),
     (REPORT, REPORT.replace("said that", "said late Tuesday that")),
     (REPORT, REPORT.replace("said that", "has said that")),
     ("The port warned that ferries may be late on Sunday.", "The port has warned that ferries may be late Sunday."),
     (QUOTED, '"The new ferry to Hanko will leave every hour from May on," she added in a statement.'),
     (QUOTED, 'Ida Berg said: "The new ferry to Hanko will leave every hour from May on."'),
     ("The shops of Lahti sell fruits such as figs, as well as herbs.", "The shops of Lahti sell fruits like figs, and herbs."),
     (QUOTED, 'The new ferry to Hanko will leave every hour from May on," she said.'),
     ('He added, "I am not thinking of a sale of the dairy at all."', 'I am not thinking of a sale of the dairy at all," Aalto said.')],
)  # fmt: skip
def test_one_report(one: str, another: str) -> None:
    assert retold(one, another)
    assert retold(another, one)
    assert set(rare_pairs(one)) & set(rare_pairs(another)), "and it is proposed"


@pytest.mark.parametrize(
    ("one", "another"),
    [(REPORT.replace("said that", "said on Monday that"), REPORT.replace("said that", "said on Friday that")),
     (REPORT.replace("said that", "said yesterday that"), REPORT.replace("said that", "said today that")),
     (REPORT, REPORT.replace("said that", "doubted that")),
     (REPORT, REPORT.replace("was not told", "was told")),
     (REPORT, REPORT.replace("said that", "said in a lawsuit that")),
     (QUOTED, QUOTED.replace("Ida Berg", "Ada Holm")),
     (QUOTED, QUOTED.replace("every hour", "every day")),
     (QUOTED, QUOTED.replace("said Ida", "never said Ida")),
     (QUOTED, QUOTED.replace("from May on", "from June on").replace("said Ida Berg", "she said")),
     ('"It is late," said Ida Berg of the ferry.', '"It is late," said the head of the dairy in Lahti.'),
     ('"Ten of us came by bus to Oslo," he said. "No one was there on time."', '"Ten of us came by bus to Oslo," he said. "All of us were there on time."'),
     ("The rest of the islanders sold their boats or moved to the city.",
      "The rest of the islanders moved their boats or sold to the city."),
     ("Mr Aalto was held in Turku for theft.", "Mrs Aalto was held in Turku for theft."),
     ("Miss England lost her crown on stage in Turku.", "England lost her crown on stage in Turku."),
     ("Dr Pepper sales fell in Turku in May.", "Pepper sales fell in Turku in May."),
     ("Green Day played in Turku to many fans.", "Green on Friday played in Turku to many fans."),
     ("The Today show on the radio has a new host.", "The Sunday show on the radio has a new host."),
     ("Ruby Tuesday sang to the end of the night.", "Ruby on Tuesday sang to the end of the night."),
     ("CIA opened a new branch in Turku in May.", "Culinary Institute of America opened a new branch in Turku in May."),
     ("Which U.S. Airlines planes fly to Turku now?", "Which American Airlines planes fly to Turku now?"),
     ('"We will speak of this as soon as we can," said Berg.', '"We will speak of this as soon as we can," said Berg after losing 3-0.'),
     ('"We are back to where we want to be," he said.', '"We are back to where we want to be," the Turku striker said.'),
     ('"We are back to where we want to be," said the spokesman.', '"We are back to where we want to be," said the Volvo spokesman.'),
     ('"Growth will be -5 % by the end of May," he said.', '"Growth will be 5 % by the end of May," said Berg.'),
     ('Shareholders said: "We are back to where we want to be."', 'They said: "We are back to where we want to be."'),
     ('Cricket: "We are back to where we want to be."', '"We are back to where we want to be."'),
     ("The lab of Turku grew 10 ^ 6 cells of yeast.", "The lab of Turku grew 10 6 cells of yeast."), ("", "^"),
     (REPORT, REPORT), (QUOTED, QUOTED.upper())],
)  # fmt: skip
def test_another_report(one: str, another: str) -> None:
    left, right = abbreviated(read(one), read(another)), abbreviated(read(another), read(one))
    assert not (same_report(left, right) or same_quotation(left, right))
    assert not (same_report(right, left) or same_quotation(right, left))


def test_two_writers_tell_two_stories() -> None:
    one = "I said on Monday that my shop in Lahti was sold to a bank of Turku."
    assert not retold(one, one.replace(" on Monday", ""))
    assert retold(
        one.replace("I", "Aalto").replace("my", "his"),
        one.replace("I", "Aalto").replace("my", "his").replace(" on Monday", ""),
    )


def test_the_adjective_of_a_country_is_one_word_in_stories_only() -> None:
    troops = read("But U.S. troops will stay in the north of the island.")
    assert "american" in abbreviated(troops, read("But American troops will stay.")).norms
    airlines = read("But U.S. Airlines will stay in the north of the island.")
    assert "american" not in abbreviated(airlines, read("But American Airlines will stay.")).norms
    assert "american" not in abbreviated(read("All South U.S. rivers are warm."), troops).norms
