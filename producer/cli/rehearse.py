"""`spillway simulate`, and what `--simulate` brings: stand-in servers and settings that touch nothing real."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import ConfigError, SpillwayError, UsageError
from producer.cli import DEMO, say, session
from producer.cli.options import Common

if TYPE_CHECKING:
    from pipelines.settings import Settings

CLIENT = "simulate"
"""On whose behalf every rehearsal asks."""
UNAUDITED = {"audit_share": 0.0}
"""Of each route, unless its scenario says otherwise: what stand-ins answer hangs on the letters of a prompt, so every audit would
condemn reuse and the next rehearsals would show none."""
START_S = 30.0
STOP_S = 5.0


def simulate(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Scenario [default: the demo]")] = None,
    ready_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Runs stand-in upstream servers for rehearsals and tests, with their own bill, until stopped."""
    from worker.simulator import main

    main(config, ready_file=ready_file)
    return 0


@asynccontextmanager
async def working(ask: Common, scenario: str | None) -> AsyncIterator[Settings]:
    """Settings to drain with: the configured targets, or for a scenario its stand-in servers as long as the block lasts."""
    if scenario is None:
        yield session.with_targets(session.settings_of(ask), ask)
        return
    async with _rehearsing(ask, scenario or DEMO) as settings:
        yield settings


@asynccontextmanager
async def _rehearsing(ask: Common, named: str) -> AsyncIterator[Settings]:
    """Starts the scenario's servers in a process of their own and yields settings that lead to them alone."""
    from pipelines.settings import parse_settings
    from worker.simulator import scenario_settings

    config, path = _config(named)
    found = session.settings_of(ask)
    real = found.spillway
    root = real.data if session.is_rehearsal(found) else f"{real.data.rstrip('/')}/simulate"
    _mark(root, str(path.resolve()) if path else DEMO)
    folder = Path(root if "://" not in root else "data/simulate")
    async with _servers(path, folder) as urls:
        for name, url in urls.items():
            say.note(f"stand-in server {name} at {url}")
        say.note(f"a rehearsal: its records are under {root} (`spillway report savings --data {root}`)")
        own = {
            "data": root,
            "redis_url": real.redis_url,
            "prefix": session.REHEARSAL,
            "keep_response": real.keep_response,
        }
        derived = scenario_settings(config, urls)
        routes = {name: {**UNAUDITED, **route} for name, route in derived["routes"].items()}
        yield parse_settings({**derived, "routes": routes, "spillway": own})


def _mark(root: str, scenario: str) -> None:
    """Makes a data root one of rehearsals, unless real runs are in it."""
    from producer.records import Records

    records = Records(root)
    if records.rehearsal() is None:
        newest = next(iter(records.ids()), "")
        if newest and (records.read(newest) or {}).get("client") != CLIENT:
            raise UsageError(f"{root} holds real runs and cannot take rehearsals; choose another --data")
    records.mark_rehearsal(scenario)


def _config(named: str) -> tuple[dict[str, Any], Path | None]:
    """The scenario as values, and its file if it has one."""
    from worker.simulator import DEMO as BUILT_IN
    from worker.simulator import parse_scenario, read_scenario

    if named == DEMO:
        return BUILT_IN, None
    config = read_scenario(Path(named))
    try:
        parse_scenario(config)
    except ConfigError as error:
        raise ConfigError(f"{named}: {error}") from None
    return config, Path(named)


@asynccontextmanager
async def _servers(path: Path | None, folder: Path) -> AsyncIterator[dict[str, str]]:
    """The simulator as a child process; yields the base URL of each server."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / f"servers-{time.monotonic_ns()}.json"
    process = await asyncio.to_thread(_start, path, ready, folder / "simulator.log")
    try:
        yield await _ready(process, ready, folder)
    finally:
        ready.unlink(missing_ok=True)
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(config: Path | None, ready: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "worker.simulator", "--ready-file", str(ready.resolve())]
    command += ["--config", str(config.resolve())] if config else []
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, cwd=Path(__file__).resolve().parents[2]
        )


async def _ready(process: subprocess.Popen[bytes], ready: Path, folder: Path) -> dict[str, str]:
    until_s = time.monotonic() + START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until_s:
            lines = (folder / "simulator.log").read_text(errors="replace").strip().split("\n")
            raise SpillwayError(f"the stand-in servers did not start: {lines[-1] or 'no reason given'}")
        await asyncio.sleep(0.02)
    told = json.loads(ready.read_bytes())
    return dict(told["servers"])
