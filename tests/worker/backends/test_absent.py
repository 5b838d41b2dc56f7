"""Which errors say that a provider does not know its target's model; the texts are the vendors' own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.config.sections import Target
from pipelines.types import Completion, Failure
from worker.backends import load
from worker.backends.absent import blamed
from worker.backends.exchange import Response

OPENAI = {"message": "The model `{m}` does not exist or you do not have access to it.", "type": "invalid_request_error",
          "param": None, "code": "model_not_found"}  # fmt: skip


def heard(kind: str, model: str, body: Any, status: int = 404) -> Failure:
    target = Target(kind=kind, model=model, base_url="http://127.0.0.1:9/v1", api_key="sk-1")  # type: ignore[arg-type]
    said = json.dumps(body).replace("{m}", model).encode()
    outcome = load(kind).parse(target, Response(status, {}, said))
    assert isinstance(outcome, Failure)
    return outcome


@pytest.mark.parametrize(
    ("kind", "model", "status", "body"),
    [
        ("openai", "gpt-4o-minni", 404, {"error": OPENAI}),
        ("openai", "gpt-4o-minni", 404, {"error": {**OPENAI, "message": "This is not {m}, a chat model"}}),
        ("openai", "dep", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not "
         "exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}),
        ("openai", "mistral-x", 400, {"object": "error", "message": "Invalid model: {m}", "type": "invalid_model", "param": None,
         "code": "1500"}),
        ("openai", "deepseek-x", 400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error", "param": None,
         "code": "invalid_request_error"}}),
        ("openai", "accounts/fireworks/models/x", 404, {"error": {"object": "error", "type": "invalid_request_error",
         "code": "NOT_FOUND", "message": "Model not found, inaccessible, and/or not deployed"}}),
        ("openai", "org/x", 404, {"error": {"message": "Unable to access model {m}. Please visit https://api.together.ai/models",
         "type": "invalid_request_error", "param": None, "code": "model_not_available"}}),
        ("openai", "grok-x", 404, {"code": "Some requested entity was not found", "error": "The model {m} does not exist or your "
         "team 1-2 does not have access to it."}),
        ("openai", "my-model", 400, {"error": {"message": "{'error': '/chat/completions: Invalid model name passed in model={m}. "
         "Call `/v1/models` to view available models for your key.'}", "type": "None", "param": "None", "code": "400"}}),
        ("anthropic", "claude-hiku", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: {m}"}}),
        ("gemini", "gemini-2.5-flish", 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "models/{m} is not found for "
         "API version v1beta, or is not supported for generateContent. Call ListModels to see the list."}}),
        ("gemini", "models/gemini-x", 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "{m} is not found for API "
         "version v1beta, or is not supported for generateContent."}}),
        ("openrouter", "openai/gpt-4o-minni", 400, {"error": {"message": "{m} is not a valid model ID", "code": 400}}),
        ("openrouter", "org/gone:free", 404, {"error": {"message": "No endpoints found for {m}.", "code": 404}}),
        ("cerebras", "llama-x", 404, {"message": "Model {m} does not exist or you do not have access to it.",
         "type": "not_found_error", "param": "model", "code": "model_not_found"}),
        ("huggingface", "org/name:together", 400, {"error": {"message": "The requested model 'org/name' does not exist", "type":
         "invalid_request_error", "param": "model", "code": "model_not_found"}}),
        ("huggingface", "org/name", 400, {"error": {"message": "The requested model '{m}' is not supported by any provider you "
         "have enabled.", "type": "invalid_request_error", "param": "model", "code": "model_not_supported"}}),
        ("vllm", "org/x", 404, {"object": "error", "message": "The model `{m}` does not exist.", "type": "NotFoundError",
         "param": None, "code": 404}),
        ("runpod", "org/x", 404, {"error": {"message": "The model `{m}` does not exist.", "type": "NotFoundError", "param": "model",
         "code": 404}}),
        ("ollama", "qwen2.5:14b", 404, {"error": "model '{m}' not found"}),
        ("ollama", "qwen2.5:14b", 404, {"error": "model \"{m}\" not found, try pulling it first"}),
        ("lmstudio", "qwen", 400, {"error": {**OPENAI, "message": 'Invalid model identifier "{m}". Please specify a valid '
         'downloaded model (e.g. other).'}}),
    ],
)  # fmt: skip
def test_the_model_of_the_target_is_unknown(kind: str, model: str, status: int, body: Any) -> None:
    failure = heard(kind, model, body, status)
    assert (failure.kind, failure.code, failure.http_status) == ("model", "model_not_found", status)
    assert failure.message.endswith("is `model` of this target right?")


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        # a draft, a fallback, an adapter that only this row names
        ("openai", 404, {"error": {**OPENAI, "message": "The model `gpt-4o-draft` does not exist or you do not have access to it."}}),
        ("lmstudio", 400, {"error": {**OPENAI, "message": 'Invalid model identifier "draft".'}}),
        ("vllm", 404, {"error": {"message": "The model `gpt-4o-lora` does not exist.", "type": "NotFoundError", "code": 404}}),
        # a model that is known, and has no room
        ("openai", 404, {"error": {**OPENAI, "message": 'Failed to load model "gpt-4o". Error: insufficient system resources.'}}),
        # a gateway's word for every 404
        ("openai", 404, {"error": {"message": "No active credentials for provider: codex", "code": "model_not_found"}}),
        # nobody can do what the row wants
        ("openrouter", 404, {"error": {"message": "No endpoints found that support tool use. To learn more …", "code": 404}}),
        # something else that is not there
        ("anthropic", 404, {"type": "error", "error": {"type": "not_found_error", "message": "File not found: file_1"}}),
        ("gemini", 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "File files/abc is not found."}}),
        # a prompt that is quoted, and what a model cannot do
        ("openai", 400, {"error": {"message": "Bad prompt: The model gpt-4o does not exist", "type": "invalid_request_error"}}),
        ("openai", 400, {"error": {"message": "The model `gpt-4o` does not support image inputs.", "param": "messages"}}),
        ("openai", 400, {"error": {"message": "Unsupported value for gpt-4o", "param": "model", "code": "invalid_value"}}),
    ],
)  # fmt: skip
def test_what_else_is_not_found_is_the_rows_own_trouble(kind: str, status: int, body: Any) -> None:
    assert heard(kind, "gpt-4o", body, status).kind == "invalid"


def test_a_row_that_chose_among_hosts_may_have_left_none() -> None:
    failure = heard("openrouter", "a/b", {"error": {"message": "No endpoints found for {m}.", "code": 404}})
    assert blamed(failure, b'{"messages":[{"role":"user","content":"my \\"provider\\" is"}]}') is failure
    own = blamed(failure, b'{"messages":[],"provider":{"only":["groq"]}}')
    assert isinstance(own, Failure) and own.kind == "invalid"
    answer = Completion("", "stop", None, None)  # type: ignore[arg-type]
    assert blamed(answer, b'"provider"') is answer
