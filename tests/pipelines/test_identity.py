"""Keys: equal exactly for the same question; families: equal for the same frame around the user's words."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.identity import family, fingerprint, key, salt, separate_samples

SALT = salt("acme", "small", None, b"")


def body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "You label."}, {"role": "user", "content": text}], **more}


def test_key_order_and_caller_fields_do_not_matter() -> None:
    a = {"messages": body()["messages"], "seed": 1, "max_tokens": 5, "user": "u1", "prompt_cache_key": "k"}
    b = {"max_tokens": 5, "seed": 1, "messages": body()["messages"], "metadata": {"a": "b"}, "safety_identifier": "s"}
    assert key(SALT, a) == key(SALT, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (body("a"), body("b")),
        (body(), body(max_tokens=5)),
        (body(), body(temperature=0)),
        (body(), body(response_format={"type": "json_object"})),
        (body(), {"messages": [{"role": "system", "content": "Other."}, {"role": "user", "content": "hello"}]}),
        (body(), body(tools=[{"type": "function"}])),
        ({"messages": [{"role": "user", "content": "ab"}]}, {"messages": [{"role": "assistant", "content": "ab"}]}),
    ],
)
def test_anything_asked_differently_has_another_key(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert key(SALT, a) != key(SALT, b)


@pytest.mark.parametrize(
    "other",
    [
        salt("other", "small", None, b""),
        salt("acme", "large", None, b""),
        salt("acme", "small", "m", b""),
        salt("acme", "small", None, b"x"),
    ],
)
def test_walls(other: bytes) -> None:
    assert key(SALT, body()) != key(other, body())
    assert family(SALT, body()) != family(other, body())


def test_salt_parts_cannot_run_into_each_other() -> None:
    assert salt("ab", "c", None, b"") != salt("a", "bc", None, b"")


def test_family_ignores_only_the_users_words() -> None:
    assert family(SALT, body("a")) == family(SALT, body("b"))
    assert family(SALT, body("a")) != family(SALT, body("a", max_tokens=3))
    image = {"type": "image_url", "image_url": {"url": "http://x/1.png"}}
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, image]}]}
    other = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "b"}, {**image, "image_url": {"url": "http://x/2.png"}}],
            }
        ]
    }
    same = {"messages": [{"role": "user", "content": [{"type": "text", "text": "c"}, image]}]}
    assert family(SALT, parts) == family(SALT, same) != family(SALT, other)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, False),
        ({"temperature": 0}, False),
        ({"temperature": 0.0}, False),
        ({"temperature": 0.7}, True),
        ({"n": 1}, False),
        ({"n": 2}, True),
    ],
)
def test_separate_samples(more: dict[str, Any], expected: bool) -> None:
    assert separate_samples(body(**more)) is expected


def test_fingerprint_names_client_sources_and_options() -> None:
    assert fingerprint("a", ("f",), {"x": 1}) == fingerprint("a", ("f",), {"x": 1})
    assert (
        len(
            {
                fingerprint(*args)
                for args in (("a", ("f",), {}), ("b", ("f",), {}), ("a", ("g",), {}), ("a", ("f",), {"x": 1}))
            }
        )
        == 4
    )
