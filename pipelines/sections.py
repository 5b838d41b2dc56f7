"""The sections of spillway.toml as checked values with their defaults; reading the file is settings.py's work."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

Lane = Literal["local", "cloud"]
Kind = Literal[
    "openai", "lmstudio", "ollama", "vllm", "llamacpp", "anthropic", "gemini", "openrouter", "cerebras", "runpod",
    "huggingface", "simulator",
]  # fmt: skip
Dedupe = Literal["off", "exact", "semantic"]

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "lmstudio": "http://localhost:1234/v1",
    "ollama": "http://localhost:11434/v1",
    "vllm": "http://localhost:8000/v1",
    "llamacpp": "http://localhost:8080/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "openrouter": "https://openrouter.ai/api/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "huggingface": "https://router.huggingface.co/v1",
}
LOCAL_KINDS = frozenset({"lmstudio", "ollama", "vllm", "llamacpp"})
KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "huggingface": "HF_TOKEN",
}
CLOUD_CONCURRENCY = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_TERM = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration_s(value: object) -> float:
    """Seconds of a duration written 45s, 30m, 2h, 1d or 1h30m; ValueError for anything else, a bare number included."""
    text = str(value).strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError("should be a duration such as 45s, 30m, 2h or 1d")
    return float(sum(Decimal(number) * _UNIT_S[unit] for number, unit in _TERM.findall(text)))


def _duration(value: object) -> float:
    # A default or a copied section holds seconds already; from a file or the environment only text comes.
    return value if type(value) is float else duration_s(value)


def _names(value: object) -> object:
    """An environment variable holds one text: a list is written there with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _concurrency(value: object) -> object:
    text = str(value).strip().lower()
    if text == "auto":
        return "auto"
    if isinstance(value, bool) or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise ValueError('should be "auto" or a whole number of at least 1')
    return int(text)


def _address(value: object) -> str:
    text = str(value).strip().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
        raise ValueError("should be an address such as http://localhost:1234/v1")
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("must not hold a password; use api_key")
    return text


def _webhook(value: object) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"https?://[^\s/?#]+\S*", text):
        raise ValueError("should be an address such as https://example.org/hooks/spillway")
    return text


def _redis_url(value: object) -> str:
    text = str(value)
    if text != "embedded" and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError('should be "embedded", redis://…, rediss://… or unix://…')
    return text


def _timezone(value: object) -> str:
    text = str(value)
    if text == "UTC":
        return text
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(text)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError("should be a time zone such as UTC or Europe/Berlin") from error
    return text


def _cron(value: object) -> str:
    from pipelines.cron import checked  # croniter comes with it, and few have schedules

    return checked(str(value))


Duration = Annotated[float, BeforeValidator(_duration)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Usd = Annotated[Decimal, Field(ge=0, max_digits=20, decimal_places=12)]
Share = Annotated[float, Field(ge=0, le=1)]
Tokens = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """What every section shares: unknown keys, NaN and changes after loading are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, str_strip_whitespace=True
    )


class Spillway(Section):
    data: str = Field(default="data", min_length=1)
    redis_url: Annotated[str, BeforeValidator(_redis_url)] = Field(default="embedded", repr=False)
    timezone: Annotated[str, BeforeValidator(_timezone)] = "UTC"
    keep_response: bool = True
    index_prompts: Annotated[int, Field(ge=1_000)] = 2_000_000
    prefix: str = Field(default="spillway", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


class Smtp(Section):
    """How alerts are mailed."""

    host: str = Field(min_length=1)
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    user: str | None = None
    password: SecretStr | None = None
    sender: str = Field(min_length=3, alias="from")
    to: Names = Field(min_length=1)
    starttls: bool = True

    @property
    def secret(self) -> str | None:
        """The password itself; for the log-in and nothing else."""
        return self.password.get_secret_value() if self.password else None


class Budget(Section):
    daily_usd: Usd | None = None
    monthly_usd: Usd | None = None
    alert_at: Share = 0.8
    emergency_cutoff_usd: Usd | None = None
    webhook: Annotated[str, BeforeValidator(_webhook)] | None = Field(default=None, repr=False)
    smtp: Smtp | None = None


class Prices(Section):
    """A price that the configuration states; it wins over every price list."""

    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None
    batch_discount: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    as_of: date | None = None


class Target(Section):
    lane: Lane = "cloud"
    kind: Kind
    model: str = Field(min_length=1)
    base_url: Annotated[str, BeforeValidator(_address)] | None = None
    provider: str | None = None
    api_key: SecretStr | None = None
    max_concurrency: Annotated[int | Literal["auto"], BeforeValidator(_concurrency)] = CLOUD_CONCURRENCY
    rpm: Tokens | None = None
    tpm: Tokens | None = None
    context_tokens: Tokens | None = None
    max_output_tokens: Tokens = 4096
    timeout_s: Seconds = 120.0
    connect_timeout_s: Seconds = 5.0
    watts: Annotated[Decimal, Field(ge=0)] | None = None
    usd_per_kwh: Usd | None = None
    provider_batch: bool = False
    max_paid_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    structured_output: bool = True
    input_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None
    batch_discount: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    price_as_of: date | None = None

    _key_variable: str | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kind = str(data.get("kind"))
        filled = {"lane": "local" if kind in LOCAL_KINDS else "cloud", "base_url": BASE_URLS.get(kind), **data}
        filled.setdefault("max_concurrency", "auto" if filled["lane"] == "local" else CLOUD_CONCURRENCY)
        # The vendor's key is sent to the vendor's own address only, never to one that the file names.
        if "base_url" not in data and kind in KEY_VARIABLES:
            filled.setdefault("api_key", f"env:{KEY_VARIABLES[kind]}")
        return filled

    @property
    def key(self) -> str | None:
        """The secret itself; for the request header and nothing else."""
        return self.api_key.get_secret_value() if self.api_key else None

    @property
    def key_variable(self) -> str | None:
        """The environment variable that should hold the key and does not."""
        return self._key_variable

    def with_key(self, key: str | None, *, missing: str | None = None) -> Target:
        copy = self.model_copy(update={"api_key": SecretStr(key) if key else None})
        copy._key_variable = missing
        return copy


class Route(Section):
    targets: Names = Field(min_length=1)
    models: Names = ()
    dedupe: Dedupe = "semantic"
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    reuse_for: Duration = 86_400.0
    merge_samples: bool = False
    audit_share: Share = 0.01
    max_false_reuse: Share = 0.005
    keywords: Names = ()
    min_complexity: Share = 0.0
    max_complexity: Share = 1.0
    task: Literal["", "closed", "open", "strict"] = ""
    paraphrase: bool = False

    _implied: bool = PrivateAttr(False)

    @property
    def implied(self) -> bool:
        """True for the routes that every configuration has without writing them: one per target, and `default`."""
        return self._implied

    def as_implied(self, targets: tuple[str, ...], models: tuple[str, ...] = ()) -> Route:
        copy = self.model_copy(update={"targets": targets, "models": models})
        copy._implied = True
        return copy


class Rule(Section):
    when: str = Field(min_length=1)
    route: str
    daily_limit: Annotated[int, Field(ge=0)] | None = None


class Routing(Section):
    strategy: str = "complexity"
    keywords: Names = ()


class Schedule(Section):
    cron: Annotated[str, BeforeValidator(_cron)]
    source: Names = Field(min_length=1)
    deadline: Duration | None = None
    client: str | None = None
    route: str | None = None
    template: str | None = None
    output_schema: str | None = Field(default=None, alias="schema")
    labels: Names = ()
    budget: Usd | None = None
    dedupe: Dedupe | None = None


class Client(Section):
    budget: Budget = Budget()
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    markup: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    share_of_savings: Annotated[Decimal, Field(ge=0, le=1)] | None = None
