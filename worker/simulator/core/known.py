"""What those vendors know that refuse every other parameter, and what they say then."""

from __future__ import annotations

import msgspec

from worker.simulator.core.faults import PROBLEMS, Problem

_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
OPENAI = frozenset(
    [
        "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    ]
)  # fmt: skip
RESPONSES = frozenset(
    [
        "background", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
        "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls", "previous_response_id", "prompt",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs",
        "top_p", "truncation", "user",
    ]
)  # fmt: skip
CEREBRAS = OPENAI - {"verbosity", "store", "audio", "functions", "function_call", "web_search_options"} | {
    "reasoning_format", "clear_thinking", "disable_reasoning", "min_tokens", "min_completion_tokens", "model_parameters",
}  # fmt: skip


def unknown(data: bytes, known: frozenset[str]) -> Problem | None:
    """What is said to a parameter that a vendor does not know."""
    try:
        names = _names.decode(data).keys() - known
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # said elsewhere
    return (
        msgspec.structs.replace(PROBLEMS["400"], message=f"Unrecognized request argument supplied: {min(names)}")
        if names
        else None
    )
