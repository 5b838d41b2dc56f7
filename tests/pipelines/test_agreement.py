"""When two answers agree: as values where a program reads them, by their words where people do."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agreement import Answer, agreement
from pipelines.dialects.completions import calls

REASON = "The customer asks why the invoice of March was sent twice."


def judged(a: str, b: str, *parsed: str) -> tuple[bool, str]:
    said = Answer(a, *parsed[:1]), Answer(b, *parsed[1:])
    found = agreement(*said, labels=False)
    assert found is not None and found == agreement(*said[::-1], labels=False)
    return found.agrees, found.measure


@pytest.mark.parametrize(("b", "agrees"), [("red", True), ("blue", False)])
def test_labels_must_be_equal(b: str, agrees: bool) -> None:
    found = agreement(Answer("Red.", '"red"'), Answer(b, f'"{b}"'), labels=True)
    assert found == (agrees, "label", float(agrees))


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        ('{"b":1,"a":2}', '{"a": 2, "b": 1}', True),
        ('{"a": [1, 2.0]}', '```json\n{"a": [1.0, 2]}\n```', True),
        ('{"a": 1}', '<think>one or two</think>\n{"a": 1}', True),
        ("[1, 2]", "[2, 1]", False),
        ("[1, 2]", "[1]", False),
        ("[true]", "[1]", False),
        ("[null]", "[0]", False),
        ('{"a": 1}', '{"b": 1}', False),
        ('{"a": {}}', '{"a": []}', False),
        ('{"label": "refund", "urgent": false}', '{"label": "other", "urgent": true}', False),
        ('{"label": "Refund"}', '{"label": "refund"}', False),
        (f'{{"label": "billing", "why": "{REASON}"}}', f'{{"label": "refund", "why": "{REASON}"}}', False),
        (f'{{"why": "{REASON}"}}', f'{{"why": "{REASON.replace(" the ", " an ")[:-1]}"}}', True),
        (f'{{"why": "{REASON}"}}', f'{{"why": "{REASON.replace("twice", "never")}"}}', False),
        ('{"a": 1}', "It is one.", False),
        ('{"a": 1}', "", False),
        ("[" * 400 + "]" * 400, "[" * 400 + "[0]" + "]" * 400, False),
    ],
)
def test_json_is_compared_as_values(a: str, b: str, agrees: bool) -> None:
    assert judged(a, b) == (agrees, "json")
    assert judged(a, a) == (True, "json")


def test_what_a_schema_found_is_compared() -> None:
    assert judged("", "", '{"a": 1, "b": 2}', '{"b":2,"a":1}') == (True, "json")
    assert judged("", "", '{"a": 1}', '{"a": 2}') == (False, "json")
    assert judged("x", "y", '"one"', '"two"') == (False, "json")


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        ("positive", "Positive.", True),
        ("**Positive**", '"positive"', True),
        ("positive", "negative", False),
        ("Yes", "Yes.", True),
        ("Yes", "Yes, it is.", True),
        ("The sentiment of this review is positive.", "The sentiment of this review is negative.", False),
        ("The category of this ticket is billing.", "The category of this ticket is refund.", False),
        ("The sentiment of this review is positive.", "The sentiment of the review is positive", True),
        ("billing, refund", "billing, refund, technical", False),
        ("Yes, this item is covered by it.", "No, this item is not covered by it.", False),
        ("Das ist gut und gedeckt", "Das ist nicht gut und gedeckt", False),
        ("It isn't covered by the warranty.", "It is not covered by the warranty", True),
        ("This.", "That.", False),
        ("It costs 5 euros, all in.", "it costs 5 euros all in", True),
        ("It costs 5 euros, all in.", "It costs 6 euros, all in.", False),
        ("5", "-5", False),
        ("−5", "-5", True),
        ("from 3-5", "from 3–5", True),
        ("x > 5", "x < 5", False),
        ("C++", "C#", False),
        ("# Answer\n\nOslo", "Answer: Oslo", True),
        ("👍", "👎", False),
        ("👍", "👍", True),
        ("?", "!", False),
        ("?", " ? ", True),
        ("Oslo", "", False),
        ("Oslo", "...", False),
        ("正面", "负面", False),
        ("Yes, it is open.", "We do not know.", False),
        ("Anna owes Ben", "Ben owes Anna", False),
        ("<think>Hm, a city.</think>Oslo", "<think>The capital then.</think>Oslo.", True),
        ("<think>cut", "<think>cut", True),
    ],
)
def test_in_a_short_text_any_word_may_be_the_answer(a: str, b: str, agrees: bool) -> None:
    assert judged(a, b) == (agrees, "text")


LONG = (
    "I am sorry to hear that the parcel has not arrived. Please wait for two more days, and then write to us again with "
    "its number; in the end the request was accepted by our office in Oslo."
)


@pytest.mark.parametrize(
    ("old", "new", "agrees"),
    [
        ("sorry", "very sorry", True),
        ("our office", "the people", True),
        ("accepted", "rejected", False),
        ("was accepted", "was not accepted", False),
        ("number;", "number of 7 digits;", False),
        ("hear that the parcel has not arrived", "learn that your order is not there yet, which should never be so", False),
    ],
)  # fmt: skip
def test_a_long_text_may_be_worded_otherwise(old: str, new: str, agrees: bool) -> None:
    assert old in LONG
    assert judged(LONG, LONG.replace(old, new)) == (agrees, "text")


TEXTS = st.text(st.sampled_from("ab 1-.,?!'\"{}[]:\n"), max_size=40)


@given(TEXTS, TEXTS)
def test_it_does_not_matter_which_comes_first_and_what_is_equal_agrees(a: str, b: str) -> None:
    assert agreement(Answer(a), Answer(b), labels=False) == agreement(Answer(b), Answer(a), labels=False)
    same = agreement(Answer(a), Answer(a), labels=False)
    assert same is None if not a.strip() else same is not None and same.agrees


CALL = ("route", '{"team":"refund","urgent":true}')


@pytest.mark.parametrize(
    ("a", "b", "agrees"),
    [
        ([CALL], [("route", '{"urgent": true, "team": "refund"}')], True),
        ([CALL], [("route", '{"team":"billing","urgent":true}')], False),
        ([CALL], [("close", CALL[1])], False),
        ([CALL], [CALL, CALL], False),
        ([CALL], [], False),
        ([CALL, ("close", "")], [("close", "{}"), CALL], True),
        ([("close", "{")], [("close", "[")], False),
    ],
)
def test_tools_are_compared_by_name_and_arguments(
    a: list[tuple[str, str]], b: list[tuple[str, str]], agrees: bool
) -> None:
    assert agreement(Answer("", None, a), Answer("", None, b), labels=True) == (agrees, "tools", float(agrees))


def test_nothing_is_never_compared_with_nothing() -> None:
    assert agreement(Answer(""), Answer(" "), labels=False) is None
    assert agreement(Answer("", None, None), Answer("", None, [CALL]), labels=False) is None
    assert agreement(Answer("Yes"), Answer("Yes", None, None), labels=False) is None


ARGUMENTS = {"team": "refund"}
BODIES = [
    {"choices": [{"message": {"tool_calls": [{"function": {"name": "route", "arguments": '{"team":"refund"}'}}]}}]},
    {"choices": [{"message": {"function_call": {"name": "route", "arguments": '{"team":"refund"}'}}}]},
    {"type": "message", "content": [{"type": "tool_use", "name": "route", "input": ARGUMENTS}]},
    {"candidates": [{"content": {"parts": [{"functionCall": {"name": "route", "args": ARGUMENTS}}]}}]},
    {"done": True, "message": {"tool_calls": [{"function": {"name": "route", "arguments": ARGUMENTS}}]}},
]


@pytest.mark.parametrize("body", BODIES)
def test_calls_are_read_from_every_form_of_answer(body: object) -> None:
    assert calls(msgspec.json.encode(body).decode()) == [("route", '{"team":"refund"}')]


@pytest.mark.parametrize("text", [None, "", "[", '{"choices": []}', '{"choices": [{"message": 1}]}', '{"odd": 1}'])
def test_a_body_without_calls_has_none(text: str | None) -> None:
    assert calls(text) == []
