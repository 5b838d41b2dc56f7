"""What keeping common beginnings together is worth: a server with a prefix cache, prompts of thirty beginnings in mixed order.

`python -m tests.benchmarks.prefixes`: once as the file comes, as many calls at once as the server has slots, and once through
Spillway. A line of JSON for each: seconds from the first call to the last answer, and the share of input tokens that were cached.
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

from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream

SLOTS, BEGINNINGS, TOKENS = 16, 30, 1500
SENTENCE = "The desk answers in the tone of the house, names the paragraph it relies on and never promises a date. "


def server(held: int) -> dict[str, Any]:
    """A GPU whose cache holds so many of the beginnings."""
    return {
        "personality": "vllm", "model": "m", "slots": SLOTS, "answer": "text", "output_tokens_median": 30,
        "output_tokens_sigma": 0.4, "tokens_per_s": 6000.0, "half_at": 16.0, "prefill_share": 0.1,
        "prefix_cache_tokens": held * (TOKENS + 100), "prefix_block_tokens": 64,
    }  # fmt: skip


def prompts(each: int, seed: int = 1) -> list[str]:
    beginnings = [f"House {number:02}. {SENTENCE * (4 * TOKENS // len(SENTENCE))}" for number in range(BEGINNINGS)]
    found = [f"{text} Question {row}: what now?" for text in beginnings for row in range(each)]
    random.Random(seed).shuffle(found)
    return found


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
    return float((costs["finished_at"].max() - costs["started_at"].min()).total_seconds())  # type: ignore[operator]


def measure(each: int, held: int) -> None:
    for name, way in (("as the file comes", as_the_file_comes), ("Spillway", through_spillway)):
        with Upstream({"servers": {"gpu": server(held)}}) as upstream:
            seconds, calls = way(upstream, prompts(each)), upstream.calls()
        cached = sum(call["cached_tokens"] for call in calls) / sum(call["input_tokens"] for call in calls)
        print(json.dumps({
            "way": name, "rows": len(calls), "held": held, "beginnings": BEGINNINGS, "seconds": round(seconds, 1),
            "cached_share": round(cached, 3), "load": round(os.getloadavg()[0], 1),
        }), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=80, help="prompts of each beginning")
    parser.add_argument("--held", type=int, nargs="*", default=[6], help="beginnings that the server's cache holds")
    given = parser.parse_args()
    for held in given.held:
        measure(given.each, held)


if __name__ == "__main__":
    main()
