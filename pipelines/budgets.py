"""Which budget scopes a run counts in, what one in Redis says, when it deserves an alert and in which words; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from pipelines.money import PUSD_PER_NUSD, pusd_to_usd_str, usd_to_nusd
from pipelines.paths import is_run_id
from pipelines.settings import Settings

UNLIMITED = "unlimited"
CUTOFF = "cutoff"
KEEP_S = 40 * 86_400
"""How long a scope is kept after it was last given a limit."""


class Scope(msgspec.Struct, frozen=True):
    """One budget scope; no limit means that it only counts."""

    name: str
    limit_nusd: int | None
    spent_nusd: int = 0
    reserved_nusd: int = 0

    @property
    def share(self) -> Decimal | None:
        """Spent part of the limit; None without one."""
        return Decimal(self.spent_nusd) / self.limit_nusd if self.limit_nusd else None

    @property
    def client(self) -> str | None:
        return _after(self.name, "client").partition(":")[0] or None

    @property
    def run_id(self) -> str | None:
        return _after(self.name, "run") or None


def _after(name: str, kind: str) -> str:
    head, _, rest = name.partition(":")
    return rest if head == kind else ""


def scopes(settings: Settings, client: str, run_id: str, run_limit_nusd: int | None, day: str) -> dict[str, int | None]:
    """Scope name -> limit in nano-dollars (None: counted, not limited) for one run on one day.

    The run's own is always there: what is reserved in it is the run's unknown exposure.
    """
    return {**shared(settings, client, day), f"run:{run_id}": run_limit_nusd}


def shared(settings: Settings, client: str, day: str) -> dict[str, int | None]:
    """The scopes that runs of one client share. All are counted, so that `budget set` may limit any of them at any time;
    a client has its own where the configuration names it."""
    month, all_ = day[:7], settings.budget
    wanted = {f"day:{day}": _nusd(all_.daily_usd), f"month:{month}": _nusd(all_.monthly_usd)}
    if client in settings.clients:
        own = settings.clients[client].budget
        daily = [usd for usd in (own.daily_usd, own.emergency_cutoff_usd) if usd is not None] if own else []
        wanted[f"client:{client}:day:{day}"] = _nusd(min(daily, default=None))
        wanted[f"client:{client}:month:{month}"] = _nusd(own.monthly_usd if own else None)
    return wanted


def _nusd(usd: Decimal | None) -> int | None:
    return None if usd is None else usd_to_nusd(usd)


def problem_of(settings: Settings, name: str) -> str:
    """Why no run ever counts in a scope of this name; empty when one may."""
    kind, _, rest = name.partition(":")
    if kind == "client":
        client, _, rest = rest.partition(":")
        kind, _, rest = rest.partition(":")
        if client not in settings.clients:
            return f"client {client[:64]!r} has no scopes of its own; add [clients.NAME] to spillway.toml"
        if kind not in ("day", "month"):
            return "a client's scopes are client:NAME:day:2026-03-01 and client:NAME:month:2026-03"
    if kind == "run":
        return "" if is_run_id(rest) else f"{rest[:64]!r} is not a run id; `spillway status` lists the runs"
    if kind not in ("day", "month", CUTOFF):
        return f"no scope {name[:64]!r}; `spillway budget show` names them, such as day:2026-03-01"
    return "" if _is_date(f"{rest}-01" if kind == "month" else rest) else f"{rest[:64]!r} is no {kind}"


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def read(name: str, limit: str | None, spent: str | None, reserved: str | None) -> Scope:
    """Redis' texts as a scope. What is no number counts as nothing spent, and then nothing is allowed either."""
    counted = _whole(spent), _whole(reserved)
    most = 0 if None in counted else None if limit == UNLIMITED else _whole(limit) or 0
    return Scope(name, most, counted[0] or 0, counted[1] or 0)


def of_fields(name: str, fields: Mapping[str, str]) -> Scope:
    return read(name, fields.get("limit"), fields.get("spent"), fields.get("reserved"))


def _whole(text: str | None) -> int | None:
    """0 where nothing is written, None for what is no number."""
    try:
        return int(text or 0)
    except ValueError:
        return None


def alert_at(settings: Settings, scope: Scope) -> float:
    """The share at which a scope is told of: a client's own for its scopes."""
    own = settings.clients.get(scope.client or "")
    return (own.budget if own else settings.budget).alert_at


def is_due(scope: Scope, at: float) -> bool:
    """Whether the spent share has reached `at`; a scope that allows nothing has nothing to tell."""
    share = scope.share
    return share is not None and scope.spent_nusd > 0 and share >= Decimal(str(at))


def usd(nusd: int) -> str:
    return pusd_to_usd_str(nusd * PUSD_PER_NUSD)


def alert_text(scope: Scope) -> str:
    assert scope.limit_nusd is not None and scope.share is not None
    return f"budget {scope.name}: ${usd(scope.spent_nusd)} of ${usd(scope.limit_nusd)} is spent ({scope.share:.0%})"


def cutoff_text(day: str, spent_nusd: int, limit_nusd: int) -> str:
    return (
        f"emergency cut-off: ${usd(spent_nusd)} spent on {day} reaches emergency_cutoff_usd ${usd(limit_nusd)}; "
        f"local targets go on, cloud targets open the next day or after `spillway budget set {CUTOFF}:{day} USD`"
    )


class Event(msgspec.Struct, frozen=True):
    """Something to be told once: in the log, by webhook and mail, in `status` and as a row under events/."""

    kind: str  # budget_alert | emergency_cutoff
    day: str
    scope: Scope
    at_us: int
    message: str

    def as_json(self) -> dict[str, Any]:
        """The body of a webhook, and what `status` reads; money as decimal text."""
        limit = self.scope.limit_nusd
        return {
            "event": self.kind, "day": self.day, "scope": self.scope.name, "client": self.scope.client,
            "run_id": self.scope.run_id, "limit_usd": None if limit is None else usd(limit),
            "spent_usd": usd(self.scope.spent_nusd), "reserved_usd": usd(self.scope.reserved_nusd),
            "at_ms": self.at_us // 1000, "message": self.message,
        }  # fmt: skip
