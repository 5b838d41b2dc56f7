"""Instructions that ask for a text in another form, in words that no table of tasks can hold, beside those that ask for an answer."""

from __future__ import annotations

import pytest

from pipelines.proof.instruction import CLOSED, EXTRACT, LITERAL, OPEN, STRICT, VERBATIM, infer_task, read_task

REWORKING = [
    "Make this sound friendlier:",
    "Shorter, please:",
    "In the passive:",
    "Past tense, please:",
    "Say the same thing, but nicely.",
    "Tone it down a bit:",
    "How would a judge put this?",
    "Piratify this:",
    "Lay this out as a label for a parcel.",
    "Swap the subject and the object.",
    "Could you tidy up this paragraph?",
    "Give this a more formal tone.",
    "Change all the verbs to the present tense.",
    "Turn the statement into a question.",
    "Turn the direct speech into reported speech.",
    "Remove the filler words.",
    "Replace every name by a letter, leave the rest untouched.",
    "Mask bad words. Leave everything else as it is.",
    "Redraft it in favour of the other side. Change as few words as possible.",
    "Spell it backwards:",
    "Reverse the order of the words.",
    "Put these lines in alphabetical order.",
    "Set this in title case:",
    "UPPERCASE:",
    "What are the initials?",
    "Write out all numbers as words:",
    "Convert the recipe to metric units.",
    "Add the missing commas.",
    "Clean up the errors of the scan:",
    "Which words are misspelled?",
    "I need this shortened to 100 characters.",
    "Could I see this translated?",
    "Retell it from the dog's point of view.",
    "Encode it in Base64.",
    "What does the last line say?",
    "Classify the text as news or mail. Also copy its first five words.",
    "First answer the question, then repeat it word for word.",
    "Complete the gap and return the full sentence.",
    "Answer the customer, and fix the sentence.",
    "What is this in Dutch?",
    "What does this say in English?",
    "I'd love to see this in Italian:",
    "And in Swedish?",
    "How do the Japanese say this?",
    "Give me the Finnish.",
    "The client reads Polish only. Make this readable for her:",
    "Give three different French renderings:",
    "Sag es in einfacher Sprache:",
    "Schreib das in Leichter Sprache um:",
    "Come si dice in italiano?",
    "Mach daraus einen Titel:",
    "Label each word with its part of speech.",
    "Classify every sentence as fact or opinion.",
    "Is the review positive or negative? Give the phrase that shows it.",
    "Decide whether the claim is true, with a supporting quote from the text.",
    "Which tense is used in the sentence?",
    "What is different between these two sentences?",
    "Which of the two is better English?",
    "Give a synonym for each adjective in it.",
    "Suggest a correction.",
    "Label the review as good or bad. The last sentence often decides. Then give the sentence that decided.",
    "Below you find an advert written for men. Neutralise the gender.",
    "Given a sentence, produce its negation.",
    "Given an English sentence, produce a natural sounding German one.",
    "You are an interpreter between English and Turkish.",
    "What is the plural?",
    "Any mistakes?",
    "Is my sentence right?",
    "Find a more elegant way to say it.",
    "Could a child read this? If not, rework it.",
    "Read it like a judge would and write down what you say:",
    "As a question to the reader:",
    "en -> nl |",
    "Without the first three words, please.",
    "Pick the words that carry the sentiment.",
    "Classify the text; if it is positive, repeat it.",
    "Write the category, a tab, and the text.",
    "One word: the plural of",
    "Aspect terms and their polarity:",
    "Is this a complete sentence? yes or no",
    "Does the sentence end with a question mark? yes/no",
    "Is this valid JSON? Answer yes or no.",
    "Label: the sentence in other words.",
    "Score the similarity of the two strings.",
    "Spot the error:",
    "Create a title using only words of the text.",
    "State the title as printed.",
    "Pick the most important sentence.",
    "Reply by repeating what the customer ordered.",
    "You are a clerk of a bank. The past tense:",
    "You are the subtitler of a film.",
    "Please have a look at this and make it less wordy.",
    'Put the note into the form "WHO: WHAT".',
    "You help a hotel to print reviews. Smooth out the harsh wording but keep each fact.",
    "Squeeze the review into a tweet, with the writer's own words where you can:",
    "A list of things to do out of this, wording as in the note:",
    'The same review, but from "we" to "I":',
    "Source for LaTeX of this paragraph, escaping what must be escaped:",
    "<instruction>Wrap names in stars.</instruction>",
    "Draft an alternative clause that is a bit stricter:",
    "Give five other ways in which a customer could have put it:",
    "A line for the poster, taken from the review:",
    "Change dollars to euros in the text below.",
    "Come si dice in italiano?\n\nThe museum is open every day, and what do you think of that?",
    "What is it that you like the most?\n\nWie sagt man das auf Polnisch?",
    "Corrige el texto:",
]


@pytest.mark.parametrize("instruction", REWORKING)
def test_a_text_that_is_given_back_is_taken_by_its_letters(instruction: str) -> None:
    assert read_task(instruction) in LITERAL


ANSWERING = [
    ("What does this mean, in a single plain sentence?", OPEN),
    ("Explain in plain English what this means.", OPEN),
    ("Explain this to a child of five.", OPEN),
    ("Give it a score from 1 to 10.", CLOSED),
    ("Give it a title:", OPEN),
    ("Suggest three interview questions.", OPEN),
    ("Solve step by step:", OPEN),
    ("Write two sentences about it.", OPEN),
    ("Write a bedtime story with these animals. Make it short, and let it rhyme.", OPEN),
    ("Draft an answer to this customer. Keep it short, and add it to no list.", OPEN),
    ("Using the following text, answer the question.", OPEN),
    ("Given the following context, answer the question below.", OPEN),
    ("Read the text and answer it.", OPEN),
    ("Which word is missing? Answer with one word.", CLOSED),
    ("Sort this message into one of these categories: work, private.", CLOSED),
    ("Put the ticket into a category: billing, delivery.", CLOSED),
    ("Is this true or false?", CLOSED),
    ("Does it mention a refund?", OPEN),
    ("Grade the answer from 0 to 5 and say in one sentence why.", OPEN),
    ("How many people were hurt?", OPEN),
    ("Count the drivers of each town.", OPEN),
    ("Which answer is worse, A or B?", OPEN),
    ("What would you ask this customer before you can help?", OPEN),
    ("Name this animal.", OPEN),
    ("Is the review of the number mentioned above positive or negative?", CLOSED),
    ("tl;dr in a single sentence", OPEN),
    ("Classify the sentiment of the sentence.", CLOSED),
    ("Pick one word: yes or no.", CLOSED),
    ("Give a verdict of one line.", OPEN),
    (
        "Label the review as good or bad. The last sentence often decides. Some writers use slang and other words.",
        CLOSED,
    ),
    ("Label the review as good or bad. Ignore typos, and consider the negation of a word.", CLOSED),
    ("We sell shoes. Below is a question. Write an answer of at most 50 words.", OPEN),
    ("As a judge of a court, decide who is right.", OPEN),
    ("Compare it with a bus and name two reasons.", OPEN),
    ("What happens next in the story?", OPEN),
    ("In one sentence, explain who may object.", OPEN),
    ("You are a helpful assistant.", OPEN),
    ("You are a kind clerk of a bank.", OPEN),
    ("A slogan for this, please:", OPEN),
    ("Should we invite this candidate? Answer invite or reject, with one reason.", OPEN),
]


@pytest.mark.parametrize(("instruction", "task"), ANSWERING)
def test_an_answer_of_ones_own_is_no_text_given_back(instruction: str, task: str) -> None:
    assert read_task(instruction) == task


PARTS = [
    ("People named below, one per line:", EXTRACT),
    ("Companies in this text?", EXTRACT),
    ("Which persons and which places occur? List them.", EXTRACT),
    ("Tell me the firms that this mentions:", EXTRACT),
    ("What numbers, amounts and dates are in here?", EXTRACT),
    ("Names only:", EXTRACT),
    ("Find all names and return them as valid JSON.", EXTRACT),
    ("Name the people in the text.", EXTRACT),
    ("Give me each date and time in it.", STRICT),
    ("How many words?", VERBATIM),
    ("If it is wrong, correct it; else repeat it word for word.", STRICT),
]


@pytest.mark.parametrize(("instruction", "task"), PARTS)
def test_parts_of_a_text_are_taken_out_of_it(instruction: str, task: str) -> None:
    assert read_task(instruction) == task


BESIDE = [
    ("Answer in English.", "Make this more formal: give me a call", STRICT),
    ("Answer in English.", "They want to make it more formal.", OPEN),
    ("Answer in English.", "How many pieces should he give each house?", OPEN),
    ("Thank you for your help!", "Replace all names in it", STRICT),
    ("Draft a reply to this customer.", "Please change it, my name is wrong.", OPEN),
    ("Classify the sentiment of the review.", "Make it louder and turn this off.", CLOSED),
]


@pytest.mark.parametrize(("instruction", "rest", "task"), BESIDE)
def test_an_order_beside_an_instruction_that_says_little_is_the_instruction(
    instruction: str, rest: str, task: str
) -> None:
    assert infer_task(instruction, rest) == task


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["how do ", "make it, and then ", "please ", "this a in ", "-", "\n", "it"])
def test_a_long_text_of_the_same_beginnings_is_read_in_time(piece: str) -> None:
    assert infer_task(piece * 100_000)
