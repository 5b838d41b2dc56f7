"""Tokens, loose forms and differences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reading import differences, loose, tokens

KINDS = [
    ("see https://a.io/x?y=1 now", ["word", "link", "word"]),
    ("mail bob@example.com", ["word", "link"]),
    ("order AB-1001 of 5", ["word", "id", "word", "number"]),
    ("at 9:30, 1,500 came", ["word", "number", "soft", "number", "word"]),
    ("well done :)", ["word", "word", "symbol"]),
    ("3 * 4", ["number", "symbol", "number"]),
    ("top-up", ["word", "symbol", "word"]),
    ("snake_case @ann #tag v1.2", ["id", "id", "id", "id"]),
]
LOOSE = [
    ("I can't say", "i can not say"),
    ("film 's end", "film's end"),
    ("does n't", "doesn't"),
    ("dont go", "do not go"),
    ("Where is it?", "where is it"),
    ("Where is it??", "where is it?"),
    ("Population 1,500.", "population 1500"),
    ('He said "go"!', "he said go"),
    ("yes , it is .", "yes, it is."),
    ("it was in 1998 .", "it was in 1998"),
]
NOT_LOOSE = [
    ("fine", "fine?"),
    ("5 - 3", "5 : 3"),
    ("5 - 3", "5 3"),
    ("-5", "5"),
    ("1.5", "15"),
    ("nice :)", "nice :("),
    ("a 'b' = 1", "a b = '1'"),
    ("wont", "will not"),
    ("C#", "C"),
]


@pytest.mark.parametrize(("text", "kinds"), KINDS)
def test_kinds(text: str, kinds: list[str]) -> None:
    assert [token.kind for token in tokens(text)] == kinds


@pytest.mark.parametrize(("a", "b"), LOOSE)
def test_loose_forms_are_equal(a: str, b: str) -> None:
    assert loose(a) == loose(b)


@pytest.mark.parametrize(("a", "b"), NOT_LOOSE)
def test_loose_forms_are_not(a: str, b: str) -> None:
    assert loose(a) != loose(b)


@pytest.mark.parametrize(("a", "b"), LOOSE)
def test_the_key_and_the_comparison_agree(a: str, b: str) -> None:
    left, right = ([t.norm for t in tokens(text) if t.kind != "soft"] for text in (a, b))
    assert left == right


def test_a_sentence_begins_after_its_marks() -> None:
    assert [token.raw for token in tokens("Task: Go. Now") if token.first] == ["Task", "Go", "Now"]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_differences_rebuild_the_other_list(a: list[str], b: list[str]) -> None:
    built, at = [], 0
    for span in differences(a, b):
        built += a[at : span.a0] + b[span.b0 : span.b1]
        at = span.a1
    assert built + a[at:] == b
