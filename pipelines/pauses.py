"""Which reuse is paused: what workers write down of a pause, and whether it holds. Values only; audit.py says when to pause."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines import wire
from pipelines.audit import SMALL_SHARE, pause_name


def pause(until_ms: int, excess_low: float, message: str) -> bytes:
    """A pause as it stands in Redis under its name (audit.pause_name)."""
    return wire.dump({"until_ms": until_ms, "excess_low": excess_low, "message": message})


def paused(raw: Mapping[str, bytes | str], allowed: Mapping[str, float], now_ms: int) -> dict[str, str]:
    """The pauses that hold now and what is said of each; `allowed` is each route's limit: one that was raised since lets it go on."""
    limits = {pause_name(route, grounds): most for route, most in allowed.items() for grounds in SMALL_SHARE}
    found = {}
    for name, value in sorted(raw.items()):
        said = wire.load_object(value)
        try:
            until_ms, low = int(said["until_ms"]), float(said["excess_low"])
        except (ValueError, TypeError, KeyError, OverflowError):
            continue
        if until_ms > now_ms and low > limits.get(name, 0.0):
            found[name] = str(said.get("message", ""))
    return found
