"""OpenAI: chat completions, responses, models, files and batches."""

from __future__ import annotations

from worker.simulator.core import openai_batches as batches
from worker.simulator.core import openai_files as files
from worker.simulator.core.chat import chatting, fail_chat, limit_headers, models, say_chat
from worker.simulator.core.generate import Voice
from worker.simulator.core.known import OPENAI
from worker.simulator.core.personality import Personality
from worker.simulator.core.responses import respond

VOICE = Voice(say_chat, fail_chat, limit_headers)

PERSONALITY = Personality(
    routes={
        ("POST", "/v1/chat/completions"): chatting(VOICE, known=OPENAI),
        ("POST", "/v1/responses"): respond,
        ("GET", "/v1/models"): models,
        ("POST", "/v1/files"): files.upload,
        ("GET", "/v1/files"): files.list_files,
        ("GET", "/v1/files/{id}"): files.get_file,
        ("DELETE", "/v1/files/{id}"): files.delete_file,
        ("GET", "/v1/files/{id}/content"): files.get_content,
        ("POST", "/v1/batches"): batches.create,
        ("GET", "/v1/batches"): batches.list_batches,
        ("GET", "/v1/batches/{id}"): batches.get_batch,
        ("POST", "/v1/batches/{id}/cancel"): batches.cancel_batch,
    }
)
