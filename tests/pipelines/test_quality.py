from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quality import SchemaError, check, compile_schema

LABELS = ("billing", "Technical issue", "N/A")
TICKET = {
    "type": "object",
    "properties": {"label": {"enum": ["billing", "technical"]}, "score": {"type": "integer", "minimum": 0}},
    "required": ["label"],
    "additionalProperties": False,
}


def validator(schema: Any = None) -> Any:
    return compile_schema(json.dumps(schema or TICKET))


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "label"),
        [
            ("billing", "billing"),
            (" Billing.\n", "billing"),
            ('"billing"', "billing"),
            ("'BILLING'!", "billing"),
            ("**billing**", "billing"),
            ("`billing`", "billing"),
            ("“billing”", "billing"),
            (
                "<think>Is it billing, or n/a? I say:\n```\nbilling\n```</think>\n\nN/A",
                "N/A",
            ),  # a server that leaves thoughts in
            ("It may be billing.\n</think>\n**n/a**", "N/A"),  # its template began the thought
            ("technical  issue", "Technical issue"),
            ("n/a", "N/A"),
            ('{"label": "billing"}', "billing"),
            ('{"category": "Technical Issue."}', "Technical issue"),
            ('```json\n{"label": "billing"}\n```', "billing"),
            ("```\nbilling\n```", "billing"),
        ],
    )
    def test_a_label_in_its_usual_clothes(self, text: str, label: str) -> None:
        checked = check(text, labels=LABELS)
        assert checked.ok
        assert json.loads(checked.parsed_json or "") == label

    @pytest.mark.parametrize(
        "text",
        [
            "The answer is billing",
            "billing or Technical issue",
            "not billing",
            "billin",
            "Label: billing",
            '{"label": "billing", "why": "x"}',
            '{"label": ["billing"]}',
            '{"label": null}',
            '{"label": "billing"',
            "[]",
            "```\nbilling\n```\n```\nN/A\n```",
            "...",
        ],
    )
    def test_anything_more_or_less_is_no_label(self, text: str) -> None:
        checked = check(text, labels=LABELS)
        assert not checked.ok
        assert checked.reason is not None
        assert "is none of the labels billing, Technical issue, N/A" in checked.reason

    def test_labels_that_differ_in_case_alone_are_told_apart(self) -> None:
        labels = ("us", "US")
        assert check("us", labels=labels).parsed_json == '"us"'
        assert check("US", labels=labels).parsed_json == '"US"'
        assert not check("Us", labels=labels).ok

    @pytest.mark.parametrize(("text", "label"), [("3", "3"), ('{"rating": 3}', "3"), ('{"spam": true}', "true")])
    def test_numbers_and_booleans_may_be_labels(self, text: str, label: str) -> None:
        assert check(text, labels=("3", "true", "-3")).parsed_json == json.dumps(label)

    def test_a_sign_is_part_of_a_label(self) -> None:
        assert check("-1", labels=("1", "-1")).parsed_json == '"-1"'
        assert check("C++", labels=("C", "C++")).parsed_json == '"C++"'

    def test_labels_win_over_a_schema(self) -> None:
        assert check("billing", labels=LABELS, schema=validator()).ok


class TestSchema:
    @pytest.mark.parametrize(
        "text",
        [
            '{"label": "billing"}',
            '\n {"label":"technical","score":3} ',
            '```json\n{"label": "billing"}\n```',
            '```\n{"label": "billing"}```',
            'Here it is:\n```JSON\r\n{"label": "billing"}\r\n```\nGood luck!',
        ],
    )
    def test_json_alone_or_in_one_fence(self, text: str) -> None:
        checked = check(text, schema=validator())
        assert checked.ok
        assert json.loads(checked.parsed_json or "")["label"] in ("billing", "technical")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("billing", "the answer is not JSON"),
            ('{"label": "billing"', "the answer is not JSON"),
            ('{"label": "billing"} {"label": "billing"}', "the answer is not JSON"),
            ('{"label": NaN}', "the answer is not JSON"),
            ('```json\n{"label": "billing"}\n```\n```json\n{"label": "technical"}\n```', "the answer is not JSON"),
            ('{"label": "other"}', "breaks the schema at /label"),
            ('{"score": 1}', '"label" is a required property'),
            ('{"label": "billing", "score": -1}', "at /score"),
            ('{"label": "billing", "more": 1}', "Additional properties"),
            ("[]", "breaks the schema"),
            ("[" * 100_000, "the answer is not JSON"),
        ],
    )
    def test_what_does_not_hold_is_named(self, text: str, reason: str) -> None:
        checked = check(text, schema=validator())
        assert not checked.ok
        assert reason in (checked.reason or "")

    def test_the_answer_is_kept_as_it_was_written(self) -> None:
        text = '{"n": 12345678901234567890123, "x": 1.10}'
        assert check(text, schema=validator({"type": "object"})).parsed_json == text

    def test_an_answer_of_absurd_size_is_not_parsed(self) -> None:
        assert "characters" in (check("[" + " " * (9 << 20) + "]", schema=validator({})).reason or "")

    def test_a_validator_that_gives_up_is_a_failed_check(self) -> None:
        class GivesUp:
            def is_valid(self, instance: Any) -> bool:
                raise ValueError("recursion limit reached")

            def iter_errors(self, instance: Any) -> Any:
                raise AssertionError

        assert "nested too deeply" in (check("{}", schema=GivesUp()).reason or "")

    def test_reasons_are_one_line_without_terminal_codes(self) -> None:
        reason = check('{"label": "\\u001b[31m\\n' + "x" * 5_000 + '"}', schema=validator()).reason or ""
        assert len(reason) < 400
        assert not any(ord(character) < 32 for character in reason)

    def test_a_cut_answer_says_so(self) -> None:
        assert "raise max_tokens" in (check('{"label": "bil', schema=validator(), finish="length").reason or "")
        assert "raise max_tokens" in (check("bill", labels=LABELS, finish="length").reason or "")


class TestNothingAsked:
    def test_any_text_will_do(self) -> None:
        assert check("anything").ok
        assert check("cut off in the mid", finish="length").ok

    @pytest.mark.parametrize("text", ["", " \n"])
    def test_but_no_text_will_not(self, text: str) -> None:
        assert check(text).reason == "the answer is empty"

    def test_a_tool_call_has_no_text(self) -> None:
        assert check("", labels=LABELS, finish="tool").ok


class TestCompileSchema:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "the schema is not JSON"),
            ("[1]", "the schema should be a JSON object"),
            ('{"type": "strng"}', "not a valid JSON Schema"),
            ('{"properties": {"a": {"pattern": "(("}}}', "not a valid JSON Schema"),
            ('{"$ref": "#/$defs/missing"}', "not a valid JSON Schema"),
            ("[" * 100_000, "the schema is not JSON"),
        ],
    )
    def test_a_broken_schema_is_one_line(self, text: str, message: str) -> None:
        with pytest.raises(SchemaError, match=f"^{message}") as caught:
            compile_schema(text)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "wrapped",
        [
            {"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": TICKET}},
            {"name": "ticket", "schema": TICKET},
            TICKET,
        ],
    )
    def test_openais_wrapping_is_taken_off(self, wrapped: dict[str, Any]) -> None:
        schema = validator(wrapped)
        assert check('{"label": "billing"}', schema=schema).ok
        assert not check('{"label": "x"}', schema=schema).ok

    def test_a_property_named_schema_is_no_wrapping(self) -> None:
        schema = validator({"type": "object", "schema": {"type": "string"}})
        assert check("{}", schema=schema).ok

    def test_references_inside_the_schema_work(self) -> None:
        schema = validator({"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}})
        assert check("3", schema=schema).ok
        assert not check('"3"', schema=schema).ok

    def test_a_schema_reads_neither_files_nor_addresses(self, tmp_path: Path) -> None:
        asked: list[str] = []

        class Listener(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None: ...

        other = tmp_path / "other.json"
        other.write_text("{}")
        with HTTPServer(("127.0.0.1", 0), Listener) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                for uri in (f"http://127.0.0.1:{server.server_port}/x.json", other.as_uri()):
                    with pytest.raises(SchemaError, match=r"put that part under \$defs"):
                        compile_schema(json.dumps({"$ref": uri}))
            finally:
                server.shutdown()
                thread.join()
        assert asked == []

    def test_a_recursive_schema_and_a_deep_answer_do_no_harm(self) -> None:
        schema = validator({"type": "object", "additionalProperties": {"$ref": "#"}})
        assert not check('{"a":' * 5_000 + "1" + "}" * 5_000, schema=schema).ok
        assert check('{"a":' * 20 + "{}" + "}" * 20, schema=schema).ok


@given(st.text(max_size=100))
def test_no_answer_breaks_a_check(text: str) -> None:
    for asked in ({"labels": LABELS}, {"schema": validator()}, {}):
        checked = check(text, **asked)
        assert checked.ok == (checked.reason is None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_every_json_is_accepted_by_the_schema_that_asks_nothing(value: Any) -> None:
    checked = check(json.dumps(value), schema=compile_schema("{}"))
    assert checked.ok
    assert json.loads(checked.parsed_json or "") == value
