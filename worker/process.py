"""Which process a worker is, so that a dead one is known on its own machine without waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec


class Identity(msgspec.Struct):
    """A process of this machine, of this boot; another one may have its number later."""

    boot: str
    pid: int
    started: str


def identity() -> Identity:
    return Identity(_boot_id(), os.getpid(), _start_of(os.getpid()) or "")


def _start_of(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            stat = file.read()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in ("Z", "X") else after_name[19]


def is_dead_here(who: Identity) -> bool:
    """True only when it certainly ran on this machine, since this boot, and is no more."""
    return who.boot == _boot_id() and bool(who.started) and _start_of(who.pid) != who.started


def is_gone(raw: bytes) -> bool:
    """Whether what a worker said of itself names a process that is dead on this machine."""
    try:
        return is_dead_here(msgspec.json.decode(raw, type=Identity))
    except (msgspec.MsgspecError, UnicodeError):
        return True


def _boot_id() -> str:
    """Names this boot of this machine and this container: a process id means something only within them."""
    boot, ids = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    return f"{boot.read_text().strip()} {ids.readlink()}" if boot.exists() and ids.exists() else socket.gethostname()
