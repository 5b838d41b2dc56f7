"""Cerebras: OpenAI's shape; its limiter charges the output limit up front, so every call carries one.

Which of these parameters a model of theirs takes, it says itself (400).
"""

from __future__ import annotations

from worker.backends.compatible import CARRIED, Compatible
from worker.backends.rows import names

OWN = names(
    "n logprobs top_logprobs parallel_tool_calls reasoning_effort reasoning_format clear_thinking disable_reasoning "
    "service_tier prediction prompt_cache_key user min_tokens min_completion_tokens model_parameters"
)

ADAPTER = Compatible("cerebras", cap="max_completion_tokens", carries=CARRIED | OWN)
