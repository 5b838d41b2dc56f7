"""The duplicate index: walls, order, commit and restore, with a cheap stand-in encoder that hashes words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.dedup import Candidate
from worker.dedupe.chunk import NEAR_MISS_COSINE
from worker.dedupe.index import DuplicateIndex, Screened


class HashEncoder:
    """Texts with the same words are near; nothing else is."""

    name = "hash/1"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        out = np.zeros((len(texts), 384), np.float32)
        for at, text in enumerate(texts):
            for word in text.lower().split():
                seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4).digest(), "big")
                out[at] += np.random.default_rng(seed).standard_normal(384)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def prompt(
    row: int, text: str, family: str = "family", fields: tuple[str, ...] | None = None, task: str = "open"
) -> Candidate:
    key = hashlib.blake2b(f"{family}|{task}|{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Candidate(row, key, hashlib.blake2b(family.encode(), digest_size=8).digest(), text, fields, task)


def chunk(*texts: str, start: int = 0, family: str = "family") -> list[Candidate]:
    return [prompt(start + at, text, family) for at, text in enumerate(texts)]


def leaders(screened: Screened) -> list[tuple[int, str] | None]:
    return [(link.leader_row, link.kind) if link else None for link in screened.links]


def semantic() -> DuplicateIndex:
    return DuplicateIndex("semantic", HashEncoder())


REQUEST = "could somebody tell me where the new card for my account is now"


def test_exact_mode_finds_copies_within_and_across_chunks() -> None:
    index = DuplicateIndex("exact")
    first = index.screen(chunk("a", "b", "a"))
    assert leaders(first) == [None, None, (0, "exact")]
    index.commit(first)
    assert leaders(index.screen(chunk("b", "c", "B", start=10))) == [(1, "exact"), None, None]


def test_screening_changes_nothing_until_committed() -> None:
    index = semantic()
    index.screen(chunk("a", REQUEST))
    again = index.screen(chunk("a", REQUEST, start=5))
    assert leaders(again) == [None, None]
    assert len(index) == 0


def test_canonical_twins_and_edits_are_linked_to_the_first_comer() -> None:
    index = semantic()
    screened = index.screen(chunk(REQUEST, REQUEST.upper() + "!", "Please, " + REQUEST, REQUEST))
    assert leaders(screened) == [None, (0, "canonical"), (0, "edit"), (0, "exact")]
    index.commit(screened)
    later = index.screen(chunk(REQUEST + " please", REQUEST.title(), start=7))
    assert leaders(later) == [(0, "edit"), (0, "canonical")]


def test_a_near_miss_is_refused_and_recorded() -> None:
    index = semantic()
    screened = index.screen(chunk(REQUEST, REQUEST.replace("new", "old")))
    assert leaders(screened) == [None, None]
    (veto,) = screened.vetoes
    assert (veto.row, veto.leader_row, veto.guard) == (1, 0, "opposite")
    assert veto.cosine > 0.9


def test_every_near_miss_of_a_chunk_is_recorded_with_what_forbade_it() -> None:
    """However many: a file of one template is full of them."""
    index = semantic()
    index.commit(index.screen(chunk(f"{REQUEST} ticket 1")))
    numbers = [f"{REQUEST} ticket {number}" for number in range(2, 302)]
    screened = index.screen(chunk(*numbers, f"{REQUEST.replace('new', 'old')} ticket 1", start=1))
    assert leaders(screened) == [None] * 301
    assert Counter(veto.guard for veto in screened.vetoes) == {"number": 300, "opposite": 1}
    assert all(veto.row > 0 and veto.cosine >= NEAR_MISS_COSINE for veto in screened.vetoes)


def test_what_only_a_pause_forbids_is_told_from_what_guards_forbid() -> None:
    index = semantic()
    index.commit(index.screen(chunk(REQUEST)))
    rows = [prompt(1, f"please {REQUEST}"), prompt(2, REQUEST.replace("new", "old"))]
    screened = index.screen([msgspec.structs.replace(row, keys_only=True) for row in rows])
    assert leaders(screened) == [None, None]
    assert [veto.guard for veto in screened.vetoes] == ["paused", "opposite"]


def test_followers_of_a_follower_get_the_same_leader() -> None:
    screened = semantic().screen(chunk(REQUEST, "please " + REQUEST, "please " + REQUEST, "Please " + REQUEST + "."))
    assert leaders(screened) == [None, (0, "edit"), (0, "edit"), (0, "edit")]


def test_families_never_meet() -> None:
    index = semantic()
    index.commit(index.screen(chunk(REQUEST, family="one")))
    other = index.screen(
        [prompt(1, REQUEST, "two"), prompt(2, REQUEST + "!", "two"), prompt(3, "please " + REQUEST, "three")]
    )
    assert leaders(other) == [None, (1, "canonical"), None]


def test_known_fields_are_compared_and_another_template_is_another_prompt() -> None:
    index = semantic()
    rows = [
        prompt(0, "Reply to: good morning", fields=("good morning",)),
        prompt(1, "Reply to: Good Morning!", fields=("Good Morning!",)),
        prompt(2, "Answer to: please good morning", fields=("please good morning",)),
    ]
    assert leaders(index.screen(rows)) == [None, (0, "canonical"), None]


NEWS = [
    f"{who} {did}."
    for who in ("Ulm's council", "A court in Bonn", "Kiel", "The mayor of Trier", "Jena's only museum")
    for did in ("closes its old bridge until the spring", "has sold the pool in the park")
]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("shape", "task", "change"),
    [
        ('LABELS = "a", "b"\ntext = """{}"""\nlabel =', "closed", str.upper),
        ("LANG=de\nSOURCE={}\nTARGET=", "strict", lambda text: text.replace(" ", "  ")),
        ('"{}" ==>', "closed", lambda text: text[:-1]),
        ('How would you put "{}"? Only that.', "strict", lambda text: f"  {text[:-1]} "),
    ],
)
def test_a_shell_of_code_or_quotes_makes_no_code_of_a_passage(
    shape: str, task: str, change: Callable[[str], str], known: bool
) -> None:
    index = semantic()
    texts = [*NEWS, *map(change, NEWS)]
    rows = [prompt(at, shape.format(text), "shell", (text,) if known else None, task) for at, text in enumerate(texts)]
    for start, stop in ((0, 15), (15, 20)):
        screened = index.screen(rows[start:stop])
        found = [link.leader_row for link in screened.links if link]
        assert found == list(range(max(0, start - 10), stop - 10))
        index.commit(screened)


def test_known_text_is_not_encoded() -> None:
    encoder = HashEncoder()
    index = DuplicateIndex("semantic", encoder)
    index.commit(index.screen(chunk(REQUEST)))
    encoder.seen.clear()
    index.screen(chunk(REQUEST, REQUEST.upper(), start=3))
    assert encoder.seen == []


CHAT = ["Tell me about Peru", "Why do leaves turn yellow", "How many people live in Oslo", "What does a plumber earn",
        "Explain tides to a child", "Who built the tower", "When did the war end", "Describe a walk in the rain"]  # fmt: skip
LITERAL_PAIRS = [
    ("Translate into French: She's eaten, the shark too", "Translate into French: She's eaten the shark too"),
    ("Fix the spelling: we travelled by train", "Fix the spelling: we traveled by train"),
    ("Count the letters in the word Colour", "Count the letters in the word color"),
    ("Write a Python function that returns the Index", "Write a Python function that returns the index"),
]


@pytest.mark.parametrize(
    "shared", ["{}\nKeep it short.", "{}\nAnswer with one word.", "You work for the Acme company.\n{}"]
)
def test_what_all_prompts_share_hides_no_instruction(shared: str) -> None:
    texts = [*CHAT, "tell me about peru", *(text for pair in LITERAL_PAIRS for text in pair)]
    found = semantic().screen([prompt(at, shared.format(text), task="") for at, text in enumerate(texts)])
    assert [link.row for link in found.links if link] == [len(CHAT)]


def test_words_of_a_review_are_no_instruction() -> None:
    reviews = [f"The script was dull, and {text}" for text in CHAT]
    texts = [f"Classify the sentiment: {text}" for text in (*reviews, reviews[0].upper())]
    found = semantic().screen([prompt(at, text, task="") for at, text in enumerate(texts)])
    assert leaders(found)[-1] == (0, "canonical")


@pytest.mark.parametrize(
    ("asked", "found"), [("Is the spelling right?", 0), ("Is it polite?", 0), ("Is it about food?", 2)]
)
def test_labels_ignore_no_form_that_they_judge(asked: str, found: int) -> None:
    texts = [f"{asked} {text}" for text in (*CHAT, "I eat colourful fruit", "Please, i eat colorful fruit!")]
    rows = [
        msgspec.structs.replace(prompt(at, text, task=""), labels=True)
        for at, text in enumerate([*texts, texts[0].upper()])
    ]
    assert len([link for link in semantic().screen(rows).links if link]) == found


CROWD = [
    REQUEST.replace("card", word)
    for word in ["coat", "cape", "clip", "cup", "clock", "crate", "chair", "cable", "coin"]
]


TOPIC = "Which topic is this article about: World, Business or Sports?\n\nArticle: {}\n\nTopic:"
PROFITS = (
    "Quarterly profits of {} were flat, the management announced before markets opened, and analysts expect it to {}."
)
COMPANIES = ("the car maker", "a maker of medical devices", "the big shipping group", "a family owned brewery")
PLANS = ("cut jobs", "renew its fleet", "open a plant", "sell shares")


def test_one_story_is_asked_once_but_what_many_texts_share_is_a_form() -> None:
    """Two of them pass for one story; that there are many says that it is none."""
    texts = [PROFITS.format(company, plan) for company in COMPANIES for plan in PLANS]
    rows = [prompt(at, TOPIC.format(text), fields=(text,), task="closed") for at, text in enumerate(texts)]
    two = semantic().screen(rows[:6:5]).links
    assert [link.guard if link else None for link in two] == [None, "retelling"]
    assert semantic().screen(rows).links == [None] * len(rows)
    index = semantic()
    index.commit(index.screen(rows[1:]))
    assert index.screen(rows[:1]).links == [None], "also when the others are known already"


def test_vectors_are_made_where_keys_propose_too_little() -> None:
    encoder = HashEncoder()
    index = DuplicateIndex("semantic", encoder)
    index.commit(index.screen(chunk(*CROWD[:3], "when will the parcel from the garden shop arrive")))
    assert encoder.seen == []
    index.commit(index.screen(chunk(*CROWD[3:], start=4)))
    assert encoder.seen == CROWD[4:], "four have one outline: the others are near neighbours"
    found = index.screen(chunk("please " + CROWD[8], "please " + CROWD[1], start=20))
    assert leaders(found) == [(9, "edit"), (1, "edit")]


def test_where_other_words_may_do_everything_is_encoded() -> None:
    encoder = HashEncoder()
    rows = [msgspec.structs.replace(row, paraphrase=True) for row in chunk(REQUEST, "what is for lunch")]
    DuplicateIndex("semantic", encoder).screen(rows)
    assert encoder.seen == [REQUEST, "what is for lunch"]


@pytest.mark.parametrize("mode", ["exact", "semantic"])
def test_restore_rebuilds_what_was_committed(mode: str) -> None:
    index = DuplicateIndex(mode, HashEncoder())
    screened = index.screen(chunk(REQUEST, "other words here", REQUEST))
    table = pa.table(index.to_columns(screened))
    again = DuplicateIndex(mode, HashEncoder())
    again.restore(table, "run-1")
    again.restore(table, "run-1")
    assert len(again) == 2
    found = again.screen(chunk(REQUEST, REQUEST + "!", "please " + REQUEST, start=50))
    expected = ["exact", "canonical", "edit"] if mode == "semantic" else ["exact"]
    assert [(link.leader_row, link.leader_run, link.kind) for link in found.links if link] == [
        (0, "run-1", kind) for kind in expected
    ]


def test_restore_encodes_again_when_the_encoder_changed() -> None:
    index = semantic()
    table = pa.table(index.to_columns(index.screen(chunk(*CROWD))))
    encoder = HashEncoder()
    encoder.name = "hash/2"
    again = DuplicateIndex("semantic", encoder)
    again.restore(table)
    assert encoder.seen == ["clock", "crate", "chair", "cable", "coin"], "what had no vector needs none"
    found = again.screen(chunk("please " + CROWD[0], "please " + CROWD[8], start=9))
    assert leaders(found) == [(0, "edit"), (8, "edit")]


def test_a_nul_in_a_field_that_is_shown_twice_stops_no_later_run() -> None:
    index = semantic()
    rows = [prompt(0, f"Reply to {name}: {name}", fields=(name,)) for name in ("a\x00b", "good morning")]
    screened = index.screen([rows[0], msgspec.structs.replace(rows[1], row=1)])
    table = pa.table(index.to_columns(screened))
    index.commit(screened)
    again = semantic()
    again.restore(table, "run-1")
    for known in (index, again):
        found = known.screen([prompt(5, "Please reply to a\x00b: a\x00b", fields=("a\x00b",)), *chunk("Reply to good morning: good morning", start=6)])  # fmt: skip
        assert [link.leader_row if link else None for link in found.links][1:] == [1]


def test_rows_without_text_have_only_their_exact_key() -> None:
    """Routes with exact dedupe share an index with semantic ones."""
    index = semantic()
    bare = [Candidate(at, bytes([at % 3]) * 16, bytes(8), "") for at in range(4)]
    screened = index.screen([*bare, *chunk(REQUEST, start=9)])
    assert leaders(screened) == [None, None, None, (0, "exact"), None]
    table = pa.table(index.to_columns(screened))
    index.commit(screened)
    again = semantic()
    again.restore(table)
    for other in (index, again):
        assert leaders(other.screen([Candidate(20, bytes([2]) * 16, bytes(8), ""), *chunk(REQUEST, start=21)])) == [
            (2, "exact"),
            (9, "exact"),
        ]


def test_a_follower_whose_leader_found_a_leader_stands_on_its_own_proof() -> None:
    """`b` follows `a` by its skeleton; when `a` turns out to be a duplicate, `b` must be one of the same prompt."""
    index = semantic()
    index.commit(index.screen(chunk("please " + REQUEST)))
    screened = index.screen(chunk(REQUEST, "hello " + REQUEST, REQUEST + "!", start=4))
    assert [link.leader_row for link in screened.links if link] == [0, 0, 0]


def test_the_least_useful_leave_when_the_limit_is_reached() -> None:
    index = DuplicateIndex("semantic", HashEncoder(), limit=20)
    texts = [f"question about thing number {word} of many" for word in "abcdefghijklmnopqrstuvwxyz"]
    index.commit(index.screen(chunk(*texts[:20])))
    index.commit(index.screen(chunk(texts[0], start=30)))
    index.commit(index.screen(chunk(*texts[20:], start=40)))
    assert len(index) == 20
    again = leaders(index.screen(chunk(texts[0], texts[1], texts[25], start=60)))
    assert again == [(0, "exact"), None, (45, "exact")]


def test_runs_whose_answers_are_too_old_are_forgotten() -> None:
    index = semantic()
    for run in ("old", "new"):
        other = semantic()
        index.restore(pa.table(other.to_columns(other.screen(chunk(REQUEST + run)))), run)
    index.forget(frozenset({"old"}))
    found = index.screen(chunk(REQUEST + "old", REQUEST + "new", "please " + REQUEST + "new", start=7))
    assert [(link.leader_run, link.kind) if link else None for link in found.links] == [
        None, ("new", "exact"), ("new", "edit"),
    ]  # fmt: skip


def test_text_that_is_not_unicode_can_be_kept() -> None:
    index = semantic()
    screened = index.screen(chunk("half a \ud83d pair", REQUEST))
    again = semantic()
    again.restore(pa.table(index.to_columns(screened)))
    assert leaders(again.screen(chunk("half a \ud83d pair", start=3))) == [(0, "exact")]


VARIANTS = [
    REQUEST,
    REQUEST.upper(),
    "please " + REQUEST,
    REQUEST + "!",
    REQUEST.replace("new", "old"),
    REQUEST.replace("my", "your"),
    REQUEST.replace("card", "crad"),
    "hello",
    "",
]


@given(
    st.lists(
        st.tuples(st.sampled_from(VARIANTS), st.sampled_from(["one", "two"]), st.sampled_from(["open", "strict", ""]))
    ),
    st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_leaders_are_earlier_representatives_of_the_same_family(
    prompts: list[tuple[str, str, str]], chunk_rows: int
) -> None:
    rows = [prompt(at, text, family, task=task) for at, (text, family, task) in enumerate(prompts)]
    index = semantic()
    linked: dict[int, int] = {}
    for start in range(0, len(rows), chunk_rows):
        screened = index.screen(rows[start : start + chunk_rows])
        index.commit(screened)
        linked |= {link.row: link.leader_row for link in screened.links if link is not None}
    for row, leader in linked.items():
        assert leader < row
        assert leader not in linked
        assert rows[leader].family == rows[row].family
        if rows[row].task == "strict":
            assert " ".join(rows[leader].text.split()) == " ".join(rows[row].text.split())
    firsts = {}
    for row in rows:
        first = firsts.setdefault(row.key, row.row)
        assert first == row.row or row.row in linked


def test_many_representatives_are_still_found() -> None:
    """Beyond the flat index's size, IVF proposes and the stored vectors score."""
    index = semantic()
    words = [f"w{n}" for n in range(300)]
    rng = np.random.default_rng(7)
    texts = [" ".join(rng.choice(words, 12)) for _ in range(24_000)]
    for start in range(0, len(texts), 8_000):
        index.commit(index.screen([prompt(start + at, text) for at, text in enumerate(texts[start : start + 8_000])]))
    picked = [int(at) for at in rng.choice(len(texts), 200, replace=False)]
    found = index.screen([prompt(100_000 + at, "please " + texts[at]) for at in picked])
    hits = [link is not None and link.leader_row == at for link, at in zip(found.links, picked, strict=True)]
    assert sum(hits) >= 198
