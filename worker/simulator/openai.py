"""OpenAI: chat completions and models."""

from __future__ import annotations

from worker.simulator.core.chat import chatting, fail_chat, limit_headers, models, say_chat
from worker.simulator.core.generate import Voice
from worker.simulator.core.personality import Personality

VOICE = Voice(say_chat, fail_chat, limit_headers)

PERSONALITY = Personality(routes={("POST", "/v1/chat/completions"): chatting(VOICE), ("GET", "/v1/models"): models})
