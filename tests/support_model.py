"""A real model server that we did not write: `transformers serve` with a tiny model of random weights, made here.

Run as a program it writes the model into a folder and then is `transformers serve FOLDER OPTIONS`; no network is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support_net import free_port

ROOT = Path(__file__).parent.parent
START_S = 90.0
WINDOW_TOKENS = 2_048
PAD = "<pad>"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


class Served(NamedTuple):
    """The server's address as a target's base_url, and its model's name."""

    base_url: str
    model: str


def make(folder: str) -> None:
    """Two layers of a Llama whose tokens are bytes."""
    from tokenizers import models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([PAD, *letters])}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    write(folder, byte_level(models.BPE(vocabulary, [])), max_position_embeddings=WINDOW_TOKENS, **small)


def byte_level(model: Any) -> Any:
    """A tokenizer over bytes."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write(folder: str, tokenizer: Any, **config: int) -> None:
    """A Llama of random weights with that tokenizer; it never ends an answer by itself, `max_tokens` does."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    ends: dict[str, int | None] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **ends, **config))
    model.generation_config = GenerationConfig(**ends)
    model.save_pretrained(folder)


@contextmanager
def transformers_serve(
    *options: str, program: Sequence[str] = ("tests.support_model",), start_s: float = START_S
) -> Iterator[Served]:
    """The server as a process of its own, stopped at the end; `program` writes the model into a folder and goes on as the server."""
    with tempfile.TemporaryDirectory(prefix="sw-model-") as folder:
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "HF_HOME": f"{folder}/home"}
        model, log, port = f"{folder}/tiny-llama", Path(folder) / "log", free_port()
        command = [sys.executable, "-m", *program, model, "--host", "127.0.0.1", "--port", str(port), *options]
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=offline, stdout=out, stderr=out)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log, start_s)
            yield Served(f"http://127.0.0.1:{port}/v1", model)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, start_s: float) -> None:
    """Until it answers there; an error with the end of its log when it does not."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until_s = time.monotonic() + start_s
    while True:
        try:
            direct.open(url, timeout=2).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until_s:
                told = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"transformers serve did not start: {told}") from None
        time.sleep(0.1)


def serve(model: str, options: Sequence[str]) -> None:
    """Goes on as `transformers serve`."""
    from transformers.cli.transformers import main

    sys.argv = ["transformers", "serve", model, *options]
    main()


if __name__ == "__main__":
    make(sys.argv[1])
    serve(sys.argv[1], sys.argv[2:])
