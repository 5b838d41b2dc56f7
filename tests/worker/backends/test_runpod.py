"""RunPod: the contract, and what it does in its own way."""

from __future__ import annotations

from typing import ClassVar

from tests.worker.backends.compatible import Compatible


class TestRunpod(Compatible):
    kind = "runpod"
    base_path = "/v2/abc/openai/v1"
    path = "/v2/abc/openai/v1/chat/completions"
    cannot: ClassVar = {"`verbosity`": {"verbosity": "low"}, "`store`": {"store": True}}

    def test_a_workers_error_comes_as_success(self) -> None:
        body = {"error": {"message": "CUDA out of memory", "type": "worker_error", "code": None}}
        failure = self.failure(body)
        assert (failure.kind, failure.code, failure.http_status) == ("transient", "worker_error", 200)
        assert "CUDA" in failure.message
