from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipelines import tokens
from pipelines.errors import StoreError
from pipelines.tokens import Encoding, count_chats, count_tokens, encoding_for

KNOWN: list[Encoding] = ["o200k_base", "cl100k_base"]


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("GPT-4o-Mini", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("openai/gpt-oss-20b:free", "o200k_base"),
        ("ft:gpt-4o-mini:org:name", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("qwen2.5-14b-instruct", "estimate"),
        ("claude-sonnet-4-5", "estimate"),
        ("meta-llama/Llama-3.3-70B-Instruct:together", "estimate"),
        ("text-davinci-003", "estimate"),
        ("", "estimate"),
    ],
)
def test_the_vocabulary_of_a_model(model: str, encoding: str) -> None:
    assert encoding_for(model) == encoding


# Counts that tiktoken gives with the vocabularies it downloads itself.
@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("The quick brown fox jumps over the lazy dog.", 10, 10),
        ("antidisestablishmentarianism", 6, 6),
        ("1234567890", 4, 4),
    ],
)
def test_published_counts(text: str, o200k: int, cl100k: int) -> None:
    assert count_tokens([text], "o200k_base") == [o200k]
    assert count_tokens([text], "cl100k_base") == [cl100k]


@pytest.mark.parametrize("encoding", KNOWN)
def test_markers_in_a_text_are_text(encoding: Encoding) -> None:
    (count,) = count_tokens(["<|endoftext|><|im_start|>"], encoding)
    assert count > 4


@pytest.mark.parametrize("encoding", [*KNOWN, "estimate"])
def test_each_text_is_counted_alone_and_in_order(encoding: Encoding) -> None:
    texts = ["one", "", "日本語", "a longer text than the others", "\ud800"]
    assert count_tokens(texts, encoding) == [count_tokens([text], encoding)[0] for text in texts]


@given(st.text(max_size=200))
def test_no_text_is_refused_and_none_has_more_tokens_than_bytes(text: str) -> None:
    for encoding in KNOWN:
        assert count_tokens([text], encoding)[0] <= len(text.encode())


@pytest.mark.parametrize("unit", ["a", " ", "\n", "日", "ab1 "])
def test_an_endless_line_is_counted_in_slices(unit: str) -> None:
    whole = unit * (120_000 // len(unit))
    (count,) = count_tokens([whole], "o200k_base")
    half = count_tokens([whole[: len(whole) // 2]], "o200k_base")[0]
    assert count == pytest.approx(2 * half, abs=6)


def test_the_estimate_is_bytes_over_a_constant_rounded_up() -> None:
    assert count_tokens(["a" * 360, "a" * 361, "é" * 18, ""], "estimate") == [100, 101, 10, 0]


def test_the_estimate_is_on_the_dear_side_of_english() -> None:
    text = "I was charged twice for my order and would like one of the payments back, please. " * 5
    (estimate,), (counted,) = count_tokens([text], "estimate"), count_tokens([text], "o200k_base")
    assert counted < estimate < 1.8 * counted


class TestChats:
    def test_each_message_and_the_reply_cost_three(self) -> None:
        body = {"messages": [{"role": "system", "content": "hello"}, {"role": "user", "content": "hello"}]}
        (count,) = count_chats([body])
        assert count == count_tokens(["hello\nhello"])[0] + 2 * 3 + 3

    def test_parts_tools_and_schema_count(self) -> None:
        plain = {"messages": [{"role": "user", "content": "hello"}]}
        parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
        image = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image_url"}]}]}
        tools = {**plain, "tools": [{"type": "function", "function": {"name": "f", "description": "long " * 50}}]}
        schema = {**plain, "response_format": {"type": "json_object"}}
        called = {"messages": [{"role": "assistant", "content": "hello", "tool_calls": [{"id": "call"}]}]}
        counts = count_chats([plain, parts, image, tools, schema, called])
        assert counts[1] == counts[0]
        assert counts[2] == counts[0] + tokens.IMAGE_TOKENS
        assert counts[3] > counts[0] + 50
        assert counts[4] > counts[0]
        assert counts[5] > counts[0]

    @pytest.mark.parametrize(
        "body", [{}, {"messages": None}, {"messages": [None, 3, {"content": 5}, {"content": [4]}]}]
    )
    def test_odd_bodies_are_counted_too(self, body: dict[str, object]) -> None:
        assert count_chats([body], "estimate")[0] >= 3


class TestVocabularyFiles:
    def test_a_file_that_was_tampered_with_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "o200k_base.tiktoken.zst").write_bytes(zstandard.compress(b"aGVsbG8= 0\n"))
        monkeypatch.setattr(tokens, "_FOLDERS", (tmp_path,))
        with pytest.raises(StoreError, match="SHA-256 differs"):
            tokens._read("o200k_base")

    def test_a_broken_or_missing_file_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "_FOLDERS", (tmp_path, tmp_path))
        with pytest.raises(StoreError, match=r"o200k_base\.tiktoken\.zst: not found in"):
            tokens._read("o200k_base")
        (tmp_path / "o200k_base.tiktoken.zst").write_bytes(b"not zstd")
        with pytest.raises(StoreError, match="cannot be read"):
            tokens._read("o200k_base")

    def test_nothing_is_loaded_before_the_first_count_and_nothing_fetched_after(self) -> None:
        script = (
            "import sys, socket, pipelines.tokens as tokens\n"
            "assert 'tiktoken' not in sys.modules\n"
            "def refuse(*_): raise AssertionError('network')\n"
            "socket.socket.connect = refuse\n"
            "assert tokens.count_tokens(['hello world'], 'cl100k_base') == [2]\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
