"""What batches made for a GPU are worth, on stand-in servers: common beginnings together, long prompts beside long answers.

`python -m tests.benchmarks.gpu_batches`: each job once as the file comes, as many calls at once as the server has slots, and once
through Spillway. A line of JSON for each: seconds from the first call to the last answer, and the share of input tokens cached.

* `beginnings`: prompts of thirty beginnings in any order; the server's prefix cache holds a few of them.
* `mixture`: a file of long prompts with short answers, then short prompts with long answers; the server reads one prompt at a
  time, beside what it writes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream

SLOTS, BEGINNINGS, TOKENS = 32, 30, 1500
SENTENCE = "The desk answers in the tone of the house, names the paragraph it relies on and never promises a date. "
WRITES = {
    "personality": "vllm",
    "model": "m",
    "slots": SLOTS,
    "answer": "text",
    "tokens_per_s": 6000.0,
    "half_at": 16.0,
}


def text(tokens: int) -> str:
    return SENTENCE * (4 * tokens // len(SENTENCE))


def beginnings(each: int, held: int) -> tuple[dict[str, Any], list[str]]:
    """A GPU whose cache holds so many of them; and their prompts."""
    server = {
        **WRITES, "output_tokens_median": 30, "output_tokens_sigma": 0.4, "prefill_share": 0.1,
        "prefix_cache_tokens": held * (TOKENS + 100), "prefix_block_tokens": 64,
    }  # fmt: skip
    heads = [f"House {number:02}. {text(TOKENS)}" for number in range(BEGINNINGS)]
    found = [f"{head} Question {row}: what now?" for head in heads for row in range(each)]
    random.Random(1).shuffle(found)
    return server, found


def mixture(each: int) -> tuple[dict[str, Any], list[str]]:
    """As long to read as to write: a minute of either for 300 prompts each."""
    lengths = [{"match": "Judge", "median": 20, "sigma": 0.3}, {"match": "Write", "median": 780, "sigma": 0.3}]
    server = {**WRITES, "prefill_tokens_per_s": 20_000.0, "outputs": lengths}
    judged = [f"Judge in a word. {text(3900)} Number {row}." for row in range(each)]
    return server, judged + [f"Write a letter. {text(90)} Number {row}." for row in range(each)]


def as_the_file_comes(upstream: Upstream, asked: list[str]) -> float:
    """Seconds."""
    where = urlsplit(upstream.url("gpu"))

    def ask(prompt: str) -> None:
        connection = HTTPConnection(where.hostname or "", where.port)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]})
        connection.request("POST", f"{where.path}/chat/completions", body, {"content-type": "application/json"})
        assert connection.getresponse().read()
        connection.close()

    began_s = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(ask, asked))
    return time.monotonic() - began_s


def through_spillway(upstream: Upstream, asked: list[str]) -> float:
    with redis_server() as url, tempfile.TemporaryDirectory(prefix="sw-pre-") as folder:
        program = Program(Path(folder), upstream, spillway={"redis_url": url})
        with team(program, url, lanes=1):
            program.json(
                "run", str(program.rows([{"prompt": each} for each in asked])), "--dedupe", "off", timeout_s=900
            )
        costs = program.costs()
    return float(costs.select(pl.max("finished_at") - pl.min("started_at")).item().total_seconds())


def measure(job: str, server: dict[str, Any], asked: list[str]) -> None:
    for name, way in (("as the file comes", as_the_file_comes), ("Spillway", through_spillway)):
        with Upstream({"servers": {"gpu": server}}) as upstream:
            seconds, calls = way(upstream, asked), upstream.calls()
        cached = sum(call["cached_tokens"] for call in calls) / sum(call["input_tokens"] for call in calls)
        print(json.dumps({
            "job": job, "way": name, "rows": len(calls), "seconds": round(seconds, 1), "cached_share": round(cached, 3),
            "load": round(os.getloadavg()[0], 1),
        }), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=80, help="prompts of each beginning")
    parser.add_argument("--held", type=int, default=6, help="beginnings that the server's cache holds")
    parser.add_argument("--only", choices=["beginnings", "mixture"])
    given = parser.parse_args()
    if given.only != "mixture":
        measure("beginnings", *beginnings(given.each, given.held))
    if given.only != "beginnings":
        measure("mixture", *mixture(300))


if __name__ == "__main__":
    main()
