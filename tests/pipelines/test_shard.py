"""Every row form and every way a record can be wrong."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dialects.parameters import PARAMETERS, from_cell
from pipelines.shard import ID_MAX_CHARS, parse_record, system_text, user_text
from pipelines.types import BadRow, Row


def ok(record: dict[str, Any], prompt: str | None = None, used: frozenset[str] = frozenset()) -> Row:
    row = parse_record(7, record, prompt, used)
    assert isinstance(row, Row), row
    assert row.row == 7
    return row


def bad(record: dict[str, Any], prompt: str | None = None) -> BadRow:
    row = parse_record(7, record, prompt)
    assert isinstance(row, BadRow), row
    assert "\n" not in row.message
    return row


def said(text: str = "hello") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# -- forms -------------------------------------------------------------------------------------------------------------


def test_openai_batch_line() -> None:
    body = {"model": "m", "messages": said(), "temperature": 0, "top_k": 5, "stream": False, "metadata": {"a": "b"}}
    line = {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body, "team": "x"}
    row = ok(line)
    assert (row.custom_id, row.model) == ("r-1", "m")
    assert row.body == {"messages": said(), "temperature": 0, "top_k": 5}
    assert row.tags == {"team": "x", "metadata": {"a": "b"}}


def test_messages_row_moves_parameters_and_carries_the_rest() -> None:
    record = {
        "id": 12,
        "messages": said(),
        "model": "m",
        "max_tokens": 5,
        "stop": ["x"],
        "metadata": {"k": 1},
        "col": 3,
    }
    row = ok(record)
    assert (row.custom_id, row.model) == ("12", "m")
    assert row.body == {"messages": said(), "max_tokens": 5, "stop": ["x"]}
    assert row.tags == {"metadata": {"k": 1}, "col": 3}


def test_prompt_row_with_system() -> None:
    row = ok({"prompt": "question", "system": "be brief", "temperature": 0.5})
    assert row.custom_id is None
    assert row.body["messages"] == [{"role": "system", "content": "be brief"}, *said("question")]
    assert (user_text(row.body), system_text(row.body)) == ("question", "be brief")


def test_a_system_column_does_not_double_the_system_message() -> None:
    messages = [{"role": "system", "content": "own"}, *said()]
    assert ok({"messages": messages, "system": "column"}).body["messages"] == messages
    assert ok({"messages": said(), "system": "column"}).body["messages"][0]["content"] == "column"


def test_messages_win_over_prompt_and_both_over_body() -> None:
    row = ok({"messages": said(), "prompt": "carried", "body": "an e-mail"})
    assert row.body == {"messages": said()}
    assert row.tags == {"prompt": "carried", "body": "an e-mail"}
    assert ok({"prompt": "p", "body": {"messages": said()}}).body["messages"] == said("p")


def test_a_batch_line_whose_columns_hold_null_is_one() -> None:
    row = ok({"custom_id": "a", "body": {"messages": said()}, "messages": None, "prompt": None, "model": "outer"})
    assert row.body == {"messages": said()}
    assert row.model == "outer"


def test_template_columns_are_content_and_not_parameters() -> None:
    record = {"id": "a", "n": 0, "user": 17, "model": "X200", "temperature": 0.1, "review": "good"}
    row = ok(record, "Review of X200: good", frozenset({"n", "user", "model", "review", "id"}))
    assert row.body == {"messages": said("Review of X200: good"), "temperature": 0.1}
    assert row.model is None
    assert row.custom_id == "a"
    assert row.tags == {"id": "a", "n": 0, "user": 17, "model": "X200", "review": "good"}


def test_template_with_system_column() -> None:
    assert system_text(ok({"system": "s", "x": 1}, "asked").body) == "s"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"custom_id": "a", "id": "b"}, "a"),
        ({"custom_id": None, "id": "b"}, "b"),
        ({"custom_id": "", "id": "b"}, "b"),
        ({"id": 0}, "0"),
        ({}, None),
    ],
)
def test_custom_id(record: dict[str, Any], expected: str | None) -> None:
    assert ok({"prompt": "p", **record}).custom_id == expected


def test_an_id_that_is_not_the_custom_id_is_carried() -> None:
    assert ok({"prompt": "p", "custom_id": "a", "id": "b"}).tags == {"id": "b"}


def test_a_column_stream_that_holds_a_text_is_carried() -> None:
    """Labelled collections name their parts so; only a batch line's body is OpenAI's own."""
    row = ok({"prompt": "p", "stream": "sentiment"})
    assert (row.body, row.tags) == ({"messages": said("p")}, {"stream": "sentiment"})
    row = ok({"stream": "sentiment", "text": "t"}, prompt="p")
    assert (row.body, row.tags) == ({"messages": said("p")}, {"stream": "sentiment", "text": "t"})


def test_nulls_are_absent() -> None:
    row = ok({"prompt": "p", "model": None, "temperature": None, "stream": None, "tools": None, "note": None})
    assert row.body == {"messages": said("p")}
    assert row.tags == {}


def test_parts_and_tool_calls_are_accepted() -> None:
    parts = [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "u"}}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    messages = [{"role": "user", "content": parts}, call, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    row = ok({"messages": messages})
    assert row.body["messages"] == messages
    assert user_text(row.body) == "what is"


def test_an_image_alone_is_a_prompt() -> None:
    assert ok({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]})


# -- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "code", "named"),
    [
        ({}, "no_prompt", "--template"),
        ({"question": "x"}, "no_prompt", "question"),
        ({"prompt": None, "question": "x"}, "no_prompt", "`prompt` is null"),
        ({"body": "text"}, "no_prompt", "body"),
        ({"body": {"prompt": "x"}}, "no_prompt", "messages"),
        ({"body": {"messages": said()}, "url": "/v1/embeddings"}, "unsupported_url", "/v1/embeddings"),
        ({"body": {"messages": said()}, "url": "/v1/completions"}, "unsupported_url", "/v1/completions"),
        ({"body": {"messages": said()}, "method": "GET"}, "unsupported_method", "POST"),
        ({"prompt": 5}, "invalid_prompt", "prompt"),
        ({"prompt": ["a"]}, "invalid_prompt", "prompt"),
        ({"prompt": ""}, "empty_prompt", "no text"),
        ({"prompt": " \n\t"}, "empty_prompt", "no text"),
        ({"prompt": "", "system": "s"}, "empty_prompt", "no text"),
        ({"prompt": "p", "system": 3}, "invalid_system", "system"),
        ({"messages": "hi"}, "invalid_messages", "messages"),
        ({"messages": []}, "invalid_messages", "messages"),
        ({"messages": ["hi"]}, "invalid_messages", "messages[0]"),
        ({"messages": [{"content": "x"}]}, "invalid_messages", "messages[0].role"),
        ({"messages": [*said(), {"role": "robot", "content": "x"}]}, "invalid_messages", "messages[1].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "invalid_messages", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "invalid_messages", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid_messages", "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "invalid_messages", "content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "invalid_messages", "content[0].text"),
        ({"messages": [{"role": "assistant", "content": None}]}, "invalid_messages", "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "empty_prompt", "no text"),
        ({"messages": [{"role": "system", "content": "s"}, *said("")]}, "empty_prompt", "no text"),
        ({"prompt": "p", "stream": True}, "stream_unsupported", "stream"),
        ({"body": {"messages": said(), "stream": True}}, "stream_unsupported", "stream"),
        ({"prompt": "p", "stream": "yes"}, "invalid_parameter", "stream"),
        ({"prompt": "p", "stream": 1}, "invalid_parameter", "stream"),
        ({"body": {"messages": said(), "stream": "news"}}, "invalid_parameter", "stream"),
        ({"prompt": "p", "temperature": float("nan")}, "not_finite", "temperature"),
        ({"prompt": "p", "logit_bias": {"50": float("inf")}}, "not_finite", "logit_bias.50"),
        ({"prompt": "p", "score": float("nan")}, "not_finite", "score"),
        ({"prompt": "p", "metadata": {"a": [1, float("inf")]}}, "not_finite", "metadata.a[1]"),
        ({"messages": [{"role": "user", "content": "x", "w": float("nan")}]}, "not_finite", "messages[0].w"),
        ({"prompt": "p", "model": 4}, "invalid_model", "model"),
        ({"prompt": "p", "custom_id": 1.5}, "invalid_id", "custom_id"),
        ({"prompt": "p", "id": True}, "invalid_id", "id"),
        ({"prompt": "p", "id": "x" * (ID_MAX_CHARS + 1)}, "invalid_id", "512"),
    ],
)
def test_bad_records(record: dict[str, Any], code: str, named: str) -> None:
    row = bad(record)
    assert row.code == code
    assert named in row.message


BAD_PARAMETERS = [
    ("temperature", [-0.1, 2.1, "0.5", True, [1]]),
    ("top_p", [1.5, "x"]),
    ("max_tokens", [0, -1, 1.0, "5", True]),
    ("max_completion_tokens", [0, 2.5]),
    ("n", [0, 1.5, "2"]),
    ("seed", [1.5, "x", 1 << 64]),
    ("stop", [5, [1], {}]),
    ("tools", [{}, ["x"], "t"]),
    ("tool_choice", [1, []]),
    ("response_format", ["json", []]),
    ("logprobs", [1, "true"]),
    ("top_logprobs", [21, -1, 1.5]),
    ("presence_penalty", [3, "x"]),
    ("frequency_penalty", [-3]),
    ("logit_bias", [[1]]),
    ("parallel_tool_calls", ["x", 1]),
    ("reasoning_effort", [1]),
    ("user", [5]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_PARAMETERS for value in values])
def test_bad_parameters_are_named(name: str, value: Any) -> None:
    for record in ({"prompt": "p", name: value}, {"body": {"messages": said(), name: value}}):
        row = bad(record)
        assert row.code == "invalid_parameter"
        assert f"`{name}`" in row.message


def test_a_bad_row_keeps_id_and_tags() -> None:
    row = bad({"id": "a", "prompt": "", "team": "x"})
    assert (row.custom_id, row.tags) == ("a", {"team": "x"})
    assert bad({"id": "a", "prompt": "p", "score": float("nan")}).tags == {}


def test_nesting_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    assert bad({"prompt": "p", "extra": deep}).code == "too_deep"
    assert bad({"prompt": deep}).code == "invalid_prompt"
    assert bad({"messages": said(), "response_format": {"schema": deep}}).code == "too_deep"


def test_messages_about_huge_values_are_short() -> None:
    row = bad({"prompt": "p", "x" * 100_000: float("nan"), "id": "a"})
    assert len(row.message) <= 500
    assert len(bad({"prompt": "p", "temperature": "y" * 100_000}).message) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["id", "custom_id", "prompt", "messages", "body", "system", "model", "url", "x", *PARAMETERS])


@given(st.dictionaries(names, json_values, max_size=6))
def test_any_record_is_a_row_or_a_bad_row_and_can_be_written(record: dict[str, Any]) -> None:
    row = parse_record(0, record)
    assert len(row.custom_id or "") <= ID_MAX_CHARS
    json.dumps(row.tags, allow_nan=False)  # raises ValueError for what JSON has no number for
    if isinstance(row, Row):
        assert msgspec.json.decode(msgspec.json.encode(row.body)) == row.body


# -- cells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("temperature", "0.7", 0.7),
        ("temperature", "", None),
        ("temperature", "warm", "warm"),
        ("max_tokens", "100", 100),
        ("max_tokens", "100.0", 100),
        ("max_tokens", 100.0, 100),
        ("max_tokens", "1.5", 1.5),
        ("seed", "9007199254740993", 9007199254740993),
        ("logprobs", "True", True),
        ("messages", '[{"role": "user"}]', [{"role": "user"}]),
        ("messages", "[not json", "[not json"),
        ("messages", [{"role": "user", "content": "x", "name": None}], [{"role": "user", "content": "x"}]),
        ("stop", "END", "END"),
        ("tool_choice", "auto", "auto"),
        ("response_format", '{"type": "json_object"}', {"type": "json_object"}),
        ("id", " ", None),
    ],
)
def test_cells_of_tables(name: str, cell: Any, expected: Any) -> None:
    value = from_cell(name, cell)
    assert value == expected
    assert type(value) is type(expected)


def test_a_nan_cell_is_refused_by_name() -> None:
    assert bad({"prompt": "p", "temperature": from_cell("temperature", "NaN")}).code == "not_finite"
