"""A scenario as checked values, with the mistakes told in one line. Reading files is app.py's work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, TypeVar

import msgspec

from pipelines.errors import ConfigError
from worker.simulator.core.faults import BATCH_KINDS, KINDS, BatchRule, FaultRule

T = TypeVar("T")

LOCAL = frozenset({"lmstudio", "ollama", "vllm", "llamacpp"})
ANSWERS = ("label", "text", "echo", "json", "hash")


class Lengths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Output length of the prompts that contain `match`: lognormal, drawn from the prompt's hash."""

    match: str = ""
    median: float
    sigma: float = 0.0


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stand-in server; docs/simulator.md explains every key."""

    personality: str
    port: int = 0
    lane: Literal["local", "cloud", ""] = ""
    model: str = "stand-in"
    models: tuple[str, ...] = ()
    any_model: bool = False
    api_key: str | None = None

    slots: int | None = None
    effective_slots: int | None = None
    max_queue: int | None = None
    context_tokens: int | None = None
    latency_ms: float = 0.0
    latency_sigma: float = 0.0
    token_ms: float = 0.0
    tokens_per_s: float | None = None
    tokens_per_s_cap: float | None = None
    half_at: float = 0.0
    prefill_share: float = 0.1
    prefill_tokens_per_s: float | None = None
    swap_ms: float = 0.0

    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    burst_s: float = 60.0
    retry_after_s: float = 1.0

    usd_per_mtok_in: float = 0.0
    usd_per_mtok_out: float = 0.0
    usd_per_mtok_cached: float | None = None
    usd_per_mtok_cache_write: float | None = None
    batch_discount: float = 0.5

    answer: str = "label"
    labels: tuple[str, ...] = ()
    tokens: Literal["bytes", "words"] = "bytes"
    bytes_per_token: int = 4
    output_tokens_median: float | None = None
    output_tokens_sigma: float = 0.0
    outputs: tuple[Lengths, ...] = ()
    reasoning_tokens: int = 0
    prefix_cache_tokens: int = 0
    prefix_block_tokens: int = 128
    prefix_min_tokens: int = 1024

    faults: tuple[FaultRule, ...] = ()
    fault_rates: dict[str, float] = {}
    fault_by: Literal["request", "prompt"] = "request"
    late_ms: float = 5_000.0
    drip_ms: float = 2_000.0
    hang_s: float = 3_600.0
    huge_bytes: int = 64 * 1024 * 1024
    down: tuple[tuple[float, float], ...] = ()
    down_mode: Literal["refuse", "503"] = "refuse"
    on_disconnect: Literal["auto", "bill", "cancel"] = "auto"

    metrics: Literal["plain", "absent", "renamed", "colliding"] = "plain"

    batch_latency_s: float = 3.0
    batch_sigma: float = 0.0
    batch_validate_s: float = 0.2
    batch_cancel_s: float = 0.5
    batch_window_s: float = 86_400.0
    batch_error_rate: float = 0.0
    batch_enqueued_tokens: int | None = None
    batch_max_requests: int = 50_000
    batch_faults: tuple[BatchRule, ...] = ()

    usd_per_hour: float = 0.0
    cold_start_ms: float = 0.0
    idle_s: float = 5.0

    @property
    def is_local(self) -> bool:
        return self.lane == "local" or (not self.lane and self.personality in LOCAL)

    @property
    def served(self) -> tuple[str, ...]:
        return (self.model, *(name for name in self.models if name != self.model))

    @property
    def bills_the_departed(self) -> bool:
        """Whether an answer is finished and billed although its client has gone."""
        return self.on_disconnect == "bill" or (self.on_disconnect == "auto" and not self.is_local)


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    port: int = 0


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Servers, and what a spillway.toml for them should say besides its targets."""

    servers: dict[str, ServerConfig]
    control: ControlConfig = ControlConfig()
    host: str = "127.0.0.1"
    seed: int = 1
    sample_ms: float = 1_000.0
    bill_file: str | None = None
    targets: dict[str, dict[str, Any]] = {}
    routes: dict[str, dict[str, Any]] = {}
    rules: list[dict[str, Any]] = []
    prices: dict[str, dict[str, Any]] = {}
    budget: dict[str, Any] = {}
    routing: dict[str, Any] = {}


def parse(data: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]] | None = None) -> Scenario:
    """A scenario from plain values; `defaults` holds each personality's own. Raises ConfigError."""
    servers = data.get("servers")
    if not isinstance(servers, Mapping) or not servers:
        raise ConfigError("the scenario has no [servers.NAME]; add one with a personality and a model")
    filled = {}
    for name, each in servers.items():
        filled[name] = _convert(_filled(name, each, defaults or {}), ServerConfig, f"servers.{name}")
        check(name, filled[name])
    return msgspec.structs.replace(_convert({**data, "servers": {}}, Scenario, ""), servers=filled)


def change(name: str, server: ServerConfig, changes: Mapping[str, Any]) -> ServerConfig:
    """A running server's configuration with some keys replaced. Raises ConfigError."""
    fixed = {"personality", "port"} & changes.keys()
    if fixed:
        raise ConfigError(f"servers.{name}.{min(fixed)} cannot be changed while the server runs; start another one")
    changed = _convert({**msgspec.to_builtins(server), **changes}, ServerConfig, f"servers.{name}")
    check(name, changed)
    return changed


@lru_cache
def pusd_per_token(usd_per_mtok: float) -> int | Fraction:
    """Pico-dollars per token of a price in dollars per million tokens, exactly as it was written."""
    price = Fraction(repr(usd_per_mtok)) * 1_000_000
    return price.numerator if price.denominator == 1 else price


def check(name: str, server: ServerConfig) -> None:
    """What types alone cannot say. Raises ConfigError."""
    for kind in [*server.fault_rates, *(rule.kind for rule in server.faults)]:
        if kind not in KINDS:
            raise ConfigError(f"servers.{name}: unknown fault {kind!r}; known: {', '.join(sorted(KINDS))}")
    for each in server.batch_faults:
        if each.kind not in BATCH_KINDS:
            raise ConfigError(
                f"servers.{name}: unknown batch fault {each.kind!r}; known: {', '.join(sorted(BATCH_KINDS))}"
            )
    wrong = next((message for failed, message in _rules(server) if failed), None)
    if wrong:
        raise ConfigError(f"servers.{name}: {wrong}")


def _rules(server: ServerConfig) -> list[tuple[bool, str]]:
    rates = server.fault_rates.values()
    answer, _, fixed = server.answer.partition(":")
    positive = (
        "slots",
        "effective_slots",
        "rpm",
        "tpm",
        "max_parallel",
        "context_tokens",
        "tokens_per_s",
        "tokens_per_s_cap",
        "prefill_tokens_per_s",
    )
    small = [key for key in positive if (value := getattr(server, key)) is not None and value <= 0]
    numbers = [key for key in server.__struct_fields__ if isinstance(value := getattr(server, key), float) and
               (value < 0 or not math.isfinite(value))]  # fmt: skip
    return [
        (any(rate < 0 for rate in rates) or sum(rates) > 1, "fault_rates must be 0 or more and add up to 1 at most"),
        (
            not (server.answer in ANSWERS or (answer == "text" and fixed)),
            f"answer is one of {', '.join(ANSWERS)}, text:…",
        ),
        (bool(small), f"{small[0] if small else ''} must be more than 0; leave it out for no limit"),
        (bool(numbers), f"{numbers[0] if numbers else ''} must be a number of 0 or more"),
        (server.bytes_per_token < 1, "bytes_per_token must be 1 or more"),
        (server.prefix_block_tokens < 1, "prefix_block_tokens must be 1 or more"),
        (
            any(at < 1 for rule in server.faults for at in rule.places),
            "faults count requests from 1: at = 1 is the first",
        ),
        (any(not (rule.at or rule.match) for rule in server.faults), "a fault needs at = … or match = …"),
        (any(start >= end for start, end in server.down), "down needs [start_s, end_s] with start before end"),
    ]


def _filled(name: object, given: object, defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"servers.{name} must be a table of keys")
    personality = str(given.get("personality"))
    if personality not in defaults:
        known = ", ".join(sorted(defaults))
        found = f"is {personality!r}" if given.get("personality") is not None else "is missing"
        raise ConfigError(f"servers.{name}.personality {found}; known personalities: {known}")
    return {**defaults[personality], **given}


def _convert(data: Mapping[str, Any], kind: type[T], at: str) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = ".".join(part for part in (at, path.strip("`.")) if part) or "scenario"
        raise ConfigError(f"{place}: {what}; mend this key") from None
