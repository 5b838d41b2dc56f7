"""The stand-in servers as a real process for tests: started on free ports, asked over HTTP, stopped at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.support_warm import Warm

ROOT = Path(__file__).parent.parent
START_S = 20.0

_direct = build_opener(ProxyHandler({}))


class Upstream:
    """`with Upstream({"servers": {...}}) as upstream:` - the bill is the judge, the process can be killed."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self._folder = tempfile.TemporaryDirectory(prefix="sw-up-")
        self._told: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts the process and waits until its servers listen; with fixed ports it may be started again after a stop."""
        folder = Path(self._folder.name)
        config, ready, log = folder / "scenario.json", folder / "ready.json", folder / "log"
        config.write_text(json.dumps(self.config))
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "worker.simulator", "--config", str(config), "--ready-file", str(ready)]
        with log.open("wb") as out:
            self.process = Warm(command, cwd=ROOT, stdout=out, stderr=out)
        until_s = time.monotonic() + START_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"the simulator did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)
        self._told = json.loads(ready.read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def base_urls(self) -> dict[str, str]:
        """What scenario_settings needs."""
        return dict(self._told["servers"])

    def url(self, name: str) -> str:
        """The base URL of a server, as a target's base_url is written."""
        return str(self._told["servers"][name])

    def root(self, name: str) -> str:
        """The address of a server without a path."""
        return str(self._told["roots"][name])

    @property
    def control_url(self) -> str:
        return str(self._told["control"])

    def settings(self) -> dict[str, Any]:
        """The targets and routes of a spillway.toml for these servers."""
        from worker.simulator import scenario_settings

        return scenario_settings(self.config, self.base_urls)

    def bill(self, name: str | None = None) -> dict[str, Any]:
        """The accounts of all servers by name, or of one."""
        accounts: dict[str, Any] = json.loads(self._ask("/bill"))["servers"]
        return accounts if name is None else accounts[name]

    def calls(self, name: str | None = None) -> list[dict[str, Any]]:
        """Every billed call, of one server if named."""
        lines = [json.loads(line) for line in self._ask("/bill/calls").splitlines()]
        return [line for line in lines if name is None or line["server"] == name]

    def status(self, name: str | None = None) -> dict[str, Any]:
        servers: dict[str, Any] = json.loads(self._ask("/status"))["servers"]
        return servers if name is None else servers[name]

    def control(self, server: str = "*", **changes: Any) -> dict[str, Any]:
        """Changes running servers: down=True, slots=4, faults=[...], fault_rates={...}, latency_ms=..."""
        told: dict[str, Any] = json.loads(self._ask("/control", {"server": server, **changes}))
        return told

    def reset(self) -> None:
        """Empties the bill and the figures."""
        self._ask("/reset", {})

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.control_url + path, data=data)  # noqa: S310 - our own http address
        try:
            with _direct.open(request, timeout=30) as reply:
                return bytes(reply.read())
        except HTTPError as error:
            raise ValueError(f"{path}: {error.read().decode(errors='replace')}") from None
