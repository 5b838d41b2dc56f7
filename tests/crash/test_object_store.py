"""The data root on an object store, workers of two hosts on one Redis, one of them killed: a real S3 server is asked."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from tests import support_bucket
from tests.crash.hosts import OtherHost
from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 320
SLOTS = 8

pytestmark = support_bucket.needs_store


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with support_bucket.bucket(monkeypatch) as url:
        yield url


def test_two_hosts_one_redis_one_object_store(tmp_path: Path, bucket: str) -> None:
    """Source and data root in the bucket; the second host's process ids and clock have nothing to do with ours."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 150}
    there = OtherHost(tmp_path / "elsewhere", clock_off_s=7 * 60)
    remote, where = pafs.FileSystem.from_uri(bucket)
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, ["", ""], data=bucket, hosts={1: there}) as field,
    ):
        source = "s3://spillway/in/rows.jsonl"
        with remote.open_output_stream(source.removeprefix("s3://")) as out:
            out.write(field.program.rows(prompts(ROWS)).read_bytes())
        run_id = field.submit(source)
        for index, number in ((1, signal.SIGKILL), (0, signal.SIGTERM), (0, signal.SIGKILL)):
            before = field.requests()
            wait_until(lambda: field.requests() > before + 60, 60)  # noqa: B023
            field.workers.signal(index, number)
            field.workers.processes[index].wait()
            field.workers.mend()
        assert field.wait_for_end(run_id) == "completed"
        assert field.submit(source) == run_id, "finished: nothing to do"
        pafs.copy_files(where, str(field.program.data), source_filesystem=remote)
        wrong = judge(field.program, run_id, ROWS, upstream.calls(), in_flight=4 * SLOTS, redis=field.redis.client)
        assert not list(field.program.data.rglob("*.tmp"))
    assert not wrong, wrong
