"""vLLM: OpenAI's shape throughout; it queues without bound, so the cap is ours.

It warns in its own log of parameters that it does not know, and answers without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipelines.config.sections import Target
from worker.backends import looks
from worker.backends.compatible import CARRIED, Compatible
from worker.backends.looks import Seen
from worker.backends.rows import names

if TYPE_CHECKING:
    from worker.backends.http import Web

OWN = names(
    "n logprobs top_logprobs parallel_tool_calls reasoning_effort include_reasoning thinking_token_budget best_of "
    "use_beam_search top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos "
    "min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens prompt_logprobs "
    "allowed_token_ids bad_words echo add_generation_prompt continue_final_message add_special_tokens documents "
    "chat_template chat_template_kwargs mm_processor_kwargs media_io_kwargs guided_json guided_regex guided_choice "
    "guided_grammar guided_decoding_backend guided_whitespace_pattern structural_tag structured_outputs priority "
    "request_id logits_processors return_tokens_as_token_ids return_token_ids cache_salt kv_transfer_params "
    "vllm_xargs"
)

ADAPTER = Compatible("vllm", carries=CARRIED | OWN)


async def look(web: Web, target: Target) -> Seen:
    """A model that it does not list answers 404 to every call, so then it is down for this target."""
    seen = await looks.models(web, target)
    if seen.up and seen.models and target.model not in seen.models:
        return Seen(False, looks.lacking(target, seen.models), seen.models[0], seen.models)
    waiting = await looks.metric(web, target, "vllm:num_requests_waiting_by_reason", 'reason="capacity"')
    return msgspec.structs.replace(seen, waiting=waiting)
