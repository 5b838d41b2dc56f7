"""Every mistake in a configuration is one line that names key, place and remedy; no damage ends in anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings, parse_settings
from tests.pipelines.settings_files import CONTRACT, SMALL, load, refused


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model", "modle", "FILE:3: unknown key `targets.gpu.modle`; did you mean `model`? (and 1 more)"),
        ("[targets.gpu]", "[target.gpu]", "FILE:1: unknown key `target`; did you mean `targets`?"),
        ('["gpu"]', '["gpx"]', "FILE:6: `routes.small.targets` names the target 'gpx', which does not exist"),
        ('route = "small"', 'route = "smal"', "FILE:10: `rules[1].route` names the route 'smal', which does not exist"),
        ("> 0.8", "> ", "FILE:9: `rules[1].when` column 13: "),
        ("complexity", "exit()", "FILE:9: `rules[1].when` column 1: "),
        ('"lmstudio"', '"lmstudo"', "FILE:2: `targets.gpu.kind` = 'lmstudo' should be 'openai', "),
        ('kind = "lmstudio"\n', "", "FILE:1: `targets.gpu.kind` is missing; add `kind = …`"),
        ('"lmstudio"', '"runpod"', "FILE:1: `targets.gpu.base_url` is missing: kind 'runpod' has no address"),
        ('"q"', '""', "FILE:3: `targets.gpu.model` = '' should not be empty"),
        ('"q"', '"q"\nwatts = 5', "FILE:4: `targets.gpu.watts` needs `usd_per_kwh` beside it"),
        ('"q"', '"q"\nmax_concurrency = "many"', "FILE:4: `targets.gpu.max_concurrency` = 'many' should be \"auto\""),
        ('"q"', '"q"\nmax_concurrency = 0', "FILE:4: `targets.gpu.max_concurrency` = '0' should be \"auto\""),
        ('"q"', '"q"\ntimeout_s = inf', "FILE:4: `targets.gpu.timeout_s` = 'Infinity' should be a finite number"),
        ('"q"', '"q"\nbase_url = "localhost:1"', "FILE:4: `targets.gpu.base_url` should be an address such as"),
        ('"q"', '"q"\ninput_usd_per_mtok = 1', "FILE:1: `targets.gpu` needs both input_usd_per_mtok and"),
        ('["gpu"]', '["gpu"]\nreuse_for = 24', "FILE:7: `routes.small.reuse_for` = '24' should be a duration such as"),
        ('["gpu"]', "[]", "FILE:6: `routes.small.targets` should not be empty"),
        (
            '["gpu"]',
            '["gpu"]\nmodels = ["x"]\n[routes.b]\ntargets = ["gpu"]\nmodels = ["x"]',
            "FILE:10: `routes.b.mode",
        ),
        (
            '["gpu"]',
            '["gpu"]\nmodels = ["b"]\n[routes.b]\ntargets = ["gpu"]',
            "FILE:7: `routes.small.models` names 'b'",
        ),
        ('["gpu"]', '["gpu"]\nmin_complexity = 0.9\nmax_complexity = 0.1', "FILE:7: `routes.small.min_complexity` is"),
        (
            'route = "small"',
            'route = "small"\n[budget]\ndaily_usd = -3',
            "FILE:12: `budget.daily_usd` = '-3' should be",
        ),
        (
            'route = "small"',
            'route = "small"\n[budget]\ndaily_usd = nan',
            "FILE:12: `budget.daily_usd` = 'NaN' should be",
        ),
        ('route = "small"', 'route = "small"\n[clients."a/../b"]', "FILE:11: `clients` has the name 'a/../b'"),
        ('route = "small"', 'route = "small"\n[routing]\nstrategy = "compelxity"', "FILE:12: `routing.strategy` names"),
        ('route = "small"', 'route = "small"\n[spillway]\ntimezone = "Mars/X"', "FILE:12: `spillway.timezone` = 'Mars"),
        (
            'route = "small"',
            'route = "small"\n[schedules.a]\nsource = "x"\ncron = "daily"',
            "FILE:13: `schedules.a.cron`",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nmarkup = 0.1\nshare_of_savings = 0.1',
            "FILE:12: `clients.a` has both",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nmarkup = 0.1\nprice_per_mtokens_in = 1\nprice_per_mtokens_out = 2',
            "FILE:12: `clients.a` has both markup and price_per_mtokens_in; keep one",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nprice_per_mtokens_out = 2',
            "FILE:12: `clients.a` needs both price_per_mtokens_in and price_per_mtokens_out",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nroutes = ["smal"]',
            "FILE:12: `clients.a.routes` names the route 'smal', which does not exist; did you mean `small`?",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nfree_tokens = 2',
            "FILE:12: `clients.a` has free_tokens without prices",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nquota = { rows_a_day = 1 }',
            "FILE:12: unknown key `clients.a.quota.rows_a_day`; did you mean `rows_per_day`?",
        ),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nquota = { rows_per_day = 0 }',
            "FILE:12: `clients.a.quota.rows_per_day` = '0' should be",
        ),
        (
            'route = "small"',
            'route = "small"\n[schedules.a]\nsource = "x"\ncron = "0 0 30 2 *"',
            "FILE:13: `schedules.a.cron` = '0 0 30 2 *' is no time that ever comes",
        ),
        (
            'route = "small"',
            'route = "small"\n[schedules.a]\ncron = "0 2 * * *"\nsource = "x"\nlabels = ["a", "b"]\nschema = "s"',
            "FILE:14: `schedules.a` has both labels and schema",
        ),
        (
            'route = "small"',
            'route = "small"\n[schedules.a]\ncron = "0 2 * * *"\nsource = "x"\nclient = "../b"',
            "FILE:14: `schedules.a.client` = '../b' is not a name",
        ),
        ("[targets.gpu]\n", "[targets.gpu\n", "FILE:1: not valid TOML at `[targets.gpu`: "),
        ('"lmstudio"', '"lmstudio', "FILE:2: not valid TOML at `kind`: "),
        ('model = "q"', 'model = "q"\nmodel = "r"', "FILE:4: not valid TOML at `model`: "),
        ('model = "q"', 'model = "q"\n[targets]\nb = 5', "FILE:5: `targets.b` = '5' should be a table"),
        ('"lmstudio"', '["lmstudio"]', "FILE:2: `targets.gpu.kind` should be 'openai', "),
        ('route = "small"', 'route = "small"\nlimit = 5', "FILE:11: unknown key `rules[1].limit`; did you mean `da"),
        (
            'route = "small"',
            'route = "small"\n[clients.a]\nbudget = { dayly = 1 }',
            "FILE:12: unknown key `clients.a.budget.dayly`; use one of alert_at, daily_usd, ",
        ),
        (
            'route = "small"',
            'route = "small"\n[schedules.a]\ncron = "0 2 * * *"\nsource = "x"\nroute = "smal"',
            "FILE:14: `schedules.a.route` names the route 'smal', which does not exist; did you mean `small`?",
        ),
        (SMALL, '[routes.a]\ntargets = ["gpu"]', "FILE:2: `routes.a.targets` names the target 'gpu', which does not"),
        (SMALL, '["a\\u001b[31m"]\nb = 1', "FILE: unknown key `a [31m`; use one of api, budget, "),
        (SMALL, "targets = 5", "FILE:1: `targets` = '5' should be a table"),
    ],
)
def test_a_mistake_is_named_with_its_key_line_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert refused(tmp_path, SMALL.replace(old, new)).startswith(message)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "SPILLWAY_BUDGET__DAYLY_USD",
            "3",
            "environment SPILLWAY_BUDGET__DAYLY_USD: unknown key `budget.dayly_usd`; did",
        ),
        ("SPILLWAY_REDIS_ULR", "x", "environment SPILLWAY_REDIS_ULR: unknown variable; did you mean `redis_url`?"),
        (
            "SPILLWAY_BUGET__DAILY_USD",
            "3",
            "environment SPILLWAY_BUGET__DAILY_USD: unknown variable; did you mean `bud",
        ),
        ("SPILLWAY_RULES", "[3", "environment SPILLWAY_RULES: is not valid JSON"),
        (
            "SPILLWAY_TARGETS__GPU__TIMEOUT_S",
            "x",
            "environment SPILLWAY_TARGETS__GPU__TIMEOUT_S: `targets.gpu.timeout_s",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    assert refused(tmp_path, SMALL, {variable: value}).startswith(message)


def test_a_mistake_in_an_option_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^options: `budget.daily_usd` = 'much' should be a valid decimal"):
        load(tmp_path, SMALL, overrides={"budget": {"daily_usd": "much"}})


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "spillway.toml"
    file.write_bytes(b"# x\n# \xff\n")
    with pytest.raises(ConfigError, match=r"spillway\.toml:2: is not UTF-8"):
        load_settings(file, environ={})


@given(st.data())
def test_no_damage_to_a_file_ends_in_anything_but_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = CONTRACT
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 40, len(text))))
        text = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    file = tmp_path_factory.getbasetemp() / "damaged.toml"
    file.write_text(text)
    try:
        load_settings(file, environ={}, env_file=None)
    except ConfigError as error:
        assert "\n" not in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SECTION = st.sampled_from([*Settings.model_fields, "other"])
KEY = st.sampled_from(["a", "kind", "model", "data", "targets", "daily_usd", "when", "route"])
TABLE = st.dictionaries(KEY, JSON | st.dictionaries(KEY, JSON))


@given(st.dictionaries(SECTION, JSON | TABLE | st.lists(TABLE, max_size=2)))
def test_no_value_in_any_section_ends_in_anything_but_one_line(values: dict[str, Any]) -> None:
    try:
        parse_settings(values)
    except ConfigError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["vllm", "cerebras", "ollama"])
def test_a_target_without_a_batch_api_is_not_taken_for_one_that_has_it(kind: str) -> None:
    target = {"kind": kind, "model": "m", "lane": "cloud", "base_url": "http://127.0.0.1:9/v1", "provider_batch": True}
    with pytest.raises(
        ConfigError, match="provider_batch is for cloud targets of kind openai, anthropic, gemini, openrouter"
    ):
        parse_settings({"targets": {"it": target}})
    assert parse_settings({"targets": {"it": {**target, "kind": "openai"}}}).targets["it"].provider_batch
