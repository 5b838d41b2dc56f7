"""OpenRouter: reports what a call cost, puts errors inside answers, and answers 403 to what its moderation stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.sections import Target
from worker.backends import looks
from worker.backends.compatible import Compatible
from worker.backends.looks import Seen

if TYPE_CHECKING:
    from worker.backends.http import Web

ADAPTER = Compatible("openrouter", forbidden="filter", reports_cost=True)


async def look(web: Web, target: Target) -> Seen:
    """Its list of models is public, so the key is asked about itself."""
    if not target.key:
        return await looks.models(web, target)
    data, trouble, status = await looks.ask(web, f"{target.base_url}/key", looks.bearer(target))
    if trouble is not None:
        return Seen(True) if status in (404, 405) else trouble
    about = data.get("data") if type(data) is dict else None
    left = about.get("limit_remaining") if type(about) is dict else None
    if isinstance(left, int | float) and left <= 0:
        return Seen(False, "the key's credit limit is used up; raise it at openrouter.ai/settings/keys")
    return Seen(True, "", target.model)
