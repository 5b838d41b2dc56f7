"""Documentation that must keep up with the code: every key of spillway.toml is described, and nothing else is."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from pydantic import create_model

from pipelines.config.mistakes import INNER_SECTIONS, NAMED_SECTIONS, PLAIN_SECTIONS
from pipelines.config.sections import BASE_URLS, KEY_VARIABLES, Kind, Rule, Section
from pipelines.expr import NAMES
from pipelines.route import STRATEGIES
from pipelines.settings import load_settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[Section]] = {**PLAIN_SECTIONS, **NAMED_SECTIONS, "rules": Rule}


def chapter(section: str) -> str:
    """The part of the page under the heading of a section."""
    found = re.search(rf"^## `\[+{section}[\].].*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/configuration.md has no chapter for [{section}]"
    return found[0]


def described(section: str) -> set[str]:
    """The first column of the chapter's first table."""
    rows = chapter(section).partition("| key |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_described_under_its_section_and_no_other(section: str) -> None:
    keys = {field.alias or name for name, field in SECTIONS[section].model_fields.items()}
    assert described(section) == keys


def test_every_key_of_the_inner_tables_is_described() -> None:
    for name, model in INNER_SECTIONS.items():
        table = PAGE.partition(f"| key of `{name}` |")[2].partition("\n\n")[0]
        keys = {field.alias or key for key, field in model.model_fields.items()}
        assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == keys, name


@pytest.mark.parametrize("section", SECTIONS)
def test_plain_defaults_can_be_written_like_that_and_are_those_of_the_code(section: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", chapter(section), re.MULTILINE))
    by_kind = {"lane", "max_concurrency"}  # the page says what they depend on
    for name, field in SECTIONS[section].model_fields.items():
        said = rows[field.alias or name].strip()
        if field.is_required():
            assert not said, f"[{section}] {name} is required and has no default"
        elif isinstance(field.default, bool | int | float | str | Decimal) and name not in by_kind:
            value = tomllib.loads(f"said = {said.strip('`')}")["said"]
            one = create_model("One", **{name: (field.annotation, field)})(**{field.alias or name: value})
            assert getattr(one, name) == field.default, f"[{section}] {name}"


def test_kinds_addresses_and_keys_are_those_of_the_code() -> None:
    page = chapter("targets")
    assert set(re.findall(r"`(\w+)`", page.partition("| `kind` |")[2].partition("Any other")[0])) == set(get_args(Kind))
    for kind, address in BASE_URLS.items():
        assert f"| `{kind}` | `{address}` | {f'`{KEY_VARIABLES[kind]}`' if kind in KEY_VARIABLES else 'none'} |" in page


def test_names_of_conditions_and_strategies_are_described() -> None:
    for name in NAMES:
        assert re.search(rf"^\|.*`{name}`.*\|", chapter("rules"), re.MULTILINE), name
    for strategy in STRATEGIES:
        assert f'`"{strategy}"`' in chapter("routing")


def test_the_example_loads_and_shows_every_section() -> None:
    settings = load_settings(ROOT / "data" / "samples" / "spillway.toml", environ={}, env_file=None)
    for section in (*NAMED_SECTIONS, "rules"):
        assert getattr(settings, section), f"the example has no [{section}]"
    assert settings.routes["small"].targets == ("gpu", "mini", "house")
    assert settings.rules[0].route == "large"


def test_every_variable_of_the_env_example_is_understood(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = [line.removeprefix("#") for line in lines if re.match(r"#?[A-Z][A-Z0-9_]*=", line)]
    names = {line.partition("=")[0] for line in given}
    assert set(KEY_VARIABLES.values()) <= names
    (tmp_path / ".env").write_text("\n".join(given) + "\n")
    example = ROOT / "data" / "samples" / "spillway.toml"
    settings = load_settings(example, environ={}, env_file=tmp_path / ".env")
    assert settings.budget.webhook == "https://hooks.example.com/spillway"
    assert settings.targets["gpu"].max_concurrency == 16
    assert settings.routes["small"].dedupe == "exact"
    assert settings.spillway.timezone == "Europe/Berlin"


def test_decisions_have_their_four_headings() -> None:
    for file in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        headings = re.findall(r"^## (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "What would change our mind"], file.name
