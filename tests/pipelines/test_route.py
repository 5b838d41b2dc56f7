from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import route
from pipelines.route import Assignment, Features, Unroutable, assign, complexity, features, tag_words
from pipelines.settings import parse_settings

TARGETS = {"gpu": {"kind": "vllm", "model": "qwen"}, "mini": {"kind": "openai", "model": "gpt-4o-mini"}}
EASY = "Classify this ticket as billing or technical: I was charged twice."
HARD = (
    "Analyze the following design and compare both options step-by-step. Explain why each fails, derive the worst "
    "case, prove the bound and justify every assumption. You must not exceed 500 words.\n- cost\n- latency\n- risk\n"
    "```python\nprint(1)\n```\nWhich one should we choose? When does the choice change?"
)


def chat(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


def table(**sections: Any) -> route.Table:
    return route.table(parse_settings({"targets": TARGETS, **sections}))


def named(table: route.Table, text: str = EASY, tags: dict[str, Any] | None = None, **more: Any) -> str | None:
    found = assign(table, chat(text), tags or {}, **{"input_tokens": len(text) // 4, **more})
    return found.route if isinstance(found, Assignment) else None


TWO = {"small": {"targets": ["gpu"], "max_complexity": 0.6, "models": ["gpt-4o-mini"]}, "large": {"targets": ["mini"]}}


class TestModelsByName:
    @pytest.mark.parametrize(
        ("model", "expected"),
        [("large", "large"), ("gpt-4o-mini", "small"), ("gpu", "gpu"), ("mini", "mini"), ("qwen", "qwen")],
    )
    def test_route_alias_target_or_served_model(self, model: str, expected: str) -> None:
        assert named(table(routes=TWO), model=model) == expected

    def test_a_name_wins_over_rules(self) -> None:
        rules = [{"when": "true", "route": "large"}]
        found = assign(table(routes=TWO, rules=rules), chat(EASY), {}, model="small")
        assert found == Assignment("small", "model")

    def test_the_option_of_the_run_wins_over_the_row(self) -> None:
        found = assign(table(routes=TWO), chat(EASY), {}, model="no-such-model", route="large")
        assert found == Assignment("large", "option")

    def test_an_unknown_name_is_a_value_that_lists_the_known_ones(self) -> None:
        found = assign(table(routes=TWO), chat(EASY), {}, model="gpt-4o-mimi")
        assert isinstance(found, Unroutable)
        assert found.code == "model_not_found"
        assert "did you mean 'gpt-4o-mini'?" in found.message
        assert "gpt-4o-mini, gpu, large, mini, qwen, small" in found.message

    def test_without_targets_nothing_can_be_routed(self) -> None:
        empty = route.table(parse_settings({}))
        for model in (None, "gpt-4o-mini"):
            assert isinstance(assign(empty, chat(EASY), {}, model=model), Unroutable)


class TestRules:
    RULES = (
        {"when": "client == 'acme' and input_tokens > 1000", "route": "large"},
        {"when": "'hard' in tags", "route": "large", "daily_limit": 1},
        {"when": "complexity > 0.7", "route": "large"},
        {"when": "has_schema or 'spam' in labels", "route": "mini"},
        {"when": "priority > 5", "route": "gpu"},
    )

    def routed(self, text: str = EASY, tags: dict[str, Any] | None = None, **more: Any) -> Assignment:
        routes = {"small": {"targets": ["gpu"]}, "large": {"targets": ["mini"]}}
        found = assign(table(routes=routes, rules=list(self.RULES)), chat(text), tags or {}, **more)
        assert isinstance(found, Assignment)
        return found

    def test_the_first_that_holds(self) -> None:
        assert self.routed(tags={"tags": ["hard"]}) == Assignment("large", "rule 2", 1)
        assert self.routed(HARD) == Assignment("large", "rule 3", 2)
        assert self.routed(client="acme", input_tokens=2000).rule == 0
        assert self.routed(has_schema=True).rule == 3
        assert self.routed(labels=("spam", "ham")).rule == 3
        assert self.routed(tags={"priority": "6"}).rule == 4

    def test_none_holds_and_the_strategy_decides(self) -> None:
        assert self.routed() == Assignment("small", "complexity")

    def test_a_spent_limit_passes_on_to_the_next_rule_that_holds(self) -> None:
        tags = {"tags": ["hard"]}
        assert self.routed(HARD, tags, limited={1}).rule == 2
        assert self.routed(HARD, tags, limited={1, 2}) == Assignment("small", "complexity")
        assert self.routed(EASY, tags, limited={1}) == Assignment("small", "complexity")


class TestFactsOfARow:
    def test_metadata_and_columns_are_names(self) -> None:
        rules = [{"when": "tier == 'gold'", "route": "mini"}]
        compiled = table(rules=rules)
        assert named(compiled, tags={"tier": "gold"}) == "mini"
        assert named(compiled, tags={"metadata": {"tier": "gold"}}) == "mini"
        assert named(compiled, tags={"tier": "silver", "metadata": {"tier": "gold"}}) == "default"

    def test_a_column_cannot_pose_as_a_fact(self) -> None:
        compiled = table(rules=[{"when": "client == 'vip' or complexity > 0.9", "route": "mini"}])
        assert named(compiled, tags={"client": "vip", "complexity": 1}, client="acme") == "default"

    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({}, []),
            ({"tags": ["a", "b", 3]}, ["a", "b"]),
            ({"tags": "a, b"}, ["a", "b"]),
            ({"metadata": {"tags": "a,b", "task": "extract"}}, ["a", "b", "extract"]),
            ({"category": "x, y", "urgent": True, "spam": False, "n": 4}, ["x, y", "urgent"]),
            ({"text": "long " * 100}, []),
        ],
    )
    def test_what_in_tags_looks_through(self, tags: dict[str, Any], words: list[str]) -> None:
        assert tag_words(tags) == words


class TestStrategies:
    def test_one_route_needs_no_thought(self) -> None:
        assert assign(table(), chat(HARD), {}) == Assignment("default", "only route")

    def test_complexity_takes_the_narrowest_range_that_covers(self) -> None:
        compiled = table(routes=TWO)
        assert named(compiled, EASY) == "small"
        assert named(compiled, HARD) == "large"

    def test_a_floor_works_as_a_ceiling_does(self) -> None:
        routes = {"small": {"targets": ["gpu"]}, "large": {"targets": ["mini"], "min_complexity": 0.6}}
        assert named(table(routes=routes), EASY) == "small"
        assert named(table(routes=routes), HARD) == "large"

    def test_beyond_every_range_the_hardest_route_answers(self) -> None:
        routes = {
            "a": {"targets": ["gpu"], "max_complexity": 0.01},
            "b": {"targets": ["mini"], "max_complexity": 0.02},
        }
        assert named(table(routes=routes), HARD) == "b"

    def test_keywords_are_whole_words_and_come_first(self) -> None:
        routes = {
            "small": {"targets": ["gpu"]},
            "code": {"targets": ["mini"], "keywords": ["SQL", "c++", "stack trace"]},
        }
        compiled = table(routes=routes)
        assert named(compiled, "Write the sql for this.") == "code"
        assert named(compiled, "Port it to C++, please") == "code"
        assert named(compiled, "Here is the Stack Trace.") == "code"
        assert named(compiled, "Which mysqld is it?") == "small"

    def test_first_is_the_first_of_the_file(self) -> None:
        compiled = table(routes=TWO, routing={"strategy": "first"})
        assert named(compiled, HARD) == "small"

    def test_every_strategy_names_one_of_its_choices(self) -> None:
        choices = table(routes=TWO).choices
        for strategy in route.STRATEGIES.values():
            for text in (EASY, HARD, ""):
                assert strategy(choices, features(chat(text), 10)) in {"small", "large"}


class TestComplexity:
    def test_what_is_counted(self) -> None:
        seen = features(chat("Be brief.", HARD), 90)
        assert seen.input_tokens == 90
        assert seen.reasoning == 9  # analyze compare derive design explain justify prove step-by-step why
        assert seen.code_blocks == 1
        assert seen.items == 3
        assert seen.questions == 2
        assert seen.turns == 2

    def test_the_formula(self) -> None:
        seen = Features(
            input_tokens=1500, reasoning=2, limiting=1, code_blocks=1, items=2, questions=3, turns=4, text=""
        )
        assert complexity(seen) == pytest.approx(1 - 0.5 * 0.75**2 * 0.92 ** (3 + 2 + 1 + 2 + 2))

    def test_the_documented_scale(self) -> None:
        assert complexity(features(chat("What is the capital of France?"), 10)) < 0.1
        assert complexity(features(chat(EASY), 20)) < 0.3
        assert complexity(features(chat(HARD), 100)) > 0.8

    def test_instructions_at_the_end_of_a_long_text_count(self) -> None:
        padding = "word " * 5_000
        assert features(chat(f"{padding} Prove and derive this."), 5_000).reasoning == 2
        assert features(chat(f"Prove and derive this. {padding}"), 5_000).reasoning == 2

    def test_words_of_reasoning_can_be_configured(self) -> None:
        compiled = table(routing={"keywords": ["Quantum"]})
        assert compiled.reasoning == frozenset({b"quantum"})

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"messages": None},
            {"messages": "x"},
            {"messages": [None, 5, {"content": None}, {"content": [None, {"text": 5}, {"type": "image_url"}]}]},
            {"messages": [{"role": "user", "content": "\ud800 lone surrogate"}]},
        ],
    )
    def test_odd_bodies_do_no_harm(self, body: dict[str, Any]) -> None:
        assert 0 <= complexity(features(body, 0)) < 0.2

    def test_content_parts_are_read(self) -> None:
        body = {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Prove it"}, {"type": "image_url"}]}]
        }
        assert features(body, 5).reasoning == 1

    @given(st.text(max_size=300), st.integers(0, 10**7))
    def test_it_stays_between_0_and_1_and_grows_with_length(self, text: str, tokens: int) -> None:
        score = complexity(features(chat(text), tokens))
        assert 0 <= score <= 1
        assert complexity(features(chat(text), tokens + 100)) >= score


class TestRoutesOfAClient:
    def restricted(self, *routes: str, **sections: Any) -> route.Table:
        clients = {"acme": {"routes": list(routes)}, "free": {}}
        settings = parse_settings({"targets": TARGETS, "routes": TWO, "clients": clients, **sections})
        assert named(route.table(settings, "free"), model="large") == "large"
        assert named(route.table(settings, "stranger"), HARD) == "large"
        return route.table(settings, "acme")

    def test_names_of_other_routes_are_unknown_and_not_even_told(self) -> None:
        own = self.restricted("small")
        assert named(own, model="small") == named(own, model="gpt-4o-mini") == "small"
        for name in ("large", "mini", "gpu", "qwen"):
            found = assign(own, chat(EASY), {}, model=name)
            assert isinstance(found, Unroutable) and "large" not in found.message.partition("known:")[2]
        assert isinstance(assign(own, chat(EASY), {}, route="large"), Unroutable)

    def test_rules_and_the_strategy_choose_among_its_own(self) -> None:
        rules = [{"when": "true", "route": "large"}, {"when": "'x' in tags", "route": "small"}]
        own = self.restricted("small", rules=rules)
        assert named(own, HARD) == "small"
        assert assign(own, chat(HARD), {"x": True}) == Assignment("small", "rule 2", 1), "rules keep their numbers"

    def test_a_target_alone_is_a_route_too(self) -> None:
        assert named(self.restricted("gpu"), HARD) == "gpu"
