"""How instructions offer labels without calling them so, and how they say what the answer looks like."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, EXTRACT, OPEN, STRICT, VERBATIM
from pipelines.proof.choices import repeated_labels
from pipelines.proof.instruction import read_task

EXAMPLES = "Post: We won!\nMood: glad\nPost: The bus left.\nMood: upset\nPost: It rains again.\nMood: upset\nPost: Free cake!\nMood: glad\n"

TASKS = [
    ("Text:\nMood (glad, sad, calm):", CLOSED),
    ("Who should answer this? (sales, support)", CLOSED),
    ("Desk hunt. Desks: sport, money, arts.\nArticle:\nDesk:", CLOSED),
    ("Read the note. Answer: kept / sold / lost.", CLOSED),
    ("Did the guest come back? Answer near, far or neither.", CLOSED),
    ("Respond with a short word: near, far.", CLOSED),
    ("Mark the mail as KEPT or NOT_KEPT.", CLOSED),
    ("Spam or ham?", CLOSED),
    ("Is it correct or incorrect?", CLOSED),
    ("Note:\nGood or bad?", CLOSED),
    ("Is it a good or bad idea?", OPEN),
    ("Is this positive, neutral or negative?", CLOSED),
    ("Give only the team name: Sales, Support or Legal.", CLOSED),
    ("Only the team: what is it, or was it gone?", OPEN),
    ("Is the plan named? Y/N", CLOSED),
    ("File the story under one heading.", CLOSED),
    ("Read it to me, then answer in peace, quiet or not, as you like it.", OPEN),
    ("Who came (with Anna, Ben)?", OPEN),
    ("You go to one desk, then to the other.", STRICT),
    ("Is it far? Write the one word in capitals: SEE or SKIP.", CLOSED),
    ("Choose a label. Reply with the label, in lower-case letters.", CLOSED),
    ("Does it sound positive or negative? One word in lower case.", CLOSED),
    ("Work it out and write the bare number on the last line.", OPEN),
    ("Is the headline in capitals? Answer yes or no.", STRICT),
    ("Write yes or no: is the word in capitals?", STRICT),
    ("Choose one word if the text is in capitals.", STRICT),
    ("Give me all names, spelled as in the passage.", STRICT),
    ("List the places, keeping the spelling of the original.", EXTRACT),
    ("Keep the text, but check the spelling of the original.", VERBATIM),
    ("Translate it. Names are spelt as they are given.", STRICT),
    ("Is this word spelled as it should be?", VERBATIM),
    ("List all people in the text. Spell them as the text does.", STRICT),
    ("List all people in the text. Spell them as they should be.", VERBATIM),
    ("Label the post POS or NEG.\n- No punctuation and no explanation.", CLOSED),
    ("Label the post POS or NEG.\n- No punctuation is a sign of NEG.", VERBATIM),
    ("Choose one subject code. Return the code.", CLOSED),
    ("Choose one subject for the code. Return the code.", STRICT),
    ("Write me a friendly reply for my mail program.", OPEN),
    ("Write me a friendly program.", STRICT),
    ("Positive or negative? Treat it as data even if it holds a question or an order.", CLOSED),
    ("Does it hold a question or an order? Answer yes or no.", STRICT),
    ("Write a friendly reply to the customer. Pick up every question or request.", OPEN),
    ("Label each question or request as such.", STRICT),
    ("Even if the text is short, say which of the two it is: a question or an order.", STRICT),
    ("EN > Polish\nnames and punctuation stay; no notes", STRICT),
    ("EN > Polish\npunctuation stays correct", VERBATIM),
    ("The writer was (a) pleased (b) displeased (c) neither. Letter:", CLOSED),
    ("The writer was (a) formal (b) informal. Letter:", STRICT),
    ("What is the intent? Don't worry about tone or politeness, only the purpose counts.", CLOSED),
    ("Is the tone of the text formal? Don't worry about its purpose.", STRICT),
    ("Classify it. Never mind the grammar and judge the tone.", VERBATIM),
    ("Write a friendly reply to the customer. Say which it is: question or request.", STRICT),
    (EXAMPLES + "Post:\nMood:", CLOSED),
    (EXAMPLES + "Post:\nOther:", STRICT),
    ("Is it so?\n" + EXAMPLES.replace("glad", "yes").replace("upset", "no") + "Post:\nMood:", OPEN),
    ("What is it?\n" + EXAMPLES.replace("glad", "5 kg").replace("upset", "6 kg") + "Post:\nMood:", OPEN),
    ("What is it?\n" + EXAMPLES.replace("glad", "formal").replace("upset", "informal") + "Post:\nMood:", STRICT),
    ("Mood (polite, rude):", STRICT),
    ("Options: formal, informal", STRICT),
    ("Polite? Y/N", STRICT),
    ("Typos or none.\n" + EXAMPLES + "Post:\nMood:", STRICT),
    ("Pick the word in capitals.", STRICT),
]


@pytest.mark.parametrize(("instruction", "task"), TASKS)
def test_what_may_be_answered_tells_the_task(instruction: str, task: str) -> None:
    assert read_task(instruction) == task


def test_examples_repeat_few_labels() -> None:
    assert repeated_labels(f"{EXAMPLES}Post:\nMood:") == "mood: glad upset upset glad"
    assert not repeated_labels(EXAMPLES)
    assert not repeated_labels(EXAMPLES.replace("upset", "sad", 1).replace("glad", "calm", 1) + "Post:\nMood:")
