"""What batches made for a GPU are worth: common beginnings together, long prompts beside long answers.

`python -m tests.benchmarks.gpu_batches`: each job once as the file comes, as many calls at once as the server has slots, and once
through Spillway. A line of JSON for each: seconds from the first call to the last answer, and the share of input tokens cached.
The servers are stand-ins; with `--gpu` it is one that is not ours, on a GPU (gpu_server.py).

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

from tests.benchmarks.gpu_server import gpu_server
from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream

SLOTS, BEGINNINGS, TOKENS = 32, 30, 1500
FILE, SPILLWAY = "as the file comes", "Spillway"
SENTENCE = "The desk answers in the tone of the house, names the paragraph it relies on and never promises a date. "
Row = dict[str, Any]
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


def beginnings(
    each: int, held: int, count: int = BEGINNINGS, tokens: int = TOKENS, answer: int = 30
) -> tuple[dict[str, Any], list[Row]]:
    """A GPU whose cache holds so many of them; and their prompts, in any order."""
    server = {
        **WRITES, "output_tokens_median": 30, "output_tokens_sigma": 0.4, "prefill_share": 0.1,
        "prefix_cache_tokens": held * (tokens + 100), "prefix_block_tokens": 64,
    }  # fmt: skip
    heads = [f"House {number:02}. {text(tokens)}" for number in range(count)]
    found: list[Row] = [
        {"prompt": f"{head} Question {row}: what now?", "max_tokens": answer} for head in heads for row in range(each)
    ]
    random.Random(1).shuffle(found)
    return server, found


def mixture(each: int) -> tuple[dict[str, Any], list[Row]]:
    """As long to read as to write: a minute of either for 300 prompts each."""
    lengths = [{"match": "judge", "median": 20, "sigma": 0.3}, {"match": "write", "median": 780, "sigma": 0.3}]
    server = {**WRITES, "prefill_tokens_per_s": 20_000.0, "outputs": lengths}
    return server, limited(each, 3900, 780)


def limited(each: int, read: int, written: int) -> list[Row]:
    """Long prompts with short answers, then short ones with answers so long, in tokens."""
    judged: list[Row] = [
        {"prompt": f"Number {row}: judge in a word. {text(read)}", "max_tokens": 20} for row in range(each)
    ]
    return judged + [
        {"prompt": f"Number {row}: write a letter. {text(90)}", "max_tokens": written} for row in range(each)
    ]


def as_the_file_comes(base_url: str, model: str, rows: list[Row]) -> float:
    """Seconds."""
    where = urlsplit(base_url)

    def ask(row: Row) -> None:
        connection = HTTPConnection(where.hostname or "", where.port)
        limit = {"max_tokens": row["max_tokens"]} if "max_tokens" in row else {}
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": row["prompt"]}], **limit})
        connection.request("POST", f"{where.path}/chat/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.read() and answer.status == 200
        connection.close()

    began_s = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(ask, rows))
    return time.monotonic() - began_s


def through_spillway(base_url: str, model: str, rows: list[Row], slots: int | str = SLOTS) -> tuple[float, int]:
    """Seconds, and input tokens."""
    target = {"kind": "openai", "lane": "local", "base_url": base_url, "model": model, "max_concurrency": slots}
    with redis_server() as url, tempfile.TemporaryDirectory(prefix="sw-pre-") as folder:
        program = Program(Path(folder), spillway={"redis_url": url}, targets={"gpu": target})
        with team(program, url, lanes=1):
            out = program.json("run", str(program.rows(rows)), "--dedupe", "off", timeout_s=900)
        costs = program.costs()
    assert out["ok"] == len(rows)
    seconds = costs.select(pl.max("finished_at") - pl.min("started_at")).item().total_seconds()
    return float(seconds), int(costs["input_tokens"].sum())


def tell(job: str, way: str, rows: int, seconds: float, cached: float) -> None:
    print(json.dumps({
        "job": job, "way": way, "rows": rows, "seconds": round(seconds, 1), "cached_share": round(cached, 3),
        "load": round(os.getloadavg()[0], 1),
    }), flush=True)  # fmt: skip


def measure(job: str, server: dict[str, Any], rows: list[Row]) -> None:
    """On a stand-in, a fresh one for each way; it knows itself how long answers get."""
    rows = [{"prompt": row["prompt"]} for row in rows]
    for way in (FILE, SPILLWAY):
        with Upstream({"servers": {"gpu": server}}) as upstream:
            url = upstream.url("gpu")
            seconds = as_the_file_comes(url, "m", rows) if way == FILE else through_spillway(url, "m", rows)[0]
            calls = upstream.calls()
        cached = sum(call["cached_tokens"] for call in calls) / sum(call["input_tokens"] for call in calls)
        tell(job, way, len(calls), seconds, cached)


def measure_on_gpu(size: str, cache_tokens: int, jobs: dict[str, list[Row]], rounds: int) -> None:
    """One server for all; a word in front of every prompt of a pass makes its beginnings new to the prefix cache."""
    with gpu_server(cache_tokens, size) as server:
        as_the_file_comes(
            server.base_url, server.model, [{"prompt": f"Warm {at}.", "max_tokens": 8} for at in range(SLOTS)]
        )
        for number in range(rounds):
            for job, asked in jobs.items():
                input_tokens = 1
                for way in (SPILLWAY, FILE):
                    rows = [{**row, "prompt": f"{way} {number}. {row['prompt']}"} for row in asked]
                    before = server.found_tokens()
                    if way == FILE:
                        seconds = as_the_file_comes(server.base_url, server.model, rows)
                    else:
                        seconds, input_tokens = through_spillway(server.base_url, server.model, rows)
                    tell(job, way, len(rows), seconds, (server.found_tokens() - before) / input_tokens)


def climb_on_gpu(size: str, cache_tokens: int, rows: int) -> None:
    """How fast the server is by how many calls it gets at once, and what `max_concurrency = "auto"` makes of that."""
    with gpu_server(cache_tokens, size) as server:
        as_the_file_comes(server.base_url, server.model, [{"prompt": "Warm.", "max_tokens": 8}] * SLOTS)
        for slots in ("auto", 16, 32, 64):
            asked = [{"prompt": f"At {slots} at once, row {row}: {text(200)}", "max_tokens": 32} for row in range(rows)]
            seconds, _ = through_spillway(server.base_url, server.model, asked, slots)
            tell("climb", str(slots), rows, seconds, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=80, help="prompts of each beginning")
    parser.add_argument("--beginnings", type=int, default=BEGINNINGS)
    parser.add_argument("--held", type=int, default=6, help="beginnings that the server's cache holds")
    parser.add_argument("--only", choices=["beginnings", "mixture", "climb"], help="climb: of the real server")
    parser.add_argument("--gpu", choices=["gpu", "tiny"], help="a real server with a model of this size")
    parser.add_argument("--cache-tokens", type=int, default=65_536, help="what the real server's cache holds in all")
    parser.add_argument(
        "--letters", type=int, default=120, help="prompts of either kind in the mixture on the real server"
    )
    parser.add_argument("--answer", type=int, default=4, help="tokens of an answer to a beginning there")
    parser.add_argument("--written", type=int, default=256, help="tokens of a long answer there")
    parser.add_argument("--rounds", type=int, default=1, help="of every job on the real server")
    given = parser.parse_args()
    scale = (given.beginnings, TOKENS, 3900, given.written) if given.gpu == "gpu" else (4, 200, 300, 30)
    if given.gpu and given.only == "climb":
        climb_on_gpu(given.gpu, given.cache_tokens, given.letters)
    elif given.gpu:
        jobs = {
            "beginnings": beginnings(given.each, given.held, *scale[:2], given.answer)[1],
            "mixture": limited(given.letters, *scale[2:]),
        }
        wanted = {name: jobs[name] for name in jobs if given.only in (None, name)}
        measure_on_gpu(given.gpu, given.cache_tokens, wanted, given.rounds)
    elif given.only != "mixture":
        measure("beginnings", *beginnings(given.each, given.held, given.beginnings))
    if not given.gpu and given.only != "beginnings":
        measure("mixture", *mixture(300))


if __name__ == "__main__":
    main()
