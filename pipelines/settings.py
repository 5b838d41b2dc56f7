"""Settings: spillway.toml, overridden by SPILLWAY_* (environment, then .env) and by options; the only reader of the
environment. Every mistake is a ConfigError that names the key, where it stands and the remedy."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.config.mistakes import NAMED_SECTIONS, Layer, cross_checks, did_you_mean, explain, place
from pipelines.config.sections import (
    Budget,
    Client,
    Prices,
    Route,
    Routing,
    Rule,
    Schedule,
    Spillway,
    Target,
    duration_s,
)
from pipelines.config.serving import Api
from pipelines.errors import ConfigError

__all__ = ["DEFAULT_FILE", "Settings", "duration_s", "load_settings", "parse_settings"]

DEFAULT_FILE = Path("spillway.toml")
PREFIX = "SPILLWAY_"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Settings(BaseSettings):
    """The whole configuration; `load_settings` and `parse_settings` build it and check names against each other."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    spillway: Spillway = Spillway()
    api: Api = Api()
    budget: Budget = Budget()
    targets: dict[str, Target] = Field(default_factory=dict)
    routes: dict[str, Route] = Field(default_factory=dict)
    rules: list[Rule] = Field(default_factory=list)
    schedules: dict[str, Schedule] = Field(default_factory=dict)
    clients: dict[str, Client] = Field(default_factory=dict)
    prices: dict[str, Prices] = Field(default_factory=dict)
    routing: Routing = Routing()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load_settings` merges the layers, since it must know where each value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _imply_routes(self) -> Settings:
        """Every target and every served model may be asked for by name, and no [routes] at all means one for all."""
        written = dict(self.routes)
        aliases = {name for each in written.values() for name in each.models}
        if not written and self.targets:
            self.routes["default"] = Route(targets=tuple(self.targets))
        served: dict[str, list[str]] = {}
        for name, target in self.targets.items():
            served.setdefault(name, []).append(name)
            if target.model != name:
                served.setdefault(target.model, []).append(name)
        for name, targets in served.items():
            if name not in self.routes and name not in aliases:
                pattern = next((each for each in written.values() if targets[0] in each.targets), None)
                self.routes[name] = (pattern or _unnamed(name, written)).as_implied(tuple(targets))
        return self


def _unnamed(target: str, written: Mapping[str, Route]) -> Route:
    """The route to a target that none names; who writes in every route that nothing is audited means this one too."""
    silent = written and all(not route.audit_share for route in written.values())
    return Route(targets=(target,), audit_share=0.0) if silent else Route(targets=(target,))


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = Path(".env"),
) -> Settings:
    """Reads `path` (default: spillway.toml when there is one), then SPILLWAY_*, then `overrides` (nested like the
    file); later ones win. Raises ConfigError."""
    environment = {**_dotenv(env_file), **(os.environ if environ is None else environ)}
    file = _read(path)
    options = Layer("options", overrides or {})
    return _build([file, _environment(environment, file.data), options], environment)


def parse_settings(data: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from values alone (a simulation, a test): neither a file nor SPILLWAY_* is read. Raises ConfigError."""
    return _build([Layer("options", data)], environ or {})


def state_folder(data: str) -> Path:
    """Where this machine keeps what the programs of one data root share here: in it where it is a folder. An object store has
    no files that can be appended to, so for one it is a folder of this user."""
    if "://" not in data:
        return Path(data).resolve()
    home = os.environ.get("XDG_STATE_HOME", "")
    known = blake2b(data.rstrip("/").encode(), digest_size=8).hexdigest()
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local/state") / "spillway" / known


def _build(layers: list[Layer], environment: Mapping[str, str]) -> Settings:
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer.data)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        # A misspelt key is also a missing one: the cause is told first.
        details = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        problems = [explain(each, merged) for each in details]
    else:
        problems = list(cross_checks(settings))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        key, message = problems[0]
        raise ConfigError(_UNPRINTABLE.sub(" ", f"{place(key, layers)}: {message}{more}"))
    for name, target in settings.targets.items():
        settings.targets[name] = _with_key(target, environment)
    for name, client in settings.clients.items():
        settings.clients[name] = client.model_copy(
            update={
                "budget": _with_password(client.budget, environment),
                "webhook_secret": _secret(client.webhook_secret, environment),
            }
        )
    budget, api = _with_password(settings.budget, environment), _with_secrets(settings.api, environment)
    return settings.model_copy(update={"budget": budget, "api": api})


def _with_key(target: Target, environment: Mapping[str, str]) -> Target:
    if not (target.key or "").startswith("env:"):
        return target
    variable = (target.key or "")[4:]
    value = environment.get(variable, "").strip()
    return target.with_key(value or None, missing=None if value else variable)


def _with_secrets(api: Api, environment: Mapping[str, str]) -> Api:
    """The admin's key and the secret of [api.jwt], where they name environment variables: without them nobody passes."""
    jwt = api.jwt.model_copy(update={"secret": _secret(api.jwt.secret, environment)}) if api.jwt else None
    return api.model_copy(update={"admin_key": _secret(api.admin_key, environment), "jwt": jwt})


def _secret(given: SecretStr | None, environment: Mapping[str, str]) -> SecretStr | None:
    text = given.get_secret_value() if given else ""
    value = environment.get(text[4:], "").strip() if text.startswith("env:") else text
    return SecretStr(value) if value else None


def _with_password(budget: Budget, environment: Mapping[str, str]) -> Budget:
    """The password of [budget.smtp] and the webhook's secret, where they name environment variables. Without the one, mail
    goes out unsigned; without the other, nothing goes to the webhook."""
    given, smtp = budget.webhook_secret, budget.smtp
    if given is not None:
        budget = budget.model_copy(update={"webhook_secret": _secret(given, environment) or SecretStr("")})
    if smtp is None:
        return budget
    mail = smtp.model_copy(update={"password": _secret(smtp.password, environment)})
    return budget.model_copy(update={"smtp": mail})


def _read(path: Path | None) -> Layer:
    file = path or DEFAULT_FILE
    if path is None and not file.is_file():
        return Layer(str(file), {})
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give --config an existing file") from error
    try:
        text = raw.decode()
        return Layer(str(file), tomllib.loads(text, parse_float=Decimal), text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: is not UTF-8; save the file as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(_syntax(file, text, str(error))) from error


def _syntax(file: Path, text: str, message: str) -> str:
    at = re.search(r" \(at line (\d+), column (\d+)\)", message)
    line, column = (int(at[1]), int(at[2])) if at else (text.count("\n") + 1, 1)
    what = re.sub(r" \(at .*\)$", "", message)
    near = text.splitlines()[line - 1].strip() if line <= len(text.splitlines()) else ""
    key = near.partition("=")[0].strip() if "=" in near else near
    shown = f" at `{key[:40]}`" if key else ""
    return f"{file}:{line}: not valid TOML{shown}: {what} (column {column}); mend this line"


def _dotenv(file: Path | None) -> dict[str, str]:
    if file is None or not file.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(file).items() if value is not None}


def _environment(environment: Mapping[str, str], file: Mapping[str, Any]) -> Layer:
    given: dict[str, str | None] = {}
    for name, value in environment.items():
        if name.upper().startswith(PREFIX):
            given[_nested(name)] = value
    source = EnvSettingsSource(Settings)
    source.env_vars = given
    data = {section: _decode(values, section) for section, values in source().items()}
    for section in NAMED_SECTIONS.keys() & data.keys():
        written = {_fold(name): name for name in file.get(section, {})}
        data[section] = {written.get(_fold(name), name): value for name, value in data[section].items()}
    return Layer("environment", data)


def _nested(variable: str) -> str:
    """SPILLWAY_DATA is short for SPILLWAY_SPILLWAY__DATA. A name that is nearly one of ours is a mistake; one that
    resembles nothing is left alone, since other programs may share the prefix."""
    name = variable.lower()
    section, nested, _ = name.removeprefix(PREFIX.lower()).partition("__")
    if section in Settings.model_fields:
        return name
    if not nested and section in Spillway.model_fields:
        return f"{PREFIX.lower()}spillway__{section}"
    known = [*Settings.model_fields, *(Spillway.model_fields if not nested else ())]
    if nested or get_close_matches(section, known, cutoff=0.75):
        raise ConfigError(f"environment {variable}: unknown variable{did_you_mean(section, known)}")
    return name


def _decode(value: Any, key: str) -> Any:
    """Texts of the environment that hold JSON tables or lists."""
    if isinstance(value, dict):
        return {name: _decode(each, f"{key}__{name}") for name, each in value.items()}
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value, parse_float=Decimal)
        except ValueError as error:
            raise ConfigError(f"environment {PREFIX}{key.upper()}: is not valid JSON ({error}); mend it") from error
    return value


def _fold(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
