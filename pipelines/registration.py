"""What a run's registration says: its first fields in Redis, its record under the data root, and the one from the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines import wire
from pipelines.types import Options, Source

Fields = dict[str, str | bytes | int]


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """One command's run; `estimate` is (rows, bytes), `redis` the name of the Redis that was told, `origin` what made
    it other than a command (a schedule's firing), `metadata` the caller's own words about it. An inbox run has
    `inbox_until_ms`, after which nobody may add to it, and `tell`, the channel where its answers are waited for."""

    run_id: str
    client: str
    fingerprint: str
    created_ms: int
    options: Options
    sources: tuple[Source, ...]
    estimate: tuple[int, int] = (0, 0)
    fresh: bool = False
    redis: str = ""
    origin: str = ""
    metadata: dict[str, str] = {}
    inbox_until_ms: int = 0
    tell: str = ""


def fields(run: Registration) -> Fields:
    """The hash of a run of which nothing is prepared yet."""
    return {
        "status": "in_progress",
        "client": run.client,
        "created_ms": run.created_ms,
        "sources": wire.pack_sources(run.sources),
        "fingerprint": run.fingerprint,
        "rows_estimate": run.estimate[0],
        "bytes_estimate": run.estimate[1],
        "fresh": "1" if run.fresh else "",
        "origin": run.origin,
        "metadata": wire.dump(run.metadata) if run.metadata else "",
        **(
            {"inbox": str(run.inbox_until_ms), "segments": len(run.sources), "tell": run.tell}
            if run.inbox_until_ms
            else {}
        ),
        **dict.fromkeys(("cursor", "cancel", "redo", "error", "summary", "finished_ms"), ""),
        **dict.fromkeys(("prepared", "rows", "asked", "duplicate", "invalid", "open", "generation"), "0"),
        **terms(run.options, run.created_ms),
    }


def terms(options: Options, now_ms: int) -> Fields:
    """What a resumed run takes from its new command; its deadline starts again."""
    deadline_s = options.deadline_s
    return {
        "options": wire.pack_options(options),
        "deadline_s": "" if deadline_s is None else str(deadline_s),
        "deadline_ms": "" if deadline_s is None else now_ms + round(deadline_s * 1000),
        "budget_nusd": "" if options.budget_nusd is None else options.budget_nusd,
        "started_ms": now_ms,
        "blocked": "",
    }


def record(run: Registration) -> dict[str, Any]:
    """runs/<id>.json of a run that has just begun; its worker writes it again when it ends."""
    return {**msgspec.to_builtins(run), "status": "in_progress", "finished_ms": None}


def lost(found: Mapping[str, Any], redis: str) -> Registration | None:
    """The registration that this Redis was told and has forgotten: an open run's record, when Redis does not know the
    run. None when the run has ended, when another Redis has it, or when the record is not one."""
    if found.get("status") != "in_progress" or not redis or found.get("redis") != redis:
        return None
    try:
        return msgspec.convert(found, Registration)
    except msgspec.ValidationError:
        return None
