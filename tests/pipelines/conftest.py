"""What tests of words share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.proof import lexicon


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[None]:
    """The words that come with the program, read once for a file of tests."""
    lexicon.forget()
    lexicon.load()
    yield
    lexicon.forget()
