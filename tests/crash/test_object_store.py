"""The data root on an object store, workers of two hosts on one Redis, one of them killed: a real S3 server is asked.

It needs the program `moto_server` (package moto[server]) beside the interpreter; one found elsewhere may be of any age.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pyarrow.fs as pafs
import pytest

from tests.crash.hosts import OtherHost
from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_net import free_port, wait_for_port
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 320
SLOTS = 8
SERVER = shutil.which("moto_server", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(SERVER is None, reason="moto_server is not installed")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert SERVER is not None
    command = [SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        build_opener(ProxyHandler({})).open(Request(f"{address}/spillway", method="PUT")).close()  # noqa: S310
        yield "s3://spillway/data"
    finally:
        server.terminate()
        server.wait()


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
