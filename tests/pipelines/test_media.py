"""What images, sounds and files may come to: never less than a provider counts, by its own documents."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from pipelines.media import surplus_tokens
from pipelines.tokens import IMAGE_TOKENS, count_chats


def most(model: str, *parts: Any, window: int | None = None) -> int:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]}
    return count_chats([body])[0] + surplus_tokens(json.dumps(body).encode(), model, window)


def image(**more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "https://example.com/cat.png", **more}}


def sound(size: int, form: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": b64encode(b"x" * size).decode(), "format": form}}


@pytest.mark.parametrize(
    ("model", "part", "counted"),
    [
        ("gpt-4o-mini", image(), 2_833 + 8 * 5_667),  # 2,048 by 768 pixels are eight tiles
        ("openai/gpt-4o-mini-2024-07-18", image(detail="high"), 2_833 + 8 * 5_667),
        ("gpt-4o-mini", image(detail="low"), 2_833),
        ("gpt-4o", image(), 85 + 8 * 170),
        ("gpt-4.1-nano", image(), int(1_536 * 2.46)),
        ("claude-opus-4-7", image(), 4_784),
        ("claude-opus-4-7", image(detail="low"), 4_784),  # OpenAI's word, which they do not know
        ("gemini-2.5-flash", image(), 16 * 258),
        ("google/gemini-2.5-flash", image(detail="low"), 16 * 258),
        ("gpt-4o-mini", {**image(), "text": "A cat."}, 2_833 + 8 * 5_667),  # an image, whatever it says beside that
        ("gpt-4o-mini", {**sound(60 * 8_000, "wav"), "text": ""}, 60 * 32),
        ("gpt-audio", sound(60 * 32_000, "wav"), 60 * 10),  # a minute of 16 kHz, ten tokens a second
        ("gemini-2.5-flash", sound(60 * 8_000, "wav"), 60 * 32),
        ("gemini-2.5-flash", sound(60 * 1_000, "mp3"), 60 * 32),
        ("claude-haiku-4-5", {"type": "file", "file": {"file_data": "x" * 40_000}}, 3 * 4_600),  # three pages of 10 KB
    ],
)
def test_a_bound_is_never_below_what_a_provider_counts(model: str, part: Any, counted: int) -> None:
    assert most(model, part) >= counted
    assert most(model, part, part) >= 2 * counted


def test_a_file_that_lies_elsewhere_may_be_as_large_as_any() -> None:
    """It was taken for half of what the largest windows hold."""
    far = {"type": "file", "file": {"file_id": "file-1"}}
    near = {"type": "file", "file": {"file_data": "x" * 4_000_000}}
    for part in (far, near):
        assert most("gpt-5.4", part) >= 1_050_000
        assert 128_000 <= most("gpt-4o", part, window=128_000) < 130_000


def test_text_alone_has_no_surplus() -> None:
    assert most("gpt-4o-mini") < 50
    assert most("gpt-4o-mini", {"text": '"image_url"'}, {"type": "text", "text": '"file"'}) < 50
    assert most("gpt-4o", image(detail="low")) < IMAGE_TOKENS + 50
    for odd in (b"", b"[]", b'{"messages":["\\"image_url\\"",{"content":["image_url"]}]}', b'{"a":"file","file":1}'):
        assert surplus_tokens(odd, "gpt-4o-mini") == 0
