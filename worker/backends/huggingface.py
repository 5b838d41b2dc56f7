"""Hugging Face's router; the model's name pins the provider (`org/name:provider`), and errors come from there."""

from __future__ import annotations

from worker.backends.compatible import CARRIED, Compatible

OWN = frozenset({"n", "logprobs", "top_logprobs", "tool_prompt"})

ADAPTER = Compatible("huggingface", carries=CARRIED | OWN)
