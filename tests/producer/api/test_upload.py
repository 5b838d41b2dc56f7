"""What a form brought goes again when it is not wanted, and where it cannot go, its request is answered all the same.

In process: a disk that takes files and deletes none is not to be had.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.requests import Request

from pipelines import paths
from pipelines.errors import StoreError
from producer.api import files, runs
from producer.api.auth import Identity
from producer.api.errors import ApiError
from producer.api.state import State
from producer.store import Store
from tests.support_serving import jsonl, line

ACME = Identity("acme")


def form(path: str, **fields: str) -> Request:
    """A POST of a file with fields beside it."""
    parts: dict[str, Any] = {"file": ("a.jsonl", jsonl([line("a", "x")])), **{k: (None, v) for k, v in fields.items()}}
    built = httpx.Request("POST", f"http://server{path}", files=parts, headers={"idempotency-key": "k"})
    headers = [(name.lower(), value) for name, value in built.headers.raw]

    async def receive() -> Any:
        return {"type": "http.request", "body": built.read(), "more_body": False}

    return Request({"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}, receive)


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Store, name: str) -> None:
        raise StoreError(f"cannot delete {name}")

    monkeypatch.setattr(Store, "delete", refused)


@pytest.mark.usefixtures("undeletable")
async def test_a_run_is_told_whatever_becomes_of_its_form(here: State) -> None:
    assert (await runs.create(form("/v1/runs"), here, ACME))["status"] == "in_progress"


@pytest.mark.usefixtures("undeletable")
async def test_a_file_that_is_sent_twice_is_told_whatever_becomes_of_the_second(here: State) -> None:
    first, again = [await files.create(form("/v1/files", purpose="batch"), here, ACME) for _ in range(2)]
    assert first == again


@pytest.mark.usefixtures("undeletable")
async def test_what_is_wrong_is_told_whatever_becomes_of_its_form(here: State) -> None:
    with pytest.raises(ApiError, match="vision"):
        await files.create(form("/v1/files", purpose="vision"), here, ACME)


async def test_of_a_file_that_cannot_be_kept_nothing_stays(here: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(files, "_check", full)
    with pytest.raises(StoreError):
        await files.create(form("/v1/files", purpose="batch"), here, ACME)
    assert here.store.names(paths.uploads_dir()) == []
