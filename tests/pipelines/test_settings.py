from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from pipelines.settings import duration_s, load_settings, parse_settings
from tests.pipelines.settings_files import CONTRACT, SMALL, load, refused


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
        ("written", "share"), [({}, 0.01), ({"small": 0.0}, 0.0), ({"small": 0.0, "large": 0.5}, 0.01)]
    )
    def test_where_no_route_audits_anything_a_target_that_none_names_does_not_either(
        self, written: dict[str, float], share: float
    ) -> None:
        data = {
            "targets": {"a": {"kind": "vllm", "model": "m"}, "b": {"kind": "openai", "model": "n"}},
            "routes": {name: {"targets": ["a"], "audit_share": each} for name, each in written.items()},
        }
        routes = parse_settings(data).routes
        assert routes["b"].audit_share == routes["n"].audit_share == share


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
