"""A passage is read as prose where its template makes code of its line or quotes it, and is left alone where it may be a part of it."""

from __future__ import annotations

import pytest

from pipelines.proof.apart import apart

PASSAGE = "The council has closed the bridge until spring."
WIDE = "The  council  closed  the  bridge  in  Ulm  of  late."
ODD = "The  council closed the bridge in Ulm, which\nwas a hundred years old."


@pytest.mark.parametrize(
    ("before", "inside", "after", "form"),
    [
        ('text = """', PASSAGE, '"""\nlabel =', f'text =\n"""{PASSAGE}"""\n\nlabel ='),  # what quotes it goes with it
        ("text = ", f'"""{PASSAGE}"""', "\nlabel =", f'text =\n"""{PASSAGE}"""\n\nlabel ='),
        ("SOURCE=", PASSAGE, "\nTARGET=", f"SOURCE=\n{PASSAGE}\n\nTARGET="),
        ("", f'"{PASSAGE}"', " ==> GOOD", f'\n"{PASSAGE}"\n==> GOOD'),
        ("How would you put ", f'" {PASSAGE} "?', " Only that.", f'How would you put\n"{PASSAGE}"?\nOnly that.'),
        ("Say ", f"“{PASSAGE}”", " in Dutch.", f"Say\n“{PASSAGE}”\nin Dutch."),
        ("Names in\n```\n", PASSAGE, "\n```", f"Names in\n\n{PASSAGE}\n"),
        ("```text\n", PASSAGE, "\n```\nMood:", f"\n{PASSAGE}\n\nMood:"),
        ("```\n", ODD, "\n```\nNames:", f"\n{ODD}\n\nNames:"),
        ("```\n", WIDE, "\n```\nNames:", f"\n{WIDE}\n\nNames:"),
    ],
)
def test_a_passage_gets_lines_of_its_own(before: str, inside: str, after: str, form: str) -> None:
    text = before + inside + after
    assert apart(text, len(before), len(before) + len(inside)) == form


@pytest.mark.parametrize(
    ("before", "inside", "after"),
    [
        ("Classify: ", PASSAGE, ""),  # prose as it is
        ("Review:\n", f'"{PASSAGE}"', "\nLabel:"),  # on lines of its own already
        ("join them with ", '" - "', " please"),  # a short string is what the sentence is about
        ("x = ", "total = price * (1 + rate) if rate else price", ""),  # code
        ("x = ", "a short one", ""),
        ("```\n", "the cat  the dog\n  the sum of all of it", "\n```"),  # laid out
        ("```\n", "def the(cat):\n    return the_cat_and_more", "\n```"),
        ("```\n", f"{PASSAGE}\nThe mayor is glad.", "\n```"),  # a fence says that lines count
        ("```\n", f"{ODD}\n  of old and of new", "\n```"),
        ("```\n", "Anna  Oslo  the first of May  and in Bonn", "\n```"),  # columns
        ("```sh\n", "rm notes.txt of the old bridge and my pool", "\n```"),
        ("```\n", "# we close the bridge until the spring comes", "\n```"),
        ('s = "', f" {PASSAGE} ", '"\nprint(s)'),  # what runs sees each blank
        ("What is ", '"the council of Ulm" + "the bridge in Bonn "', " in Python?"),
        ("```\n", "INFO worker-7 started, 12 of 96 done", "\n```"),  # no sentence
    ],
)
def test_what_needs_no_other_place_keeps_its_own(before: str, inside: str, after: str) -> None:
    text = before + inside + after
    assert apart(text, len(before), len(before) + len(inside)) == text


@pytest.mark.parametrize("filler", [" ", "\n", "' ", '"'])
def test_long_texts_take_no_time(filler: str) -> None:
    """A pattern that looks again from each blank would take minutes."""
    text = f'say "x{filler * 200_000}x" now'
    assert len(apart(text, 5, len(text) - 5)) <= len(text) + 2
    around = f"Say{filler * 200_000}{PASSAGE}{filler * 200_000}```"
    start = around.index(PASSAGE)
    assert PASSAGE in apart(around, start, start + len(PASSAGE))
