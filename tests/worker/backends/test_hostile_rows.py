"""Rows of any form, at every kind: what a server cannot be asked is refused by name, and no row stops the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config.sections import LOCAL_KINDS, Target
from pipelines.types import Failure
from tests.contracts.backend_contract import CONVERSATION, JSON, bent, paths, raw
from tests.worker.backends.carried import BASE, COLUMNS, ROWS
from worker import backends

PARTS: list[dict[str, Any]] = [
    {"type": "input_audio", "input_audio": {"format": "wav", "data": "AAAA"}},
    {"type": "file", "file": {"file_data": "data:text/plain;base64,AAAA", "filename": "a.txt"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
]
SAMPLES = [
    CONVERSATION,
    *({**BASE, **needs, **asks} for needs, asks in ROWS.values()),
    *({**BASE, "messages": [{"role": "user", "content": [part]}]} for part in PARTS),
]
PLACES = [(sample, at) for sample in SAMPLES for at in paths(sample)]
HOSTILE: list[Any] = [
    7, True, None, "x", [], {}, ["f"], [7], [{"function": "f"}], {"function": "f"}, {"format": ["wav"]}, {"url": 7},
    {"type": ["x"]}, "https://[x/y.png", "data:text/plain;base64,AAAAA", "data:text/plain;base64,\u00e9", "\ud800", 10**400,
]  # fmt: skip
TARGETS = {
    name: Target(
        lane="local" if column["kind"] in LOCAL_KINDS else "cloud",
        model="m",
        base_url="http://127.0.0.1:9/v1",
        **column,
    )
    for name, column in COLUMNS.items()
}


def asked(name: str, row: Any) -> None:
    """It goes out as JSON, or is refused in one short line, by the adapter itself."""
    said = backends.load(TARGETS[name].kind).request(TARGETS[name], raw(row))
    if isinstance(said, Failure):
        assert said.kind == "invalid" and len(said.message) < 700 and "\n" not in said.message
    else:
        json.loads(said[2])


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_that_is_bent_anywhere_goes_out_or_is_refused(name: str) -> None:
    for sample, at in PLACES:
        for value in HOSTILE:
            asked(name, bent(sample, at, value))


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON | st.sampled_from(HOSTILE), name=st.sampled_from(sorted(TARGETS)))
def test_a_row_of_any_json_goes_out_or_is_refused(place: tuple[dict[str, Any], Any], value: Any, name: str) -> None:
    sample, at = place
    asked(name, bent(sample, at, value))
    asked(name, {"messages": value})
    asked(name, {"messages": [value]})


def test_an_adapter_that_raises_all_the_same_refuses_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    target = TARGETS["anthropic"]
    assert not isinstance(backends.ready(target, raw(BASE)), Failure)
    monkeypatch.setattr(type(backends.load("anthropic")), "request", request)
    said = backends.ready(target, raw(BASE))
    assert isinstance(said, Failure) and (said.kind, said.code) == ("invalid", "internal")
