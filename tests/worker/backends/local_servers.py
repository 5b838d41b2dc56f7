"""What local servers say at the addresses where they are asked, for `Scripted`."""

from __future__ import annotations

from tests.worker.backends.server import Play, answer

LMSTUDIO: dict[str, Play] = {
    "/api/v1/models": answer(200, {"models": [
        {"type": "llm", "key": "qwen/qwen2.5-14b-instruct", "max_context_length": 131072, "loaded_instances": [
            {"id": "qwen2.5-14b-instruct", "config": {"context_length": 8192, "parallel": 4, "flash_attention": True}}]},
        {"type": "llm", "key": "google/gemma-3-4b", "max_context_length": 131072, "loaded_instances": []},
        {"type": "embedding", "key": "nomic-embed", "loaded_instances": []},
    ]}),
    "/v1/models": answer(200, {"data": [{"id": "qwen2.5-14b-instruct"}]}),
}  # fmt: skip
LMSTUDIO_OLD: dict[str, Play] = {
    "/api/v1/models": answer(200, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"}),
    "/api/v0/models": answer(200, {"object": "list", "data": [
        {"id": "gemma", "type": "llm", "state": "not-loaded", "max_context_length": 8192},
        {"id": "qwen", "type": "llm", "state": "loaded", "max_context_length": 32768, "loaded_context_length": 4096},
    ]}),
}  # fmt: skip
OLLAMA: dict[str, Play] = {
    "/api/tags": answer(200, {"models": [{"name": "llama3.2:latest"}, {"name": "qwen3:4b"}]}),
    "/api/ps": answer(200, {"models": [
        {"name": "llama3.2:latest", "size": 100, "size_vram": 100, "context_length": 4096}]}),
}  # fmt: skip
LLAMACPP: dict[str, Play] = {
    "/health": answer(200, {"status": "ok"}),
    "/props": answer(200, {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}}),
    "/v1/models": answer(200, {"data": [{"id": "model.gguf"}]}),
}
VLLM: dict[str, Play] = {
    "/metrics": answer(200, b"# HELP vllm:num_requests_running x\nvllm:num_requests_running 0\n"),
    "/v1/models": answer(200, {"data": [{"id": "org/model", "max_model_len": 4096}]}),
}
PLAIN: dict[str, Play] = {"/v1/models": answer(200, {"object": "list", "data": [{"id": "a"}, {"id": "b"}]})}
WEBSITE: Play = answer(200, b"<!DOCTYPE html><html>Welcome</html>", {"content-type": "text/html"})
