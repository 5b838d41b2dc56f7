"""llama.cpp's server: OpenAI's shape, and an overflow error that carries the window of a slot.

It answers without parameters that it does not know. How much to think is for the model's template, so it goes there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from pipelines.config.sections import Target
from pipelines.money import Price
from worker.backends import looks
from worker.backends.compatible import CARRIED, Compatible, Fields
from worker.backends.looks import Seen
from worker.backends.rows import names

if TYPE_CHECKING:
    from worker.backends.http import Web

OWN = names(
    "n logprobs top_logprobs parallel_tool_calls reasoning_effort top_k min_p typical_p top_n_sigma xtc_probability xtc_threshold "
    "dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers repeat_penalty repeat_last_n "
    "mirostat mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent grammar json_schema ignore_eos n_probs min_keep "
    "samplers cache_prompt id_slot n_keep n_indent t_max_predict_ms timings_per_token return_tokens n_predict "
    "post_sampling_probs response_fields lora chat_template_kwargs reasoning_format thinking_forced_open "
    "add_generation_prompt continue_final_message parse_tool_calls"
)


def _for_the_template(fields: Fields, _price: Price | None) -> None:
    """Older builds read the effort from there only; a row that speaks to the template itself is left alone."""
    effort = msgspec.json.decode(fields.get("reasoning_effort", b"null"))
    given = msgspec.json.decode(fields.get("chat_template_kwargs", b"{}"))
    if effort is not None and type(given) is dict:
        said = {"enable_thinking": False} if effort == "none" else {"reasoning_effort": effort}
        fields["chat_template_kwargs"] = msgspec.Raw(msgspec.json.encode({**said, **given}))


ADAPTER = Compatible("llamacpp", carries=CARRIED | OWN, adds=_for_the_template)


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
    waiting = await looks.metric(web, target, "llamacpp:requests_deferred")
    return Seen(True, reason, model, seen.models, looks.whole(props.get("total_slots")), window, waiting=waiting)
