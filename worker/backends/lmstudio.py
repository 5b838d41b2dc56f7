"""LM Studio through its OpenAI-compatible address; it drops unknown parameters without a word.

It loads a model on first use, so its list of models tells nothing about health; what is loaded does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Completion, Failure
from worker.backends import looks
from worker.backends.compatible import CARRIED, Compatible
from worker.backends.exchange import Response
from worker.backends.looks import Seen

if TYPE_CHECKING:
    from worker.backends.http import Web

OWN = frozenset({"reasoning_effort", "top_k", "min_p", "repeat_penalty", "ttl", "draft_model"})

_GONE = re.compile(
    r"HTTP \d{3}: (?:no models? loaded|(?:the )?model (?:has |is )?(?:been )?(?:unloaded|crashed)|"
    r"(?:failed to|error) load(?:ing)? (?:the )?model|model loading (?:was )?(?:stopped|aborted)|channel error|"
    r"engine protocol|error in iterating prediction stream)", re.IGNORECASE,
)  # fmt: skip


class LMStudio(Compatible):
    """It calls it the caller's mistake (400, 404) when no model is there: evicted for another, crashed, no room to load it."""

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        heard = super().parse(target, response)
        if isinstance(heard, Failure) and heard.kind in ("invalid", "transient") and _GONE.match(heard.message):
            return msgspec.structs.replace(heard, kind="transient", code="model_gone")
        return heard


ADAPTER = LMStudio("lmstudio", carries=CARRIED | OWN)


async def look(web: Web, target: Target) -> Seen:
    """Loaded models with their real context and parallelism (0.4 and later), else the older list, else /v1/models."""
    root, headers = looks.root_of(target.base_url or ""), looks.bearer(target)
    data, trouble, status = await looks.ask(web, f"{root}/api/v1/models", headers)
    rows = looks.table(data, "models")
    if rows and any("loaded_instances" in row for row in rows):
        return _seen(target, [row for row in rows if row.get("type") != "embedding"])
    if trouble is not None and status in (0, 401, 403):
        return trouble
    data, trouble, _ = await looks.ask(web, f"{root}/api/v0/models", headers)
    old = looks.table(data, "data")
    return _seen_v0(target, old) if old else await looks.models(web, target)


def _same(name: Any, wanted: str) -> bool:
    return type(name) is str and (name.lower() == wanted.lower() or name.lower().endswith("/" + wanted.lower()))


def _seen(target: Target, rows: list[dict[str, Any]]) -> Seen:
    listed, other = looks.names(rows, "key", "id"), None
    for row in rows:
        for instance in looks.table(row, "loaded_instances"):
            name = str(row.get("key") or instance.get("id"))
            if _same(row.get("key"), target.model) or _same(instance.get("id"), target.model):
                config = instance["config"] if type(instance.get("config")) is dict else {}
                parallel, context = looks.whole(config.get("parallel")), looks.whole(config.get("context_length"))
                return Seen(True, "", name, listed, parallel, context)
            other = other or name
    return _not_loaded(target, listed, other)


def _seen_v0(target: Target, rows: list[dict[str, Any]]) -> Seen:
    rows = [row for row in rows if row.get("type") != "embeddings"]
    listed = looks.names(rows, "id")
    loaded = [row for row in rows if row.get("state") == "loaded" and type(row.get("id")) is str]
    for row in loaded:
        if _same(row["id"], target.model):
            context = looks.whole(row.get("loaded_context_length")) or looks.whole(row.get("max_context_length"))
            return Seen(True, "", row["id"], listed, None, context)
    return _not_loaded(target, listed, loaded[0]["id"] if loaded else None)


def _not_loaded(target: Target, listed: tuple[str, ...], other: str | None) -> Seen:
    now = f" ({other} is)" if other else ""
    if any(_same(name, target.model) for name in listed):
        return Seen(True, f"{target.model} is not loaded{now}; the first call loads it", other, listed)
    return Seen(True, looks.lacking(target, listed), other, listed)
