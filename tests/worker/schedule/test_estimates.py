"""Estimates on a real Redis: heartbeats in, weights out, and the next process begins with what this one learned."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.learn import Length
from pipelines.settings import parse_settings
from pipelines.types import BatchHead
from tests.support_redis import redis_server
from worker.beat import Beat, TargetStats
from worker.context import Context
from worker.queue import connect
from worker.schedule import estimates
from worker.schedule.estimates import Estimates

SETTINGS = {
    "targets": {
        "gpu": {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "max_concurrency": 4},
        "mini": {"kind": "openai", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:2/v1", "api_key": "k", "rpm": 90,
                 "tpm": 60_000},
    },
    "routes": {"small": {"targets": ["gpu", "mini"]}, "home": {"targets": ["gpu"]}},
}  # fmt: skip


def head(number: int, group: str, output_tokens: int = 2000) -> BatchHead:
    return BatchHead(f"r.0.0.{number}", "r", "small", 0, 10, 5000, output_tokens, 1.0, 1, 1, group=group)


async def test_what_was_learned_reorders_batches_and_outlives_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "SAVE_S", 0.0)
    with redis_server() as url:
        redis = await connect(url)
        context = Context(parse_settings({**SETTINGS, "spillway": {"data": str(tmp_path)}}), redis, url)
        first = Estimates(context)
        await first.look({})
        short, long = head(0, "labels"), head(1, "essays")
        assert first.weigh(short) == first.weigh(long), "nothing tells them apart yet"
        lengths = {"labels": Length(500, 100_000, 10_000, 1e6), "essays": Length(500, 100_000, 300_000, 1e9)}
        stats = TargetStats(4, 0, 4, 10, 1000, 1000, 5.0, 1.0)
        beats = {"w": Beat(targets={"gpu": stats, "mini": TargetStats()}, lengths=lengths)}
        await first.look(beats)  # kinds that are new are weighed anew at once
        beats["w"].targets["mini"] = replace(stats, in_flight=0, latency_s=1.3)
        await first.look(beats)  # the same sums again teach nothing new
        assert first.weigh(short).work == pytest.approx(500 + 200, rel=0.05)
        assert first.weigh(long).work == pytest.approx(500 + 6000, rel=0.05)
        assert first.weigh(short).saved != first.weigh(long).saved
        weighed = first.weigh(short).work + first.weigh(long).work
        assert first.longer([short, long]) == pytest.approx(weighed / (short.work + long.work)), "for what was guessed"
        assert first.limit("mini", [short]) == pytest.approx(60_000 / 60 / (500 + 4_096)), "each may write so much"
        limited = replace(short, max_tokens=10 * 300)
        assert first.limit("mini", [limited]) == pytest.approx(60_000 / 60 / (500 + 300)), "not what it likely writes"
        assert first.limit("gpu", [short]) == float("inf")
        elsewhere = replace(long, route="home", input_tokens=10**6)
        assert first.limit("mini", [limited, elsewhere]) == first.limit("mini", [limited]), "it never goes there"
        assert first.limit("mini", [limited]) == pytest.approx(10 / first.cloud_s(limited)), "and of each batch alone"
        assert first.cloud_s(elsewhere) == 0.0

        assert 0 < await redis.ttl(context.keys.learned) <= estimates.KEEP_S
        await redis.hset(
            context.keys.learned, mapping={"length:odd": b"[", "speed:gpu m": b'{"spans": "x"}', b"\xff": b"?"}
        )
        second = Estimates(context)
        await second.look({})
        assert (second.speeds["mini"].latency_s, second.speeds["mini"].rows_per_s) == (1.3, pytest.approx(2.0))
        assert not second.speeds["gpu"].spans and not second.speeds["gpu"].rate, (
            "of the local lane full spans alone say anything"
        )
        assert second.weigh(short).work == pytest.approx(500 + 200, rel=0.1)
        assert second.weigh(long).work == pytest.approx(500 + 6000, rel=0.1)
        await redis.aclose()
