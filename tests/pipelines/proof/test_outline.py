"""Outlines: whatever a proof may accept shares one, and most texts share none."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dedup import CLOSED, OPEN, decide, outline_keys, skeleton_key
from pipelines.proof.outline import OUTLINES, outlines
from tests.pipelines.proof import test_moves, test_wording

pytestmark = pytest.mark.usefixtures("vocabulary")


def alike(a: str, b: str) -> bool:
    return bool({form for form in outlines(a) if form} & {form for form in outlines(b) if form})


VARIANTS = [
    ("How do I reset the thermostat of my boiler?", "how can you reset a thermostat of your boiler"),
    ("Which colour do the curtains in the hall have", "Which color do the curtains in the hall have"),
    ("Compare salt and pepper for me", "compare pepper and salt for me"),
    ("The thermostat will not start again", "The thermostt will not start again"),
    ("The garage door opened twice", "The egarage door opened twice"),
    ("The battery drains overnight", "The batteryy drains overnight"),
    ("Where is the nearest charging station", "Where is the nearest charging statio"),
    ("Please tell me what the warranty covers", "tell me what the warranty covers, thanks"),
    ("What are some museums in Turin?", "What are museums in Turin?"),
    ("Good afternoon, the battery drains overnight", "Good aftwernoon, the battery drains overnight"),
    ("The battery drains overnight. Yours sincerely", "The battery drains overnight. Yours sincdrely"),
]
NEAR_MISSES = [
    ("The boiler in room 12 leaks badly", "The boiler in room 13 leaks badly"),
    ("The technician did come on Friday", "The technician did not come on Friday"),
]
STRANGERS = [
    ("The boiler in the kitchen leaks badly", "When does the museum in Turin open"),
    ("Cancel the subscription for the magazine", "Renew the insurance of the motorbike"),
]


@pytest.mark.parametrize(("a", "b"), VARIANTS)
def test_variants_share_an_outline(a: str, b: str) -> None:
    assert alike(a, b)


@pytest.mark.parametrize(("a", "b"), [pair[:2] for pair in (*test_moves.SAME, *test_wording.SAME)])
def test_what_the_rules_accept_is_proposed(a: str, b: str) -> None:
    assert alike(a, b) or skeleton_key(b"f", a) == skeleton_key(b"f", b)


@pytest.mark.parametrize(("a", "b"), NEAR_MISSES)
def test_near_misses_are_looked_at(a: str, b: str) -> None:
    assert alike(a, b)


@pytest.mark.parametrize(("a", "b"), STRANGERS)
def test_strangers_share_none(a: str, b: str) -> None:
    assert not alike(a, b)


def test_a_text_without_weight_has_no_outline() -> None:
    assert outline_keys(b"family", "please, the ...") == bytes(8 * OUTLINES)


WORDS = [
    "boiler",
    "heating",
    "kitchen",
    "leaks",
    "water",
    "pressure",
    "valve",
    "morning",
    "technician",
    "warranty",
    "invoice",
    "Turin",
    "12",
    "not",
]


@given(st.lists(st.sampled_from(WORDS), min_size=4, max_size=14), st.integers(0, 60), st.sampled_from("aeioursn"))
def test_no_slip_that_a_proof_accepts_is_missed(words: list[str], place: int, letter: str) -> None:
    at = place % len(words)
    word = words[at]
    slips = {word[:n] + word[n + 1 :] for n in range(len(word))} | {
        word[:n] + letter + word[n:] for n in range(len(word) + 1)
    }
    slips |= {word[:n] + word[n + 1] + word[n] + word[n + 2 :] for n in range(len(word) - 1)}
    text = " ".join(words)
    for slip in slips - {word}:
        other = " ".join([*words[:at], slip, *words[at + 1 :]])
        if any(decide((text,), (other,), task).accept for task in (OPEN, CLOSED)):
            assert alike(text, other) or skeleton_key(b"f", text) == skeleton_key(b"f", other), (text, other)


def test_every_pair_of_a_family_is_told_apart_by_its_family() -> None:
    keys = [outline_keys(family, "the boiler leaks water") for family in (b"a", b"b", b"c")]
    assert all(not set(_cut(one)) & set(_cut(two)) for one, two in combinations(keys, 2))


def _cut(keys: bytes) -> list[bytes]:
    return [keys[n : n + 8] for n in range(0, len(keys), 8)]
