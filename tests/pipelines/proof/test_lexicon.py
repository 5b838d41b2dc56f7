"""What is a word, an ordinary one or a name, by the vocabulary that comes with the program."""

from __future__ import annotations

import pytest

from pipelines.proof import lexicon
from pipelines.proof.explain import read
from pipelines.proof.outline import outlines

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
    """To one that has no `three` it is a slip of `there`; the tests of another file may bring such a one."""
    late = "My card arrived three weeks ago."
    right = read(late).tokens, outlines(late)
    lexicon.forget()
    lexicon.install([(b" quiet", 10)], ["quiet"])
    wrong = outlines(late)
    lexicon.forget()
    lexicon.load()
    assert wrong != right[1]
    assert (read(late).tokens, outlines(late)) == right
