"""All kinds of servers together: each has a file, and none carries what its provider does not know."""

from __future__ import annotations

from dataclasses import fields

from cerebras.cloud.sdk.types.chat.completion_create_params import CompletionCreateParams
from huggingface_hub import ChatCompletionInput
from openrouter.components import ChatRequest

from tests.contracts.backend_contract import ROW
from tests.worker.backends.compatible import Compatible
from worker.backends import load


class TestSimulator(Compatible):
    kind = "simulator"


def test_every_kind_has_a_file() -> None:
    from typing import get_args

    from pipelines.config.sections import Kind

    for kind in get_args(Kind):
        adapter = load(kind)
        assert callable(adapter.request)
        assert callable(adapter.parse)
        assert load(kind) is adapter


def test_the_shared_samples_do_not_hide_a_difference() -> None:
    """The same row goes out the same to servers that know the same words."""
    bodies = {kind: Compatible.sent(_of(kind), ROW) for kind in ("vllm", "llamacpp", "huggingface", "runpod")}
    assert len({str(body) for body in bodies.values()}) == 1


def _of(kind: str) -> Compatible:
    each = Compatible()
    each.kind = kind  # type: ignore[misc]
    return each


def test_nothing_is_carried_that_the_providers_own_types_do_not_know() -> None:
    """For those whose client says what there is; the others' documents are in docs/providers.md."""
    known = {
        "cerebras": CompletionCreateParams.__annotations__.keys(),
        "openrouter": ChatRequest.model_fields.keys(),
        "huggingface": {each.name for each in fields(ChatCompletionInput)} | {"max_completion_tokens"},
    }
    for kind, names in known.items():
        assert load(kind).carries <= names, kind  # type: ignore[attr-defined]
