"""Starts a scenario's servers in one process, and stops them; the composition root of the simulator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from worker.simulator.core.bill import Bill
from worker.simulator.core.config import Scenario
from worker.simulator.core.control import controlling
from worker.simulator.core.http import Listener
from worker.simulator.core.personality import parse_scenario, personalities, serving
from worker.simulator.core.server import Server
from worker.simulator.demo import DEMO

PARENT_CHECK_S = 1.0


class Running:
    """Servers that accept requests; made by `serve`."""

    def __init__(self, scenario: Scenario, servers: dict[str, Server], bill: Bill, control: Listener) -> None:
        self.scenario, self.servers, self.bill, self._control = scenario, servers, bill, control

    @property
    def control_url(self) -> str:
        return f"http://{_shown(self.scenario.host)}:{self._control.port}"

    def url(self, name: str) -> str:
        """The root of one server."""
        listener = self.servers[name].listener
        assert listener is not None
        return f"http://{_shown(self.scenario.host)}:{listener.port}"

    @property
    def base_urls(self) -> dict[str, str]:
        """What a target's base_url is, by server."""
        known = personalities()
        return {
            name: self.url(name) + known[server.config.personality].base_path for name, server in self.servers.items()
        }


@asynccontextmanager
async def serve(config: Mapping[str, Any]) -> AsyncIterator[Running]:
    """Runs the scenario while the block lasts. Raises ConfigError for a mistake or a port that is taken."""
    scenario = parse_scenario(config)
    bill = Bill(scenario.bill_file)
    listeners: list[Listener] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        servers = {name: Server(name, each, scenario.seed, bill) for name, each in scenario.servers.items()}
        for name, server in servers.items():
            handler = serving(server, personalities()[server.config.personality])
            listener = server.listener = Listener(handler, _cancels(server))
            listeners.append(listener)
            await _open(listener, scenario.host, server.config.port, f"servers.{name}")
        control = Listener(controlling(servers, bill))
        listeners.append(control)
        await _open(control, scenario.host, scenario.control.port, "control")
        tasks += [asyncio.create_task(_down_windows(server)) for server in servers.values() if server.config.down]
        tasks.append(asyncio.create_task(_sample(servers, scenario.sample_ms / 1000)))
        yield Running(scenario, servers, bill, control)
    finally:
        for task in tasks:
            task.cancel()
        for listener in listeners:
            listener.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        bill.close()


def read_scenario(path: Path) -> dict[str, Any]:
    """A scenario file (TOML, or JSON by its name) as plain values. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing scenario") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not valid {path.suffix.lstrip('.') or 'TOML'}: {error}; mend the file") from None
    return data


def main(config_path: Path | None = None, ready_file: Path | None = None) -> None:
    """`spillway simulate`: runs until SIGINT or SIGTERM; with `ready_file` it also ends with the process that started it."""
    config = DEMO if config_path is None else read_scenario(config_path)
    parse_scenario(config)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with runner:
        runner.run(_run(config, ready_file))


async def _run(config: Mapping[str, Any], ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(config) as running:
        for name, url in running.base_urls.items():
            print(f"{name:<12} {running.servers[name].config.personality:<12} {url}")
        print(f"{'control':<12} {'':<12} {running.control_url}   (/status /bill /bill/calls)", flush=True)
        if ready_file is not None:
            _tell(ready_file, running)
        watch = asyncio.create_task(_until_orphaned(stop)) if ready_file is not None else None
        await stop.wait()
        if watch is not None:
            watch.cancel()


def _tell(ready_file: Path, running: Running) -> None:
    told = {"servers": running.base_urls, "control": running.control_url, "pid": os.getpid(),
            "roots": {name: running.url(name) for name in running.servers}}  # fmt: skip
    draft = ready_file.with_name(ready_file.name + ".new")
    draft.write_text(json.dumps(told), encoding="utf-8")
    draft.replace(ready_file)


async def _until_orphaned(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_CHECK_S)
    stop.set()


async def _open(listener: Listener, host: str, port: int, what: str) -> None:
    try:
        listener.reserve(host, port)
        await listener.open()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{what}: port {port} on {host} cannot be opened ({reason}); choose another, or 0") from None


def _cancels(server: Server) -> Callable[[], bool]:
    return lambda: not server.config.bills_the_departed


async def _down_windows(server: Server) -> None:
    for start_s, end_s in sorted(server.config.down):
        await asyncio.sleep(max(0.0, start_s - server.uptime_s))
        await server.set_down(True)
        await asyncio.sleep(max(0.0, end_s - server.uptime_s))
        await server.set_down(False)


async def _sample(servers: Mapping[str, Server], interval_s: float) -> None:
    while True:
        await asyncio.sleep(max(0.01, interval_s))
        for server in servers.values():
            server.sample()


def _shown(host: str) -> str:
    """An address that a client on this machine can use."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - told apart, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        print("spillway simulate: uvloop is not installed; the servers run slower", file=sys.stderr)
        return None
    return uvloop.new_event_loop
