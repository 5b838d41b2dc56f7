"""Phrases that are read as their common form, and those that must not be."""

from __future__ import annotations

import pytest

from pipelines.proof.phrases import common
from pipelines.proof.reading import tokens


def words(text: str) -> list[str]:
    return [token.norm for token in common([token for token in tokens(text) if token.kind != "soft"])]


pytestmark = pytest.mark.usefixtures("vocabulary")

SAME = [
    ("We meet in order to plan the trip", "We meet to plan the trip"),
    ("Closed on account of snow", "Closed because of snow"),
    ("The lights were off prior to dinner", "The lights were off before dinner"),
    ("whilst we wait", "while we wait"),
    ("Stay till noon", "Stay until noon"),
    ("Ask whether or not it fits", "Ask if it fits"),
    ("The e-mail came", "The email came"),
    ("A drop of 5%", "A drop of 5 per cent"),
    ("Our web site is slow", "Our website is slow"),
    ("My lap-top is slow", "My laptop is slow"),
    ("The Wi-Fi is slow", "The wifi is slow"),
    ("A non-stick pan", "A nonstick pan"),
    ("I gotta go, I wanna sleep", "I have to go, I want to sleep"),
    ("The television in the hall", "The TV in the hall"),
    ("Rules of the US treasury", "Rules of the U.S. treasury"),
    ("Seven of us came", "7 of us came"),
    ("Sixteen of ninety-nine came", "16 of 99 came"),
    ("Thirty two came", "32 came"),
    ("I'd be glad if he'd have it", "I would be glad if he would have it"),
    ("Fish w/o bones", "Fish without bones"),
    ("Back to to the the house", "Back to the house"),
    ("There is is a a shop in town", "There is a shop in town"),
    ("All ppl w/ a dog rly luv you, he said abt noon", "All people with a dog really love you, he said about noon"),
    ("Where is my my key", "Where is my key"),
    ("Fish w/ bones", "Fish with bones"),
    ("It costs 5 per day", "It costs 5 a day"),
    ("We meet each day", "We meet every day"),
    ("I'd like to pay, we would like to go", "I want to pay, we want to go"),
    ("I cannot login, nor checkout", "I cannot log in, nor check out"),
    ("My voice mail is full", "My voicemail is full"),
    ("It wont stop", "It will not stop"),
    ("My lamp wont start", "My lamp will not start"),
    ("In 80 words: is the TV on?", "In 80 words: is the television on?"),
    ("Reply with one word. Is the TV on?", "Reply with one word. Is the television on?"),
    (
        "What do you mean? He talked on and on about how old his house in the town was, and the TV broke",
        "What do you mean? He talked on and on about how old his house in the town was, and the television broke",
    ),
    ("rules of the us treasury", "Rules of the United States treasury"),
    ("Are there any shops from here to Rome", "Are any shops from here to Rome"),
    ("They deserve to have a dog", "They deserve a dog"),
    ("You should of told me", "You should have told me"),
    ("The Prime Minster of Ghana came", "The Prime Minister of Ghana came"),
    ("I like it alot", "I like it a lot"),
    ("Open even thuogh it rains", "Open although it rains"),
]
OTHER = [
    ("Tell us the rules", "Tell USA the rules"),
    ("Rules of the US treasury", "Rules of the UK treasury"),
    ("What does TV stand for?", "What does television stand for?"),
    ("Is whilst a word?", "Is while a word?"),
    ("What is the difference between while and whilst?", "What is the difference between while and while?"),
    ("How is two written?", "How is 2 written?"),
    ("I have two", "I have 3"),
    ("I re-sign today", "I resign today"),
    ("A multi purpose tool", "A multipurpose tool"),
    ("I have twenty-two", "I have 20 - 2"),
    ("I'd better go", "I would better go"),
    ("I'd liked it", "I would liked it"),
    ("Fish w/ bones", "Fish without bones"),
    ("It costs 5 per day", "It costs 5 per week"),
    ("I keep it on on my desk", "I keep it on my desk"),
    ("as is his wont to say", "as is his will not to say"),
    ("Would you like to go", "Do you want to go"),
    ("It costs 5 each day", "It costs 5 the other day"),
    ("We talked each day", "We talked to each other every day"),
    ("Songs of The The", "Songs of The"),
    ("AND and OR", "AND OR"),
    ("It is thought of of course", "It is thought of course"),
    ("Whatever is is right", "Whatever is right"),
    ("We left after dinner", "We left before dinner"),
    ("I work as well", "I work and"),
    ("The cop warns U.S. troops", "The cop warns us troops"),
    ("She sings as well as her sister", "She sings and her sister"),
    ("The money is due to me", "The money is because of me"),
    ("The money owing to me", "The money because of me"),
    ("Turn right now", "Turn now"),
    ("Call me whether or not it rains", "Call me if it rains"),
    ("Who are the key board members", "Who are the keyboard members"),
    ("Which apps such as Uber are free", "Which apps like Uber are free"),
    ("A flight by U.S. Airlines", "A flight by American Airlines"),
    ("I have to have a dog", "I have a dog"),
    ("What do I need to have done by noon", "What do I need done by noon"),
    ("We could of course come", "We could have course come"),
    ("The minster of Ulm is tall", "The minister of Ulm is tall"),
    ("It sings, as well as I do", "It sings, and I do"),
    ("There are any shops", "Any shops"),
    ("Even Thuogh of Oslo came", "Although of Oslo came"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_read_alike(a: str, b: str) -> None:
    assert words(a) == words(b)


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_read_apart(a: str, b: str) -> None:
    assert words(a) != words(b)


def test_a_phrase_keeps_the_start_of_its_sentence() -> None:
    found = common(tokens("It rained. In order to stay dry we left."))
    assert [token.norm for token in found if token.first] == ["it", "to"]
