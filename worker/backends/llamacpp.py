"""llama.cpp's server: OpenAI's shape, and an overflow error that carries the window of a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from pipelines.sections import Target
from worker.backends import looks
from worker.backends.compatible import Compatible
from worker.backends.looks import Seen

if TYPE_CHECKING:
    from worker.backends.http import Web

ADAPTER = Compatible("llamacpp")


async def look(web: Web, target: Target) -> Seen:
    """/health, then slots and the window of one slot from /props."""
    root, headers = looks.root_of(target.base_url or ""), looks.bearer(target)
    _, trouble, status = await looks.ask(web, f"{root}/health", headers)
    if trouble is not None and status != 404:
        return Seen(False, "is loading its model") if status == 503 else trouble
    seen = await looks.models(web, target)
    props, _, _ = await looks.ask(web, f"{root}/props", headers)
    if type(props) is dict and "total_slots" not in props and seen.loaded_model:  # a router of several models
        props, _, _ = await looks.ask(web, f"{root}/props?model={quote(seen.loaded_model)}&autoload=false", headers)
    if not seen.up or type(props) is not dict:
        return seen
    defaults = props.get("default_generation_settings")
    window = looks.whole(defaults.get("n_ctx")) if type(defaults) is dict else None
    # One model, whatever it is called in a request.
    model = seen.loaded_model or (seen.models[0] if len(seen.models) == 1 else None)
    reason = seen.reason if len(seen.models) > 1 else ""
    return Seen(True, reason, model, seen.models, looks.whole(props.get("total_slots")), window)
