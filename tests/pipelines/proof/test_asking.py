"""A question mark is needless where the words ask, and nowhere else."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, OPEN, canonical_key, decide

ASKING = [
    "When does the ferry leave",
    "Where can I park",
    "Do cats swim",
    "Don't you like tea",
    "Have you been to Oslo",
    "What is in the box",
    "Read this. Why is it red",
    "## Question\nWhich lake is deepest",
    "I have lost the key, what should I do",
    "The bus was late, is that normal",
    "If I move away, will my ticket still be valid",
    "It stopped at noon, what's wrong with it",
    "Are there two gates? Or am I at the wrong one",
    "Hello, where is the gate",
    "Yes, and can I bring a dog",
    "So what is the fare",
    "Has the train left",
    "the soup was cold\n\nIs the note above kind",
    "Is a dog allowed",
    "Hello, how late is it",
    "Hi there, is it open",
    "hey can you come",
    "Good morning, what is new",
    "Please, how do I pay",
    "It broke, what should I do",
    "I lost it; can I get a new one",
    "It is late, but does it rain",
    "In which city did it rain",
    "For what reason is it late",
]
STATING = [
    "When it rains, we stay",
    "Where we live it snows",
    "<review>when it came down to it, it broke</review><review>It fits",
    "Review:when it rains, we stay",
    "Do it again",
    "Do it",
    "Have fun",
    "Don't do it again",
    "Have a nice day",
    "What a day",
    "It came late",
    "It was I who came late",
    "I took it home. Would buy again",
    "Can be used without a plug",
    "Is great for children",
    "Was not what I wanted",
    "Does exactly what it says",
    "Has been repaired twice",
    "Didn't work at all",
    "He came too. So did I",
    "It works, which is nice",
    "It broke, what's more it burnt",
    "Call us, should you need help",
    "It is late, isn't it",
    "4 is a square",
    "The Sea Is in our hands",
    "I think that Will is late",
    "Hello there is a hole",
    "Hi all is well",
    "All is well",
    "Everyone can come",
    "It came, which is fine",
    "If it breaks, do it again",
    "He left and so can I",
    "The best part, is the view",
    "Please do it",
    "Please have a seat",
    "My Will is done",
    "In which case it rains",
    "So is my lamp",
    "So, my lamp is old",
    "In what follows it rains",
    "This is the town in which it rains",
    "I can swim, so can he",
    "Support is closed",
]


@pytest.mark.parametrize("text", ASKING)
def test_a_question_with_or_without_its_mark(text: str) -> None:
    for task in (CLOSED, OPEN):
        assert canonical_key(b"f", text + "?", task) == canonical_key(b"f", text, task) or "\n" in text
        assert decide((text + "?",), (text,), task).accept


@pytest.mark.parametrize("text", STATING)
def test_a_mark_makes_it_a_question(text: str) -> None:
    for task in (CLOSED, OPEN):
        assert canonical_key(b"f", text + "?", task) != canonical_key(b"f", text, task)
        assert not decide((text + "?",), (text + ".",), task).accept
