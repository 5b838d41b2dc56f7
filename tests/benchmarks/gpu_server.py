"""A server with a prefix cache that is not ours, on a GPU: `transformers serve` with continuous batching and random weights.

`with gpu_server() as server:` makes a Llama of 2.8 billion weights and a vocabulary trained on this project's pages, and starts
the server as a process of its own, this file as its program. The server does not say in its answers how many tokens its prefix
cache had; what its scheduler finds there is counted beside it, into a file. Nothing of what it does is changed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support_model import PAD, byte_level, serve, transformers_serve, write

ROOT = Path(__file__).parent.parent.parent
START_S = 240.0
SIZES = {
    "gpu": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 4},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
}  # fmt: skip
VOCABULARY, WINDOW_TOKENS = 8192, 8192
BLOCK_TOKENS, BATCH_TOKENS = 64, 2048


class Server(NamedTuple):
    """Its base_url as a target has it, its model's name, and where the count of found tokens is."""

    base_url: str
    model: str
    found: Path

    def found_tokens(self) -> int:
        """Input tokens that the prefix cache had so far."""
        return int(self.found.read_text() or "0") if self.found.exists() else 0


def make(folder: str, size: str) -> None:
    """On the GPU, where there is one."""
    import torch
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = byte_level(models.BPE())
    letters = pre_tokenizers.ByteLevel.alphabet()
    learning = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD], initial_alphabet=letters, show_progress=False
    )
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("*/*.py"), *ROOT.glob("tests/benchmarks/*.py")]
    tokenizer.train([str(page) for page in pages], learning)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        write(folder, tokenizer, max_position_embeddings=WINDOW_TOKENS, **SIZES[size])


@contextmanager
def gpu_server(cache_tokens: int, size: str = "gpu") -> Iterator[Server]:
    """Its cache holds so many tokens, of running prompts and of what earlier ones left; `tiny` is for a look without a GPU."""
    options = [
        "--continuous-batching", "--attn-implementation", "sdpa", "--cb-block-size", str(BLOCK_TOKENS), "--cb-num-blocks",
        str(cache_tokens // BLOCK_TOKENS), "--cb-max-batch-tokens", str(BATCH_TOKENS),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="sw-gpu-") as folder:
        found = f"{folder}/found"
        program = ("tests.benchmarks.gpu_server", size, found)
        with transformers_serve(*options, program=program, start_s=START_S) as served:
            yield Server(served.base_url, served.model, Path(found))


def _count(into: Path) -> None:
    """What the scheduler's search for a known beginning returns is added up."""
    from transformers.generation.continuous_batching.cache import PagedAttentionCache

    search, total = PagedAttentionCache.search_prefix_match, 0

    def counted(self: Any, *given: Any) -> int:
        nonlocal total
        length = int(search(self, *given))
        total += length
        into.write_text(json.dumps(total))
        return length

    PagedAttentionCache.search_prefix_match = counted


if __name__ == "__main__":
    size, found, model, *options = sys.argv[1:]
    make(model, size)
    _count(Path(found))
    serve(model, options)
