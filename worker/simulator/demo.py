"""The scenario of `spillway run --simulate`, and the settings that lead Spillway to a scenario's servers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from worker.simulator.core.config import Scenario, ServerConfig
from worker.simulator.core.personality import parse_scenario

# A desk with one GPU that answers about a hundred short prompts a second, and a cloud model for the hard ones.
DEMO: dict[str, Any] = {
    "seed": 7,
    "servers": {
        "gpu": {
            "personality": "lmstudio",
            "model": "qwen2.5-14b-instruct",
            "slots": 16,
            "context_tokens": 8_192,
            "latency_ms": 20,
            "tokens_per_s": 2_700.0,
            "half_at": 16.0,
            "output_tokens_median": 60,
            "output_tokens_sigma": 0.4,
        },
        "cloud": {
            "personality": "openai",
            "model": "gpt-4o-mini",
            "context_tokens": 128_000,
            "latency_ms": 400,
            "latency_sigma": 0.25,
            "token_ms": 4,
            "usd_per_mtok_in": 0.15,
            "usd_per_mtok_out": 0.60,
            "usd_per_mtok_cached": 0.075,
            "output_tokens_median": 90,
            "output_tokens_sigma": 0.4,
            "rpm": 30_000,
            "tpm": 20_000_000,
            "fault_rates": {"429": 0.01, "500": 0.01},
        },
    },
    "routes": {
        "small": {"targets": ["gpu", "cloud"]},
        "large": {"targets": ["cloud"], "min_complexity": 0.5},
    },
}

CLOUD_CONCURRENCY = 64


def scenario_settings(config: Mapping[str, Any], base_urls: Mapping[str, str]) -> dict[str, Any]:
    """The parts of a spillway.toml for these servers: targets with their prices and limits, and routes. Raises ConfigError."""
    scenario = parse_scenario(config)
    targets = {name: _target(server, base_urls[name]) for name, server in scenario.servers.items()}
    for name, more in scenario.targets.items():
        targets[name] = {**targets.get(name, {}), **more}
    settings: dict[str, Any] = {"targets": targets, "routes": scenario.routes or _routes(scenario)}
    for part in ("rules", "prices", "budget", "routing"):
        if getattr(scenario, part):
            settings[part] = getattr(scenario, part)
    return settings


def _target(server: ServerConfig, base_url: str) -> dict[str, Any]:
    target: dict[str, Any] = {
        "lane": "local" if server.is_local else "cloud",
        "kind": server.personality,
        "base_url": base_url,
        "model": server.model,
        "max_concurrency": server.slots or server.max_parallel or CLOUD_CONCURRENCY,
    }
    if not server.is_local:
        target |= {
            "api_key": server.api_key or "sk-stand-in",
            "input_usd_per_mtok": _usd(server.usd_per_mtok_in),
            "output_usd_per_mtok": _usd(server.usd_per_mtok_out),
            "cached_input_usd_per_mtok": _usd(server.usd_per_mtok_cached),
            "cache_write_usd_per_mtok": _usd(server.usd_per_mtok_cache_write),
            "batch_discount": _usd(server.batch_discount),
        }
    elif server.api_key:
        target["api_key"] = server.api_key
    target |= {"rpm": server.rpm, "tpm": server.tpm, "context_tokens": server.context_tokens}
    return {key: value for key, value in target.items() if value is not None}


def _usd(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value))


def _routes(scenario: Scenario) -> dict[str, Any]:
    """One route to all, the local servers first."""
    order = sorted(scenario.servers, key=lambda name: not scenario.servers[name].is_local)
    return {"all": {"targets": order}}
