"""What is only courtesy beside a message, and what is the message."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, OPEN, STRICT, decide

pytestmark = pytest.mark.usefixtures("vocabulary")

SAME = [
    ("Hi team, my lamp is broken", "My lamp is broken"),
    ("Dear Sir or Madam, my lamp is broken", "Hello there! My lamp is broken"),
    ("Good morning, my lamp is broken", "My lamp is broken"),
    ("Dear support team,\n\nI broke my lamp", "I broke my lamp"),
    ("My lamp is broken. Thank you very much!", "My lamp is broken. Thanks in advance"),
    ("My lamp is broken Thanks", "My lamp is broken"),
    ("My lamp is broken. Kind regards", "My lamp is broken."),
    ("## Message\nHello, my lamp is broken\n\n## Team", "## Message\nmy lamp is broken\n\n## Team"),
    ("## Customer message\nHi team, my lamp is broken", "## Customer message\nMy lamp is broken"),
    ("Honestly, the lamp is broken", "The lamp is broken"),
    ("It came. To be honest, I hate the lamp", "It came. I hate the lamp"),
    ("<message>Hey, my lamp is broken</message>", "<message>My lamp is broken</message>"),
    ("Hello, is my lamp broken?", "Is my lamp broken?"),
    ("Hey guys, my lamp is broken", "My lamp is broken"),
    ("My lamp is broken, thank you", "My lamp is broken."),
    ("My lamp is broken. Thanks and best regards", "My lamp is broken"),
    ("Quick question: is my lamp broken?", "Is my lamp broken?"),
    ("Good morning, in my room a lamp is broken", "In my room a lamp is broken"),
    ("Sorry to bother you, my lamp is broken", "My lamp is broken"),
    ("ticket: my lamp is broken. Cheers =>", "ticket: my lamp is broken. =>"),
]
ONLY_OPEN = [
    ("My lamp is broken. Please advise.", "My lamp is broken."),
    ("My lamp is broken. Any help appreciated", "My lamp is broken."),
    ("Excuse me, my lamp is broken", "My lamp is broken"),
    ("So, is my lamp broken?", "Is my lamp broken?"),
    ("OK, is my lamp broken?", "Is my lamp broken?"),
    ("My lamp is broken. Pls help", "My lamp is broken"),
]
"""A label may be about them: who asks for help, or agrees."""
OTHER = [
    ('How do you say "cheers" here?', 'How do you say "sincerely" here?'),
    ('Can a mail end with "sincerely" now?', 'Can a mail end with "" now?'),
    ("How do I say, thank you, in Oslo?", "How do I say in Oslo?"),
    ("Are there thanks in it? It works, thank you.", "Are there thanks in it? It works."),
    ("Message: hi", "Message: thanks"),
    ("Message: good morning", "Message: good evening"),
    ("Honestly made lamps for all of us", "Made lamps for all of us"),
    ("He answered honestly the first time", "He answered the first time"),
    ("He had to be honest the next day", "He had the next day"),
    ("Thanks to the rain it broke", "To the rain it broke"),
    ("Good Morning Vietnam is on", "Vietnam is on"),
    ("She said hello to my lamp", "She said to my lamp"),
    ("I want to thank you", "I want"),
    ('How do you say "Hello" in Greek?', 'How do you say "Hi" in Greek?'),
    ('How do you say "Hello" in Greek?', "How do you say in Greek?"),
    ("Where is my Hello Fresh box?", "Where is my Fresh box?"),
    ("Who sang Good Morning first?", "Who sang first?"),
    ("# Who sang Hello first?", "# Who sang Hi first?"),
    ("Message: please help", "Message: thanks"),
    ("Message: please help", "Message: sorry to bother you"),
    ("She never says thank you", "She never says"),
    ("Please help me find my lamp", "Find my lamp"),
    ("He asked a quick question", "He asked"),
    ("No, thank you", "No"),
    ("Good day at work", "At work"),
    ("So is my lamp", "Is my lamp"),
    ("Well done with my lamp", "Done with my lamp"),
    ("Excuse me for my lamp", "For my lamp"),
    ("Well", "So"),
    ("I am just curious", "I am"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_courtesies_are_put_aside(a: str, b: str) -> None:
    for task in (CLOSED, OPEN):
        assert decide((a,), (b,), task) == decide((b,), (a,), task)
        assert decide((a,), (b,), task).reason == "politeness"
    assert not decide((a,), (b,), STRICT).accept


@pytest.mark.parametrize(("a", "b"), ONLY_OPEN)
def test_what_a_label_may_be_about_is_put_aside_elsewhere(a: str, b: str) -> None:
    assert decide((a,), (b,), OPEN).reason == "politeness"
    assert not decide((a,), (b,), CLOSED).accept


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_what_is_said_is_kept(a: str, b: str) -> None:
    assert not any(decide(*pair, task).accept for pair in (((a,), (b,)), ((b,), (a,))) for task in (CLOSED, OPEN))


@pytest.mark.usefixtures("vocabulary")
def test_a_slip_in_a_courtesy_is_one_too_and_another_word_is_none() -> None:
    assert decide(("Good aftrenoon, my lamp is broken",), ("My lamp is broken",), OPEN).reason == "politeness"
    assert not decide(("Good aftermath, my lamp is broken",), ("My lamp is broken",), OPEN).accept
    assert not decide(("Good aftrenoon, my lamp is broken",), ("Good mroning, my lamp is broken",), OPEN).accept
