"""Ports on loopback for the servers that tests start, and what their clients know of TLS."""

from __future__ import annotations

import socket
import ssl
import time

CERTIFICATES = ssl.create_default_context()
"""`verify` of every client: nothing here speaks TLS, and a client that reads the world's certificates itself takes 40 ms."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")
