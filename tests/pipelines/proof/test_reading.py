"""Tokens, loose forms and differences."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.proof.pieces
from pipelines.proof.difference import differences
from pipelines.proof.layout import layout
from pipelines.proof.loose import loose
from pipelines.proof.reading import tokens

KINDS = [
    ("see https://a.io/x?y=1 now", ["word", "link", "word"]),
    ("mail bob@example.com", ["word", "link"]),
    ("order AB-1001 of 5", ["word", "id", "word", "number"]),
    ("at 9:30, 1,500 came", ["word", "number", "soft", "number", "word"]),
    ("well done :)", ["word", "word", "symbol"]),
    ("3 * 4", ["number", "symbol", "number"]),
    ("top-up", ["word", "symbol", "word"]),
    ("snake_case @ann #tag v1.2", ["id", "id", "id", "id"]),
]
LOOSE = [
    ("Declined again. Given that, what do I do?", "Declined again. Given that, what do I do"),
    ("I can't say", "i can not say"),
    ("film 's end", "film's end"),
    ("does n't", "doesn't"),
    ("dont go", "do not go"),
    ("Where is it?", "where is it"),
    ("Where is it??", "where is it?"),
    ("Population 1,500.", "population 1500"),
    ('He said "go"!', "he said go"),
    ("yes , it is .", "yes, it is."),
    ("it was in 1998 .", "it was in 1998"),
    ("No , more cuts", "no, more cuts"),
    ("No!! More cuts", "no, more cuts"),
    ("Don't! Go", "do not. go"),
    ("I said no.", "I said no"),
    ("No cuts, please.", "no cuts please"),
    ("Hello, no card came", "hello no card came"),
    ("Answer yes or no: is it", "Answer yes or no. Is it"),
    ("SEND 5 MB NOW", "send 5 mb now"),
    ("Ms Ida has 5 KG", "ms ida has 5 kg"),
    ("At 5 Mb.", "at 5 Mb"),
    ("Is it true or false, Ida", "Is it true or false Ida"),
    ("the film - a triumph", "the film, a triumph"),
    ("the film--a triumph", "the film -- a triumph"),
    ("THE SYSTEMS- now", "the systems now"),
    ("pre- and post-war", "pre and post-war"),
    ("So do I!", "so do I"),
    ("I can't!", "i cannot."),
    ("Bravo (again)!", "bravo (again)"),
    ("Go on !", "go on"),
    ("made in the U.S.A!", "made in the U.S.A."),
    ("the 'x' key", "the x key"),
    ("the boys' room", "the boys room"),
    ("My iPhone is on YouTube", "my iphone is on youtube"),
    ("See Example.org/Aa", "see example.org/Aa"),
    ("he/she and/or Ida", "He/She And/Or ida"),
    ("Ms Ida, Mg and Pb", "ms ida mg and pb"),
    ("the spring - a wet one", "the spring, a wet one"),
    ("See [A] and [B-movie]", "see [a] and [b-movie]"),
    ("It costs 5 US$, ok", "it costs 5 us$ ok"),
    ("the mens room", "the men's room"),
    ("Das Haus, gut", "das haus gut"),
]
NOT_LOOSE = [
    ("fine", "fine?"),
    ("what is -x", "what is x"),
    ("what is - x if x = 4", "what is x if x = 4"),
    ("x - y", "x y"),
    ("-sin(x)", "sin(x)"),
    ("is (-x) odd", "is (x) odd"),
    ("profit = revenue - cost", "profit = revenue cost"),
    ("blood type A-", "blood type A"),
    ("rated BBB-", "rated BBB"),
    ("OH- ions", "OH ions"),
    ("Cl- ions", "Cl ions"),
    ("grep --verbose", "grep verbose"),
    ("n! ways", "n ways"),
    ("n ! ways", "n ways"),
    ("C(n) = n!/k!", "C(n) = n/k"),
    ("(n-k)! ways", "(n-k) ways"),
    ("f'(3)", "f(3)"),
    ("f''(3)", "f'(3)"),
    ("is f' odd", "is f odd"),
    ("x' = 3", "x = 3"),
    ("AB' + C", "AB + C"),
    ("git branch -d", "git branch -D"),
    ("grep -v", "grep -V"),
    ("see bit.ly/AbCdE", "see bit.ly/aBcDe"),
    ("cat /home/Ida/x.txt", "cat /home/ida/x.txt"),
    ("call getValue", "call getvalue"),
    ("how many Mb in a Gb", "how many MB in a GB"),
    ("is (mW) small", "is (MW) small"),
    ("5 - 3", "5 : 3"),
    ("5 - 3", "5 3"),
    ("-5", "5"),
    ("1.5", "15"),
    ("nice :)", "nice :("),
    ("a 'b' = 1", "a b = '1'"),
    ("wont", "will not"),
    ("C#", "C"),
    ("load it at 100 Mb/s", "load it at 100 MB/s"),
    ("a 5 mW laser", "a 5 MW laser"),
    ("a 5 mM solution", "a 5 MM solution"),
    ("send 5 MB", "send 5 Mb"),
    ("send 5 kB", "send 5 kb"),
    ("No, more cuts are needed", "No more cuts are needed"),
    ("Don't. Cancel my order today", "Don't cancel my order today"),
    ("He said: no, more cuts", "He said: no more cuts"),
    ("I do. Not agree", "I do not agree"),
    ("Stop. The war is good", "Stop the war is good"),
    ("Don't\u2014cancel my order", "Don't cancel my order"),
    ("No\u2014more cuts are needed", "No more cuts are needed"),
    ("Don't \u2014 cancel my order", "Don't cancel my order"),
    ("No - more cuts are needed", "No more cuts are needed"),
    ("Nothing; works is the name", "Nothing works is the name"),
    ('"No," more cuts', '"No" more cuts'),
    ("Declined again. Given that, what I do?", "Declined again. Given that, what I do"),
    ("Ich kann nicht, warten ist gut", "Ich kann, nicht warten ist gut"),
    ("No, quiero pagar", "No quiero pagar"),
    ("Non, je reste", "Non je reste"),
    ("Er wollte das Zimmer, nie den Koffer", "Er wollte das Zimmer nie, den Koffer"),
    (
        "\u041a\u0430\u0437\u043d\u0438\u0442\u044c \u043d\u0435\u043b\u044c\u0437\u044f, \u0436\u0434\u0430\u0442\u044c",
        "\u041a\u0430\u0437\u043d\u0438\u0442\u044c, \u043d\u0435\u043b\u044c\u0437\u044f \u0436\u0434\u0430\u0442\u044c",
    ),
    ("open Mon - Fri only", "open Mon, Fri only"),
    ("open June - August", "open June August"),
    ("shut (Monday \u2014 Friday)", "shut (Monday Friday)"),
    ("open 9 am - 5 pm", "open 9 am, 5 pm"),
    ("match [A-Z] here", "match [a-z] here"),
    (r"use \d+ there", r"use \D+ there"),
    (r"what is \Delta here", r"what is \delta here"),
    ("is ^ab$ fine", "is ^AB$ fine"),
    ("try (?=Ab) next", "try (?=ab) next"),
    ("at 5 Pa", "at 5 pA"),
    ("half of 10, plus 2", "half of 10 plus 2"),
    ("in $HOME/a", "in $home/a"),
    ("run ./a.sh now", "run ../a.sh now"),
]


@pytest.mark.parametrize(("text", "kinds"), KINDS)
def test_kinds(text: str, kinds: list[str]) -> None:
    assert [token.kind for token in tokens(text)] == kinds


@pytest.mark.parametrize(("a", "b"), LOOSE)
def test_loose_forms_are_equal(a: str, b: str) -> None:
    assert loose(a) == loose(b)


@pytest.mark.parametrize(("a", "b"), NOT_LOOSE)
def test_loose_forms_are_not(a: str, b: str) -> None:
    assert loose(a) != loose(b)


@pytest.mark.parametrize(("a", "b"), LOOSE)
def test_the_key_and_the_comparison_agree(a: str, b: str) -> None:
    left, right = ([t.norm for t in tokens(text) if t.kind != "soft"] for text in (a, b))
    assert left == right


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    ["1!" * 50_000, " ".join(f"no/{n:x}" for n in range(60_000)), "?a " * 40_000, f"What,{'A' * 100_000}1 is?"],
    ids=len,
)
def test_a_hostile_text_is_read_in_one_pass(text: str) -> None:
    assert loose(text)


def test_a_memory_that_is_full_begins_anew_between_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the middle of one: what a text has of it stays."""
    monkeypatch.setattr("pipelines.proof.pieces.CACHED_PIECES", 3)
    texts = ["No, more cuts are needed in Ulm and Bonn", "load it at 100 Mb/s from Kiel to Bremen"]
    assert [loose(text) for text in texts * 3] == ["no , more cuts are needed in ulm and bonn", loose(texts[1])] * 3
    assert len(pipelines.proof.pieces._memory.forms) < 12


def test_a_sentence_begins_after_its_marks() -> None:
    assert [token.raw for token in tokens("Task: Go. Now") if token.first] == ["Task", "Go", "Now"]


QUESTIONS = [
    ("Why so late? I asked twice?", [False, True]),
    ("Why so late?I asked twice?", [False, True]),
    ("I asked twice?? Is it late?", [True, False, False]),
    ("see http://a.io/?q=1 it is late?", [True]),
    ("see http://a.io/?q=1 Is it late?", [False]),
]


@pytest.mark.parametrize(("text", "counts"), QUESTIONS)
def test_a_question_mark_counts_only_where_the_words_do_not_ask(text: str, counts: list[bool]) -> None:
    assert [token.kind == "symbol" for token in tokens(text) if token.norm == "?"] == counts


def test_what_was_read_before_changes_nothing() -> None:
    first, second = (
        tokens("Ann's 5 - 3? Is it -5? ok - then :) 1,500."),
        tokens("Ann's 5 - 3? Is it -5? ok - then :) 1,500."),
    )
    assert first == second
    assert [token.kind for token in first if token.norm == "-"] == ["symbol", "symbol", "soft"]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_differences_rebuild_the_other_list(a: list[str], b: list[str]) -> None:
    assert rebuilt(a, b) == b


def rebuilt(a: list[str], b: list[str]) -> list[str]:
    built: list[str] = []
    at = 0
    for span in differences(a, b):
        built += a[at : span.a0] + b[span.b0 : span.b1]
        at = span.a1
    return built + a[at:]


def test_long_lists_with_few_edits_are_compared_edit_by_edit() -> None:
    rng = random.Random(5)
    a = [f"w{rng.randrange(50)}" for _ in range(5000)]
    b = list(a)
    b[20:21] = ["x", "y"]
    del b[2500]
    b[4990] = "z"
    spans = differences(a, b)
    assert [(span.a0, span.a1 - span.a0, span.b1 - span.b0) for span in spans] == [
        (20, 1, 2),
        (2499, 1, 0),
        (4990, 1, 1),
    ]
    assert rebuilt(a, b) == b


def test_long_lists_with_many_edits_are_one_difference() -> None:
    a, b = [f"a{n}" for n in range(1000)], [f"b{n}" for n in range(900)]
    assert differences(["same", *a, "end"], ["same", *b, "end"]) == [(1, 1001, 1, 901)]


@given(st.integers(0, 7), st.integers(0, 10_000))
def test_long_differences_rebuild_the_other_list(edits: int, seed: int) -> None:
    rng = random.Random(seed)
    a = [rng.choice("abcd") for _ in range(400)]
    b = list(a)
    for _ in range(edits):
        at = rng.randrange(len(b))
        b[at : at + rng.randrange(2)] = rng.choices("abcd", k=rng.randrange(3))
    assert rebuilt(a, b) == b


HOSTILE = ["-" * 90_000, "1-" * 45_000, "1--" * 30_000, "a" * 90_000, "a1" * 45_000, "a." * 45_000, "!" * 90_000,
           "f(" * 45_000, "@" * 90_000, "a_" * 45_000, "?\n" * 30_000, "- \n" * 30_000, "x," * 45_000, "<" * 90_000,
           ":" * 90_000, "'" * 90_000, "a@" * 45_000, "http://" * 15_000, "\u200b\u00a0" * 30_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:3]))
def test_no_text_takes_long_to_read(text: str) -> None:
    begun = time.process_time()
    form = layout(text)
    loose(form)
    tokens(form)
    assert time.process_time() - begun < 5
