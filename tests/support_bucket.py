"""An object store for tests: a real S3 server (the program `moto_server`, package moto[server]) with one bucket.

Only the one beside the interpreter is used; one found elsewhere may be of any age.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.support_net import free_port, wait_for_port

SERVER = shutil.which("moto_server", path=str(Path(sys.executable).parent))

needs_store = pytest.mark.skipif(SERVER is None, reason="moto_server is not installed")


@contextmanager
def bucket(environment: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a data root in it; this process and those that it starts know where the store is."""
    with served(environment) as (url, _):
        yield url


@contextmanager
def served(environment: pytest.MonkeyPatch) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same, and its process, which may be stopped for a while."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        environment.setenv(name, value)
    assert SERVER is not None
    command = [SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        build_opener(ProxyHandler({})).open(Request(f"{address}/spillway", method="PUT")).close()  # noqa: S310
        yield "s3://spillway/data", server
    finally:
        server.send_signal(signal.SIGCONT)
        server.terminate()
        server.wait()
