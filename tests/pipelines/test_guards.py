"""Every guard with its own pairs: what it must refuse, and what it must leave alone."""

from __future__ import annotations

import pytest

from pipelines import guards
from pipelines.guards import GUARDS, compare

REFUSED = [
    ("code", "if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
    ("code", '{"run": "print(No)"}', '{"run": "print(no)"}'),
    ("code", "Ticket AB-1001 is late", "Ticket AB-1010 is late"),
    ("code", "Upgrade to v1.3 now", "Upgrade to v1.13 now"),
    ("links", "Open https://a.io/x?id=1", "Open https://a.io/x?id=2"),
    ("links", "Write to bob@example.com", "Write to bob@example.org"),
    ("numbers", "It costs 20 in total", "It costs 25 in total"),
    ("numbers", "She has three cats", "She has thirteen cats"),
    ("numbers", "Convert 1.5 km", "Convert 15 km"),
    ("numbers", "Evaluate 10² for me", "Evaluate 102 for me"),
    ("dates", "We meet on Monday", "We meet on Tuesday"),
    ("dates", "Meeting at 9 am", "Meeting at 9 pm"),
    ("units", "Take 5 mg twice", "Take 5 g twice"),
    ("units", "It needs 5 mW", "It needs 5 MW"),
    ("units", "It is ten miles away", "It is ten kilometres away"),
    ("negation", "I can log in", "I can not log in"),
    ("negation", "Is it possible to cancel?", "Is it impossible to cancel?"),
    ("negation", "This tool is useful", "This tool is useless"),
    ("opposites", "How do I enable roaming?", "How do I disable roaming?"),
    ("pronouns", "Did he pay the bill?", "Did she pay the bill?"),
    ("pronouns", "My brother called", "My sister called"),
    ("quantifiers", "All users can log in", "Some users can log in"),
    ("comparatives", "Which one is faster?", "Which one is slower?"),
    ("directions", "Flights to Rome", "Flights from Rome"),
    ("symbols", "What is 3 + 4?", "What is 3 * 4?"),
    ("symbols", "I loved it 🙂", "I loved it 🙁"),
    ("symbols", "Price: $20", "Price: €20"),
    ("symbols", "Great film", "Great film?"),
    ("order", "Does Anna love Boris?", "Does Boris love Anna?"),
    ("names", "Where is the office in Oslo?", "Where is the office in Lima?"),
]

LEFT_ALONE = [
    ("numbers", "Population was 1,500", "Population was 1500"),
    ("negation", "I do not know", "I don't know"),
    ("symbols", "How are you?", "how are you"),
    ("order", "a red car", "a red bus"),
    ("code", "def f(x):\n    return x+1\n", "def f(x):\r\n    return x+1\r\n"),
    ("dates", "See you on Monday.", "see you on monday"),
]


@pytest.mark.parametrize(("name", "a", "b"), REFUSED)
def test_refuses(name: str, a: str, b: str) -> None:
    guard = getattr(guards, name)
    assert guard(*compare(a, b)) is not None
    assert guard(*compare(b, a)) is not None


@pytest.mark.parametrize(("name", "a", "b"), LEFT_ALONE)
def test_leaves_alone(name: str, a: str, b: str) -> None:
    assert getattr(guards, name)(*compare(a, b)) is None


def test_every_guard_has_a_pair() -> None:
    assert {guard.__name__ for guard in GUARDS} == {name for name, _, _ in REFUSED}


@pytest.mark.parametrize("guard", GUARDS)
def test_no_guard_objects_to_a_text_itself(guard: guards.Guard) -> None:
    text = "No, 3 of my 20 € orders (AB-12) from Oslo are late; see https://a.io 🙂"
    assert guard(*compare(text, text)) is None
