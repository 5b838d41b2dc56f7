from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.settings import Settings, duration_s, load_settings, parse_settings

CONTRACT = """
[spillway]
data = "data"
redis_url = "embedded"
timezone = "UTC"

[budget]
daily_usd = 10.00
monthly_usd = 200.00
alert_at = 0.8
emergency_cutoff_usd = 12.00

[targets.gpu]
lane = "local"
kind = "lmstudio"
base_url = "http://localhost:1234/v1"
model = "qwen2.5-14b-instruct"
max_concurrency = "auto"
watts = 350
usd_per_kwh = 0.30

[targets.mini]
lane = "cloud"
kind = "openai"
model = "gpt-4o-mini"
api_key = "env:OPENAI_API_KEY"
rpm = 5000
tpm = 2_000_000
provider_batch = true

[routes.small]
targets = ["gpu", "mini"]
models = ["gpt-4o-mini"]
dedupe = "semantic"
similarity = 0.95
reuse_for = "24h"

[routes.large]
targets = ["mini"]

[[rules]]
when = "complexity > 0.8 or 'pattern_recognition' in tags"
route = "large"
daily_limit = 20

[schedules.nightly]
cron = "0 2 * * *"
source = "inbox/*.jsonl"
deadline = "6h"

[clients.acme]
budget = { daily_usd = 5.00 }
weight = 1
markup = 0.20
"""

SMALL = """[targets.gpu]
kind = "lmstudio"
model = "q"

[routes.small]
targets = ["gpu"]

[[rules]]
when = "complexity > 0.8"
route = "small"
"""


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, **more: Any) -> Settings:
    file = tmp_path / "spillway.toml"
    file.write_text(text)
    return load_settings(file, environ=environ or {}, env_file=more.pop("env_file", None), **more)


def refused(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / "spillway.toml"), "FILE")


def test_the_example_of_the_contract(tmp_path: Path) -> None:
    settings = load(tmp_path, CONTRACT, {"OPENAI_API_KEY": "sk-1"})
    assert settings.budget.daily_usd == Decimal("10.00")
    assert settings.targets["gpu"].max_concurrency == "auto"
    assert settings.targets["mini"].max_concurrency == 64
    assert settings.targets["mini"].key == "sk-1"
    assert settings.routes["small"].reuse_for == 86_400
    assert settings.schedules["nightly"].source == ("inbox/*.jsonl",)
    assert settings.schedules["nightly"].deadline == 21_600
    assert settings.clients["acme"].budget.daily_usd == Decimal("5.00")
    assert settings.clients["acme"].markup == Decimal("0.20")
    assert settings.rules[0].daily_limit == 20


def test_money_is_read_as_written_and_not_through_a_float(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL + "[budget]\ndaily_usd = 0.1\nmonthly_usd = 1_000.000000000001\n")
    assert settings.budget.daily_usd == Decimal("0.1")
    assert settings.budget.monthly_usd == Decimal("1000.000000000001")


def test_nothing_configured_is_a_configuration() -> None:
    settings = parse_settings({})
    assert settings.targets == {}
    assert settings.spillway.redis_url == "embedded"
    assert settings.spillway.keep_response is True


def test_no_file_is_no_mistake_unless_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).targets == {}
    with pytest.raises(ConfigError, match=r"there\.toml: cannot be read"):
        load_settings(Path("there.toml"), environ={})


def test_the_default_file_and_dotenv_are_found_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spillway.toml").write_text(SMALL)
    Path(".env").write_text("SPILLWAY_DATA=elsewhere\nUNRELATED=1\n")
    settings = load_settings(environ={})
    assert settings.spillway.data == "elsewhere"
    assert "gpu" in settings.targets


def test_defaults_by_kind() -> None:
    targets = parse_settings(
        {
            "targets": {
                "a": {"kind": "ollama", "model": "m"},
                "b": {"kind": "anthropic", "model": "m"},
                "c": {"kind": "openai", "model": "m", "lane": "local", "base_url": "http://10.0.0.1:9/v1/"},
            }
        }
    ).targets
    assert [each.lane for each in targets.values()] == ["local", "cloud", "local"]
    assert targets["a"].base_url == "http://localhost:11434/v1"
    assert targets["c"].base_url == "http://10.0.0.1:9/v1"
    assert [each.max_concurrency for each in targets.values()] == ["auto", 64, "auto"]


@pytest.mark.parametrize(
    ("kind", "given", "used"),
    [
        ("lmstudio", "http://localhost:1234", "http://localhost:1234/v1"),  # as the server's window shows it
        ("lmstudio", "http://localhost:1234/", "http://localhost:1234/v1"),
        ("vllm", "http://[::1]:8000", "http://[::1]:8000/v1"),
        ("llamacpp", "http://box:8080/llm", "http://box:8080/llm"),
        ("lmstudio", "http://localhost:1234/v1", "http://localhost:1234/v1"),
        ("openai", "http://localhost:9", "http://localhost:9"),  # nobody knows where that one has it
    ],
)
def test_a_bare_address_of_a_known_local_server_is_understood(kind: str, given: str, used: str) -> None:
    settings = parse_settings({"targets": {"it": {"kind": kind, "model": "m", "base_url": given}}})
    assert settings.targets["it"].base_url == used


class TestLayers:
    def test_environment_over_dotenv_over_file_and_options_over_all(self, tmp_path: Path) -> None:
        dotenv = tmp_path / ".env"
        dotenv.write_text("SPILLWAY_TIMEZONE=Europe/Berlin\nSPILLWAY_DATA=dotenv\nSPILLWAY_PREFIX=dotenv\n")
        settings = load(
            tmp_path,
            '[spillway]\ndata = "file"\nprefix = "file"\nredis_url = "redis://file"\n',
            {"SPILLWAY_DATA": "environ", "SPILLWAY_PREFIX": "environ"},
            env_file=dotenv,
            overrides={"spillway": {"data": "option"}},
        )
        section = settings.spillway
        assert section.data == "option"
        assert section.prefix == "environ"
        assert section.timezone == "Europe/Berlin"
        assert section.redis_url == "redis://file"

    def test_one_value_of_a_table_can_be_overridden(self, tmp_path: Path) -> None:
        environ = {"SPILLWAY_TARGETS__GPU__MAX_CONCURRENCY": "8", "SPILLWAY_BUDGET__DAILY_USD": "0.10"}
        settings = load(tmp_path, SMALL, environ)
        assert settings.targets["gpu"].max_concurrency == 8
        assert settings.targets["gpu"].model == "q"
        assert settings.budget.daily_usd == Decimal("0.10")

    def test_names_that_a_variable_cannot_spell_are_found(self, tmp_path: Path) -> None:
        text = SMALL.replace("targets.gpu", "targets.My-GPU").replace('["gpu"]', '["My-GPU"]')
        settings = load(tmp_path, text, {"SPILLWAY_TARGETS__MY_GPU__MODEL": "other"})
        assert settings.targets["My-GPU"].model == "other"

    def test_a_whole_target_may_come_from_the_environment(self) -> None:
        environ = {
            "SPILLWAY_TARGETS__GPU__KIND": "vllm",
            "SPILLWAY_TARGETS__GPU__MODEL": "m",
            "SPILLWAY_ROUTES__R__TARGETS": "gpu",
            "SPILLWAY_ROUTES__R__MODELS": '["a", "b"]',
            "SPILLWAY_RULES": '[{"when": "input_tokens > 5", "route": "r"}]',
        }
        settings = load_settings(environ=environ, env_file=None)
        assert settings.targets["gpu"].base_url == "http://localhost:8000/v1"
        assert settings.routes["r"].targets == ("gpu",)
        assert settings.routes["r"].models == ("a", "b")
        assert settings.rules[0].route == "r"

    def test_variables_of_other_programs_are_left_alone(self) -> None:
        assert load_settings(environ={"SPILLWAY_PORT": "1", "PATH": "x"}, env_file=None) == parse_settings({})

    def test_parse_settings_reads_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPILLWAY_DATA", "elsewhere")
        monkeypatch.setenv("SPILLWAY_SPILLWAY__DATA", "elsewhere")
        assert parse_settings({}).spillway.data == "data"


class TestKeys:
    def test_a_key_comes_from_its_variable_and_is_never_shown(self, tmp_path: Path) -> None:
        text = SMALL.replace('model = "q"', 'model = "q"\napi_key = "env:MY_KEY"')
        settings = load(tmp_path, text, {"MY_KEY": " sk-secret \n"})
        assert settings.targets["gpu"].key == "sk-secret"
        for shown in (repr(settings), str(settings), settings.model_dump_json()):
            assert "sk-secret" not in shown

    def test_a_missing_variable_is_named_and_no_mistake_yet(self, tmp_path: Path) -> None:
        target = load(tmp_path, SMALL.replace('"q"', '"q"\napi_key = "env:MY_KEY"')).targets["gpu"]
        assert (target.key, target.key_variable) == (None, "MY_KEY")

    def test_dotenv_holds_keys_too(self, tmp_path: Path) -> None:
        dotenv = tmp_path / ".env"
        dotenv.write_text('OPENAI_API_KEY="sk-dotenv"\n')
        settings = load(tmp_path, '[targets.a]\nkind = "openai"\nmodel = "m"\n', env_file=dotenv)
        assert settings.targets["a"].key == "sk-dotenv"

    def test_the_vendors_key_goes_to_the_vendors_address_only(self) -> None:
        target = {"kind": "openai", "model": "m"}
        data = {"targets": {"vendor": target, "other": {**target, "base_url": "http://example.org/v1"}}}
        targets = parse_settings(data, environ={"OPENAI_API_KEY": "sk-1"}).targets
        assert targets["vendor"].key == "sk-1"
        assert targets["other"].key is None

    @pytest.mark.parametrize(
        ("line", "secret"),
        [("api_key = 12345", "12345"), ("base_url = 'http://u:hunter2@h/v1'", "hunter2")],
    )
    def test_a_wrong_secret_is_not_quoted(self, tmp_path: Path, line: str, secret: str) -> None:
        assert secret not in refused(tmp_path, SMALL.replace('model = "q"', f'model = "q"\n{line}'))

    def test_the_password_of_redis_is_not_shown(self, tmp_path: Path) -> None:
        settings = load(tmp_path, '[spillway]\nredis_url = "redis://:hunter2@h"\n')
        assert "hunter2" not in repr(settings)
        assert "hunter2" not in refused(tmp_path, '[spillway]\nredis_url = "http://:hunter2@h"\n')


class TestImpliedRoutes:
    def test_without_routes_one_route_holds_every_target(self) -> None:
        data = {"targets": {"a": {"kind": "vllm", "model": "m"}, "b": {"kind": "openai", "model": "n"}}}
        routes = parse_settings(data).routes
        assert routes["default"].targets == ("a", "b")
        assert not routes["default"].implied

    def test_targets_and_their_models_may_be_asked_for(self) -> None:
        data = {
            "targets": {
                "a": {"kind": "vllm", "model": "m"},
                "b": {"kind": "openai", "model": "m"},
                "c": {"kind": "openai", "model": "alias"},
            },
            "routes": {"small": {"targets": ["a"], "models": ["alias"], "dedupe": "off"}},
        }
        routes = parse_settings(data).routes
        assert routes["b"].targets == ("b",)
        assert routes["m"].targets == ("a", "b")
        assert routes["a"].implied
        assert routes["a"].dedupe == "off"  # as the route that lists the target says
        assert routes["b"].dedupe == "semantic"
        assert routes["a"].models == ()
        assert "alias" not in routes  # the written alias is the one that counts


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


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("30m", 1800), ("2h", 7200), ("1d", 86_400)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("1h30m", 5400), (" 1.5h ", 5400), ("0s", 0), ("2H", 7200)])
def test_durations_in_other_clothes(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", 5, 5.0, "-1h", "1w", "h", "1 h x", "１h", None, "1e3s"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="45s, 30m, 2h or 1d"):
        duration_s(text)


def test_importing_settings_loads_nothing_heavy() -> None:
    script = (
        "import sys, pipelines.settings\n"
        "heavy = {'numpy', 'polars', 'pyarrow', 'genai_prices', 'tiktoken', 'jsonschema_rs', 'redis', 'httpx'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""


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
