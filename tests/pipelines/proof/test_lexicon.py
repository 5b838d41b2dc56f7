"""What is a word, an ordinary one or a name, by the vocabulary that comes with the program."""

from __future__ import annotations

import pytest

from pipelines.proof import lexicon

pytestmark = pytest.mark.usefixtures("vocabulary")


def test_names_are_told_by_their_capital() -> None:
    assert lexicon.is_name("johnson")
    assert lexicon.is_name("paris")
    assert not lexicon.is_name("account")
    assert lexicon.ordinary("account")
    assert not lexicon.ordinary("johnson")


def test_only_countries_languages_and_the_like_are_famous() -> None:
    assert all(map(lexicon.is_famous, ["english", "china", "friday"]))
    assert not any(map(lexicon.is_famous, ["johnson", "important", "nobody-says-so"]))
