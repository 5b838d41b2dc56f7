"""What a budget scope in Redis says, when it deserves an alert and in which words; it reads and tells nobody."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from pipelines.money import PUSD_PER_NUSD, pusd_to_usd_str
from pipelines.settings import Settings

UNLIMITED = "unlimited"
CUTOFF = "cutoff"


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


def read(name: str, limit: str | None, spent: str | None, reserved: str | None) -> Scope:
    """Redis' texts as a scope. What is no number counts as nothing spent and nothing allowed."""
    most = None if limit == UNLIMITED else _whole(limit)
    return Scope(name, most, _whole(spent), _whole(reserved))


def of_fields(name: str, fields: Mapping[str, str]) -> Scope:
    return read(name, fields.get("limit"), fields.get("spent"), fields.get("reserved"))


def _whole(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


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
