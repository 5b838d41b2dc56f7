"""The sections of spillway.toml as checked values with their defaults; reading the file is settings.py's work."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from pipelines.audit import MOST_FALSE
from pipelines.config.checked import (
    Address,
    Concurrency,
    Cron,
    Duration,
    Names,
    RedisUrl,
    Seconds,
    Share,
    Timezone,
    Tokens,
    Usd,
    Webhook,
)
from pipelines.config.checked import duration_s as duration_s

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
BATCH_APIS = {
    "openai": "openai_batches",
    "simulator": "openai_batches",
    "anthropic": "anthropic_batches",
    "gemini": "gemini_batches",
    "openrouter": "openrouter_batches",
}
"""Kinds whose provider has an asynchronous batch API, and the file of worker/backends that speaks it."""
CLOUD_CONCURRENCY = 64
UNLIMITED_TOKENS = 256
"""What an answer that nobody limits is taken for where a server of one's own has a limit of tokens a minute."""
_BARE = re.compile(r"https?://[^/?#]+/?")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Section(BaseModel):
    """What every section shares: unknown keys, NaN and changes after loading are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, str_strip_whitespace=True
    )


class Spillway(Section):
    data: str = Field(default="data", min_length=1)
    redis_url: RedisUrl = Field(default="embedded", repr=False)
    timezone: Timezone = "UTC"
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
    webhook: Webhook | None = Field(default=None, repr=False)
    webhook_secret: SecretStr | None = None
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
    served_as: Names = ()
    base_url: Address | None = None
    api: Literal["chat", "responses"] = "chat"
    provider: str | None = None
    api_key: SecretStr | None = None
    max_concurrency: Concurrency = CLOUD_CONCURRENCY
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
    _measured_parallel: int | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kind = str(data.get("kind"))
        filled = {"lane": "local" if kind in LOCAL_KINDS else "cloud", "base_url": BASE_URLS.get(kind), **data}
        if kind in LOCAL_KINDS and _BARE.fullmatch(str(filled["base_url"]).strip()):  # as these servers print it
            filled["base_url"] = f"{str(filled['base_url']).strip().rstrip('/')}/v1"
        filled.setdefault("max_concurrency", "auto" if filled["lane"] == "local" else CLOUD_CONCURRENCY)
        # The vendor's key is sent to the vendor's own address only, never to one that the file names.
        if "base_url" not in data and kind in KEY_VARIABLES:
            filled.setdefault("api_key", f"env:{KEY_VARIABLES[kind]}")
        return filled

    @model_validator(mode="after")
    def _api_of_kind(self) -> Self:
        if self.api != "chat" and self.kind != "openai":
            raise ValueError(f'api = "{self.api}" is for kind = "openai"; remove it')
        return self

    @model_validator(mode="after")
    def _has_batches(self) -> Self:
        if self.provider_batch and (self.kind not in BATCH_APIS or self.lane == "local"):
            known = ", ".join(kind for kind in BATCH_APIS if kind != "simulator")
            raise ValueError(f"provider_batch is for cloud targets of kind {known}; remove it")
        return self

    @property
    def key(self) -> str | None:
        """The secret itself; for the request header and nothing else."""
        return self.api_key.get_secret_value() if self.api_key else None

    @property
    def key_variable(self) -> str | None:
        """The environment variable that should hold the key and does not."""
        return self._key_variable

    @property
    def concurrency(self) -> int | Literal["auto"]:
        """As configured; where "auto" begins, if that was measured."""
        return self._measured_parallel or self.max_concurrency

    def charged_tokens(self, input_tokens: int, limit_tokens: int, rows: int = 1) -> int:
        """What its tokens a minute must have for calls: each answer's limit counts before a word of it is written, as providers
        count, and a paid call always has one. `limit_tokens`: of all rows together; 0: they name none."""
        usual = self.max_output_tokens if self.lane == "cloud" else UNLIMITED_TOKENS
        return input_tokens + (limit_tokens or rows * usual)

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing but energy."""
        return self.lane == "local" and self.input_usd_per_mtok is None and self.output_usd_per_mtok is None

    def beginning_at(self, parallel: int) -> Target:
        """With what was measured of it, for "auto" to begin with."""
        copy = self.model_copy()
        copy._measured_parallel = parallel
        return copy

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
    max_false_reuse: Share = MOST_FALSE
    keywords: Names = ()
    min_complexity: Share = 0.0
    max_complexity: Share = 1.0
    task: Literal["", "closed", "open", "strict"] = ""
    paraphrase: bool = False
    min_quality: dict[str, Share] = Field(default_factory=dict)

    _implied: bool = PrivateAttr(False)

    @property
    def implied(self) -> bool:
        """True for the routes that every configuration has without writing them: one per target, and `default`."""
        return self._implied

    def as_implied(self, targets: tuple[str, ...], models: tuple[str, ...] = ()) -> Route:
        copy = self.model_copy(update={"targets": targets, "models": models, "min_quality": {}})
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
    cron: Cron
    source: Names = Field(min_length=1)
    deadline: Duration | None = None
    client: str | None = None
    route: str | None = None
    template: str | None = None
    output_schema: str | None = Field(default=None, alias="schema")
    labels: Names = ()
    budget: Usd | None = None
    dedupe: Dedupe | None = None


class Quota(Section):
    """What a client may submit; dollars are its budget's matter."""

    rows_per_day: Tokens | None = None
    rows_per_month: Tokens | None = None
    tokens_per_day: Tokens | None = None
    tokens_per_month: Tokens | None = None
    submissions_per_minute: Tokens | None = None
    rows_in_queue: Tokens | None = None


class Client(Section):
    budget: Budget = Budget()
    webhook: Webhook | None = Field(default=None, repr=False)
    webhook_secret: SecretStr | None = None
    quota: Quota = Quota()
    routes: Names = ()
    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    priority: Literal["high", "normal", "background"] = "normal"
    markup: Annotated[Decimal, Field(ge=0, le=1_000)] = Decimal(0)
    share_of_savings: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    price_per_mtokens_in: Usd | None = None
    price_per_mtokens_out: Usd | None = None
    free_tokens: Annotated[int, Field(ge=0)] = 0
