"""Tries to get another question's answer: through the real keys and the real index, everything near, one thing different."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings, parse_settings
from pipelines.types import Options, Row
from tests.worker.dedupe.test_index import HashEncoder
from worker.clock import Clock
from worker.money.ledger import Ledger
from worker.prepare.ids import Ids
from worker.prepare.sift import Asker, Indexes, Sifter
from worker.targets import Targets

TARGETS = {
    "gpu": {"kind": "lmstudio", "model": "qwen"},
    "big": {"kind": "vllm", "model": "llama"},
}
ROUTES: dict[str, dict[str, Any]] = {
    "small": {"targets": ["gpu"], "models": ["a", "b"]},
    "large": {"targets": ["big"]},
    "samples": {"targets": ["gpu"], "merge_samples": True},
}
TEXT = "Please tell me where the new card for my account is now."
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def sifter(**routes: dict[str, Any]) -> Sifter:
    found: Settings = parse_settings({"targets": TARGETS, "routes": {**ROUTES, **routes}})
    targets = Targets(found, Clock())
    return Sifter(found, Ledger(found, targets), HashEncoder(), targets.window)  # type: ignore[arg-type]


SIFTER = sifter()


class Client:
    """One shared index, as if the wall between clients were the keys alone."""

    def __init__(self) -> None:
        self.index = SIFTER.index("semantic")
        self.row = 0

    def ask(self, ask: dict[str, Any], by: Sifter = SIFTER) -> str | None:
        """The kind of link that a prompt gets, after all that were asked before; None: it is asked."""
        options = Options(**{"route": "small", "dedupe": "semantic", **ask.get("options", {})})
        asker = Asker(ask.get("run", "r1"), ask.get("client", "acme"), options)
        row = Row(self.row, None, ask.get("model"), ask["body"], {})
        indexes = Indexes(self.index, Ids())
        chunk = by.sift(asker, indexes, [row], 0, ask=True)
        assert chunk.columns["kind"][0] in ("asked", "link"), chunk.columns["error_message"]
        if chunk.screened is not None:
            self.index.commit(chunk.screened, asker.id)
        self.row += 1
        return chunk.columns["link_kind"][0]


def question(text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {
        "body": {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}], **more}
    }


def with_(change: dict[str, Any]) -> dict[str, Any]:
    """The question with another client, run, option, model or body."""
    base = question()
    body = {**base["body"], **change.pop("body", {})}
    return {**base, **change, "body": body}


SCHEMA = '{"type": "object"}'
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

WALLS: dict[str, dict[str, Any]] = {
    "client": {"client": "other"},
    "client in other letters": {"client": "Acme"},
    "route": {"options": {"route": "large"}},
    "model": {"model": "a"},
    "schema": {"options": {"schema": SCHEMA}},
    "labels": {"options": {"labels": ("x", "y")}},
    "template": {"options": {"template": "{{ prompt }}"}},
    "max_tokens": {"body": {"max_tokens": 9}},
    "seed": {"body": {"seed": 1}},
    "top_p": {"body": {"top_p": 0.5}},
    "stop": {"body": {"stop": ["."]}},
    "response_format": {"body": {"response_format": {"type": "json_object"}}},
    "tools": {"body": {"tools": [TOOL]}},
    "logit_bias": {"body": {"logit_bias": {"5": 1}}},
    "an unknown parameter": {"body": {"verbosity": "low"}},
    "system prompt": {"body": {"messages": [{"role": "system", "content": "Be kind!"}, {"role": "user", "content": TEXT}]}},
    "no system prompt": {"body": {"messages": [{"role": "user", "content": TEXT}]}},
    "role": {"body": {"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": TEXT}]}},
    "name": {
        "body": {
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "name": "eve", "content": TEXT}]
        }
    },
    "an image": {
        "body": {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": TEXT}, IMAGE]},
            ]
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("wall", sorted(WALLS))
@pytest.mark.parametrize("text", [TEXT, TEXT.upper(), "Tell me where the new card for my account is now"])
def test_nothing_is_reused_through_a_wall(wall: str, text: str) -> None:
    client = Client()
    assert client.ask(question()) is None
    other = with_(deepcopy(WALLS[wall]))
    last = other["body"]["messages"][-1]
    if isinstance(last["content"], str):
        last["content"] = text
    assert client.ask(other) is None, wall
    again = msgspec.json.decode(msgspec.json.encode(other["body"]))
    assert client.ask({**other, "body": again, "run": "r2"}) == "exact", "but the same once more is one"
    assert client.ask(question()) == "exact"


def test_what_was_said_before_and_between_images_is_compared_letter_by_letter() -> None:
    def turns(*said: str | list[Any]) -> dict[str, Any]:
        roles = ("user", "assistant") * 2
        return {"body": {"messages": [{"role": r, "content": c} for r, c in zip(roles, said, strict=False)]}}

    def parts(*each: str | dict[str, Any]) -> list[Any]:
        return [{"type": "text", "text": one} if isinstance(one, str) else one for one in each]

    client = Client()
    pairs = [
        (turns("Keep it.\nMy card", "Which?", "the new one"), turns("Keep it.", "Which?", "My card\nthe new one")),
        (turns("the card is new", "Yes?", "where"), turns("The card is new", "Yes?", "where")),
        (turns(parts("left", IMAGE, "right")), turns(parts("left", "right", IMAGE))),
    ]
    for one, other in pairs:
        assert client.ask(one) is None
        assert client.ask(other) is None


def test_samples_are_merged_only_where_the_route_says_so() -> None:
    for more in ({"temperature": 0.1}, {"n": 2}, {"temperature": 2, "n": 3}):
        client = Client()
        assert [client.ask(question(**more)) for _ in range(2)] == [None, None]
        merging = {**question(**more), "options": {"route": "samples"}}
        assert [client.ask(merging) for _ in range(2)] == [None, "exact"]
    client = Client()
    assert [client.ask(question(temperature=0)) for _ in range(2)] == [None, "exact"]


def test_a_route_that_asks_other_models_or_reuses_nothing_is_another_question() -> None:
    client = Client()
    assert client.ask(question()) is None
    assert client.ask(question(), sifter(small={"targets": ["big"], "models": ["a", "b"]})) is None
    alone = sifter(small={"targets": ["gpu"], "models": ["a", "b"], "reuse_for": "0s"})
    assert [client.ask({**question(), "run": run}, alone) for run in ("r1", "r1", "r2")] == [None, "exact", None]


texts = st.sampled_from(
    [TEXT, TEXT.lower(), TEXT + "!!", "  " + TEXT, "Where is my new card?", "Where is my old card?"]
)
bodies = st.fixed_dictionaries(
    {"messages": texts.map(lambda text: [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}])},
    optional={
        "seed": st.integers(0, 2), "max_tokens": st.integers(1, 2), "temperature": st.sampled_from([0, 0.5]),
        "n": st.sampled_from([1, 2]), "tools": st.just([TOOL]), "stop": st.sampled_from([["."], [","]]),
    },
)  # fmt: skip
asks = st.fixed_dictionaries(
    {
        "client": st.sampled_from(["acme", "other"]),
        "run": st.sampled_from(["r1", "r2"]),
        "model": st.sampled_from([None, "a", "b"]),
        "options": st.sampled_from([{}, {"labels": ("x", "y")}, {"schema": SCHEMA}]),
        "body": bodies,
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(asks, min_size=2, max_size=12))
def test_whatever_is_asked_a_link_never_leaves_its_walls(stream: list[dict[str, Any]]) -> None:
    client = Client()
    for number, ask in enumerate(stream):
        before = client.row
        options = Options(**{"route": "small", "dedupe": "semantic", **ask["options"]})
        asker = Asker(ask["run"], ask["client"], options)
        row = Row(before, None, ask["model"], ask["body"], {})
        chunk = SIFTER.sift(asker, Indexes(client.index, Ids()), [row], 0, ask=True)
        leader = chunk.columns["leader_row"][0]
        if chunk.screened is not None:
            client.index.commit(chunk.screened, asker.id)
        client.row += 1
        if leader is None:
            continue
        led = stream[leader]
        assert leader < number
        assert (led["client"], led["model"], led["options"]) == (ask["client"], ask["model"], ask["options"])
        rest = [{name: value for name, value in each["body"].items() if name != "messages"} for each in (led, ask)]
        assert rest[0] == rest[1]
        assert not rest[0].get("temperature") and rest[0].get("n", 1) == 1
        assert chunk.columns["leader_run"][0] == (None if led["run"] == ask["run"] else led["run"])


def told(system: str, text: str, **more: Any) -> dict[str, Any]:
    return {"body": {"messages": [{"role": "system", "content": system}, {"role": "user", "content": text}], **more}}


KINDS = [
    ("Answer with one label: billing or shipping.", {}, "canonical"),
    ("Translate what the user writes into French.", {}, None),
    ("Extract the names as a list.", {}, None),
    ("Answer with one label: billing or shipping.", {"response_format": {"type": "json_object"}}, None),
    ("Answer with one label: billing or shipping.", {"tools": []}, "canonical"),
    ("Answer with one label: billing or shipping.", {"tools": [TOOL]}, None),
    ("Answer with one label: billing or shipping.", {"functions": [TOOL["function"]]}, None),
]


@pytest.mark.parametrize(("system", "more", "kind"), KINDS)
def test_the_system_prompt_and_the_shape_of_the_answer_say_how_strict_the_task_is(
    system: str, more: dict[str, Any], kind: str | None
) -> None:
    client = Client()
    assert client.ask(told(system, "The parcel from Oslo is late, and I am tired.", **more)) is None
    assert client.ask(told(system, "THE PARCEL FROM OSLO IS LATE, AND I AM TIRED", **more)) == kind


def test_other_words_are_accepted_only_where_a_route_asks_for_it() -> None:
    first = "Tell me quickly where the new card for my account in the old bank is now"
    second = "Tell me where the new plastic card for my account in the old bank is now"
    for by, kind in ((SIFTER, None), (sifter(small={**ROUTES["small"], "paraphrase": True}), "semantic")):
        client = Client()
        assert client.ask(told("You are a kind clerk.", first), by) is None
        assert client.ask(told("You are a kind clerk.", second), by) == kind


@pytest.mark.parametrize(
    ("paused", "kinds"),
    [
        (frozenset(), ["canonical", "edit", "exact"]),
        (frozenset({"small"}), ["canonical", None, "exact"]),
        (frozenset({"small canonical"}), [None, None, "exact"]),
        (frozenset({"large canonical", "large"}), ["canonical", "edit", "exact"]),
    ],
    ids=["nothing", "proofs", "canonical keys", "another route"],
)
def test_a_pause_leaves_what_it_is_not_about(paused: frozenset[str], kinds: list[str | None]) -> None:
    by, client = sifter(), Client()
    by.paused = paused
    system, text = "Answer with one label: billing or shipping.", "The parcel from Oslo is late, and I am tired of it."
    assert client.ask(told(system, text), by) is None
    again = [text.upper(), "The parcle from Oslo is late, and I am tired of it.", text]
    assert [client.ask(told(system, each), by) for each in again] == kinds


FORM = "Product: {}\nMessage: the {} stopped charging after a week, it {}"
THINGS = ["lamp", "clock", "radio", "kettle", "toaster", "mixer", "heater", "camera", "speaker", "printer"]


@pytest.mark.parametrize(
    ("system", "kind"),
    [("Answer with one label: billing or repair.", "canonical"), ("Translate what the user writes into French.", None)],
)
def test_labels_of_fields_do_not_hide_what_the_system_prompt_says(system: str, kind: str | None) -> None:
    client = Client()
    asker = Asker("r1", "acme", Options(route="small", dedupe="semantic"))
    texts = [FORM.format(thing, thing, "is " + thing) for thing in THINGS]
    rows = [Row(at, None, None, told(system, text)["body"], {}) for at, text in enumerate([*texts, texts[0].upper()])]
    chunk = SIFTER.sift(asker, Indexes(client.index, Ids()), rows, 0, ask=True)
    assert chunk.columns["link_kind"] == [None] * len(texts) + [kind]
