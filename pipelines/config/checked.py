"""Values of spillway.toml that are checked when it is read: durations, amounts, names, addresses, time zones, cron."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

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
RedisUrl = Annotated[str, BeforeValidator(_redis_url)]
Timezone = Annotated[str, BeforeValidator(_timezone)]
Webhook = Annotated[str, BeforeValidator(_webhook)]
Address = Annotated[str, BeforeValidator(_address)]
Concurrency = Annotated[int | Literal["auto"], BeforeValidator(_concurrency)]
Cron = Annotated[str, BeforeValidator(_cron)]
