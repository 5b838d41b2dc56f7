"""What a command works with: settings, the records of its data root, and Redis, its own or somebody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines import wire
from pipelines.errors import ConfigError, QueueError, StoreError, UsageError
from producer.cli.options import Common
from producer.cli.say import note

if TYPE_CHECKING:
    from pipelines.config.sections import Target
    from pipelines.settings import Settings
    from producer.queue import Redis
    from worker.embedded import Embedded

EMBEDDED = "embedded"
STORES = ("s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://")
REHEARSAL = "spillway-sim"
"""The Redis prefix of every data root that is a rehearsal's, and of no other."""


class Session(NamedTuple):
    """An open Redis with its names; `engine` is there when this command may have started workers."""

    redis: Redis
    keys: wire.Keys
    engine: Embedded | None = None


def settings_of(ask: Common, **more: Any) -> Settings:
    """spillway.toml, environment and the command's own options, the later ones first; in a rehearsal's data root under
    the prefix of rehearsals, so that it meets no real state."""
    from pipelines.settings import load_settings
    from producer.records import Records

    given = {"data": ask.data, "redis_url": ask.redis, **more.pop("spillway", {})}
    overrides = {"spillway": {name: value for name, value in given.items() if value is not None}, **more}
    settings = load_settings(ask.config, overrides)
    root = _root(settings.spillway.data)
    if is_rehearsal(settings):
        raise ConfigError(f"[spillway] prefix: {REHEARSAL!r} is kept for rehearsals (--simulate); choose another one")
    prefix = settings.spillway.prefix if Records(root).rehearsal() is None else REHEARSAL
    where = settings.spillway.model_copy(update={"data": root, "prefix": prefix})
    return settings.model_copy(update={"spillway": where})


def _root(data: str) -> str:
    """The data root as a path or an object store's URL; ConfigError for what can be neither."""
    from urllib.parse import unquote

    path = unquote(data.removeprefix("file://")) if data.startswith("file://") else data
    if "://" in path and (not path.startswith(STORES) or path.endswith("://")):
        raise ConfigError(f"the data root {path} is neither a folder nor an object store ({', '.join(STORES)})")
    if "://" not in path and Path(path).exists() and not Path(path).is_dir():
        raise ConfigError(f"the data root {path} is no folder; choose another --data")
    return path


def is_rehearsal(settings: Settings) -> bool:
    """Whether stand-in servers answer in this data root."""
    return settings.spillway.prefix == REHEARSAL


def refuse_rehearsal(settings: Settings) -> None:
    """UsageError where real targets would answer a rehearsal's rows, or real rows would land among rehearsed ones."""
    if is_rehearsal(settings):
        root = settings.spillway.data
        raise UsageError(
            f"{root} holds rehearsals, no real target works there: add --simulate, or choose another --data"
        )


def is_address(name: str) -> bool:
    """Whether a command's TARGET is an address (http://host:port, host:port) instead of a name, which has no colon."""
    return ":" in name


async def target_at(settings: Settings, url: str) -> Target:
    """A target for whatever answers at an address. UsageError when nobody does, and for the address of a target that costs
    money: calls there are made by its name, within its budgets."""
    from worker.bench import bench

    url = url if "://" in url else f"http://{url}"
    if (name := bench.paid_at(url, settings.targets)) is not None:
        raise UsageError(f"target {name} is at {url}, and its calls cost money: name the target, not its address")
    found = await bench.target_at(url)
    if found is None:
        raise UsageError(f"nobody answers at {url}; is the server running?")
    return found


def with_targets(settings: Settings, ask: Common) -> Settings:
    """Settings that name at least one target: as configured, else what this machine offers; says what it found. What
    `spillway bench` measured is in them. UsageError in a rehearsal's data root."""
    refuse_rehearsal(settings)
    if settings.targets:
        _tell_missing_keys(settings)
        return measured(settings)
    from worker.bench.health import find_local

    found = find_local()
    if not found.get("targets"):
        raise ConfigError(
            "no targets: none in spillway.toml, no LM Studio, Ollama, vLLM or llama.cpp on localhost, and no provider "
            "key in the environment; add [targets.NAME] to spillway.toml, or rehearse with --simulate"
        )
    note(f"no targets configured; found {', '.join(found['targets'])}")
    return measured(settings_of(ask, **found))


def measured(settings: Settings) -> Settings:
    """Settings as the figures in model_performance.json make them."""
    from pipelines.performance import fit
    from producer.records import Records

    return fit(settings, Records(settings.spillway.data).performance())


def _tell_missing_keys(settings: Settings) -> None:
    """A target without its key is never asked; a configuration in which that is all of them is a mistake."""
    missing = {name: t.key_variable for name, t in settings.targets.items() if t.key_variable and t.lane == "cloud"}
    told = "; ".join(
        f"target {name}: the environment variable {variable} is not set" for name, variable in missing.items()
    )
    if missing.keys() == settings.targets.keys():
        raise ConfigError(f"no target can be used: {told}; set it, or api_key in spillway.toml")
    if missing:
        note(f"{told}; going on without")


@asynccontextmanager
async def draining(settings: Settings, *, workers: bool = True) -> AsyncIterator[Session]:
    """Redis with workers: those that are alive there, else some of this machine until the block ends. Without
    `workers`, Redis alone: somebody else's, or this data root's private one."""
    from producer.queue import connected
    from worker.embedded import Embedded

    url = settings.spillway.redis_url
    engine = Embedded(settings, redis_url=url, workers=workers)
    try:
        async with engine:
            if url != EMBEDDED and engine.workers:
                note("no worker is alive at this Redis: started workers on this machine until the run ends")
            async with connected(engine.redis_url) as redis:
                yield Session(redis, wire.Keys(settings.spillway.prefix), engine)
    except QueueError:
        if url == EMBEDDED and engine.is_full():  # a Redis that cannot write its file ends
            raise StoreError(f"{engine.full()}; the run can be resumed by the same command") from None
        raise


@asynccontextmanager
async def looking(settings: Settings) -> AsyncIterator[Session | None]:
    """Redis without workers; None when it is this machine's private one and does not run now."""
    from producer.queue import connected

    url = private_url(settings) if settings.spillway.redis_url == EMBEDDED else settings.spillway.redis_url
    if url is None:
        yield None
        return
    async with connected(url) as redis:
        yield Session(redis, wire.Keys(settings.spillway.prefix))


def private_url(settings: Settings) -> str | None:
    """The address of this data root's private Redis, if somebody has it running."""
    import socket

    from pipelines.paths import redis_dir
    from pipelines.settings import state_folder
    from worker.embedded import socket_path

    path = socket_path(state_folder(settings.spillway.data) / redis_dir())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except OSError:
        return None
    return f"unix://{path}"


def shared_redis(session: Session | None, what: str) -> Session:
    """The session, or QueueError for commands that need a Redis which outlives them."""
    if session is None:
        raise QueueError(
            f"{what} needs a Redis that is running: start `spillway worker` here first, or set redis_url (--redis); "
            "`spillway run` does everything in one command"
        )
    return session
