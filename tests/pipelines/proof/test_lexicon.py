"""What is a word, an ordinary one or a name, by the vocabulary that comes with the program."""

from __future__ import annotations

import pytest

from pipelines.proof import lexicon
from pipelines.proof.explain import read
from pipelines.proof.typos import typo

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


def test_what_another_vocabulary_judged_is_forgotten_with_it() -> None:
    """The tests of another file may bring a vocabulary of their own, or none."""
    text, slips = "It was fine even thuogh it rained.", ("heatig", "heaating")
    right = read(text).norms
    lexicon.forget()
    lexicon.install([(b" quiet", 10)], ["quiet"])
    assert not typo(*slips)
    lexicon.forget()
    assert read(text).norms != right
    lexicon.load()
    assert read(text).norms == right
    assert typo(*slips)
