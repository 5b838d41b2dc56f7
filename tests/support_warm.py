"""Processes of the program that start warm: forked from one that has imported already what they need.

A start is half a second of imports, and the tests start hundreds of programs. `Warm` is a subprocess.Popen whose child is as real
as any (its own id, pipes, signals, environment, folder and session), but it has not been through the interpreter's start. What is
no `python -m` of MODULES, and what changes what an import finds, starts as ever; so does every child where no fork is to be had.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from genai_prices.data_snapshot import get_snapshot

from pipelines.tokens import count_tokens
from worker.tasks import MODULES as ROLES

ROOT = Path(__file__).parent.parent
WORKER = (
    *(module for role in ROLES.values() for module in role), "worker.main", "worker.backends.compatible", "worker.backends.openai",
    "worker.backends.lmstudio", "worker.backends.discovery", "worker.provider_batches.lane", "uvloop",
)  # fmt: skip
COMMAND = ("producer.cli.app", "producer.intake", "producer.cli.progress", "worker.embedded")
SIMULATOR = ("uvloop", *(f"worker.simulator.{one.stem}" for one in (ROOT / "worker/simulator").glob("[a-z]*.py")))
MODULES = {
    "producer.cli": (*COMMAND, *WORKER),
    "tests.crash.dying": (*COMMAND, *WORKER),
    "worker": WORKER,
    "worker.simulator": SIMULATOR,
}
"""What a program imports anyway. Not Polars: its threads would not be there in a fork."""
SERVER = ("producer.api.server", "producer.api.app", "httpx")
SPARES = {"run": 3, "retry": 3, "cancel": 3, "serve": 2, "worker": 1}
"""How many children of its own a command may start; they are forked before it begins."""
LEASE = "SPILLWAY_TEST_LEASE_S"
"""Read at import, but given by so many that they have a nursery of their own."""
ENDS = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
ORDER_MAX_BYTES = 1 << 17
IN_TEST = "PYTEST_VERSION"
"""In the environment of tests alone: benchmarks start everything as users do."""
SUBREAPER = 36
NAME_BYTES = 4096

_EXECUTE = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
_FIRST = dict(os.environ)
_lock = threading.Lock()
_spares: list[socket.socket] = []
_nurseries: dict[str, socket.socket] = {}
_is_child = False


class Warm(subprocess.Popen):  # type: ignore[type-arg]
    """A subprocess.Popen, sooner."""

    def _execute_child(self, *given: Any) -> None:
        asked = _EXECUTE.bind(self, *given).arguments
        args, env = asked["args"], dict(os.environ if asked["env"] is None else asked["env"])
        if not _can_be_warm(args, env) or (pid := _begin(asked, args, env)) is None:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        self.pid, self._child_created = pid, True
        self._close_pipe_fds(*(asked[end] for end in ENDS))  # type: ignore[attr-defined]


def _can_be_warm(args: Sequence[Any], env: Mapping[str, str]) -> bool:
    known = not isinstance(args, str) and [*args[:2]] == [sys.executable, "-m"] and args[2] in MODULES
    if sys.platform != "linux" or not known or not (_is_child or IN_TEST in _FIRST):
        return False
    return _read_at_import(env) == _read_at_import(_FIRST)


def _read_at_import(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(("PYTHON", "SPILLWAY_")) and name != LEASE}


def _begin(asked: Mapping[str, Any], args: Sequence[str], env: Mapping[str, str]) -> int | None:
    """The process id of the new child; None when nobody is there to be it."""
    ends = (asked["p2cread"], asked["c2pwrite"], asked["errwrite"])
    fds = [standard if end == -1 else end for standard, end in enumerate(ends)]
    cwd = str(asked["cwd"] or Path.cwd())
    order = {"args": [*args[2:]], "env": dict(env), "cwd": cwd, "session": asked["start_new_session"]}
    with _lock:
        if _is_child and not _spares:
            return None
        there = _spares.pop() if _is_child else _nursery(env)
        socket.send_fds(there, [json.dumps(order).encode()], fds)
        pid = int(there.recv(32))
        if _is_child:
            there.close()
        return pid


def _nursery(env: Mapping[str, str]) -> socket.socket:
    """To the process from which this one's children are forked; it ends with this one."""
    name = env.get(LEASE, "")
    if name not in _nurseries:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)  # whom its parent leaves behind becomes our child
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support_warm", str(theirs.fileno()), " " * NAME_BYTES]
        one = {**env, "OPENBLAS_NUM_THREADS": "1"}  # threads do not outlive a fork
        process = subprocess.Popen(command, cwd=ROOT, env=one, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        _nurseries[name] = ours
        atexit.register(_end, process, ours)
    return _nurseries[name]


def _end(process: subprocess.Popen[bytes], there: socket.socket) -> None:
    there.close()
    process.wait()


# -- the other side ------------------------------------------------------------------------------------------------------------


def _serve(there: socket.socket) -> None:
    """Forks whom it is asked for; the vocabulary and the prices, which most of them read, are read once."""
    count_tokens([""])
    get_snapshot()
    while (order := _next(there)) is not None:
        asked, fds = order
        module, *arguments = asked["args"]
        for name in (*MODULES[module], *(SERVER if arguments[:1] == ["serve"] else ())):
            import_module(name)
        gc.freeze()  # what is there already is shared, as long as nobody looks for garbage in it
        read, write = os.pipe()
        if (between := os.fork()) == 0:
            between = os.getpid()
            if pid := os.fork():
                os.write(write, str(pid).encode())
                os._exit(0)
            while os.getppid() == between:
                os.sched_yield()
            for each in (read, write):
                os.close(each)
            there.close()
            become(asked, fds)
        os.waitpid(between, 0)  # since then the one who asked is its parent
        there.send(os.read(read, 32))
        for each in (read, write, *fds):
            os.close(each)


def _next(there: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    said, fds, _, _ = socket.recv_fds(there, ORDER_MAX_BYTES, 3)
    return (json.loads(said), fds) if said else None


def become(asked: Mapping[str, Any], fds: Sequence[int]) -> NoReturn:
    """This process, newly forked, is the one that was asked for, from here to its end."""
    global _is_child
    module, *arguments = asked["args"]
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    if asked["session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _is_child = True
    subprocess.Popen = Warm  # type: ignore[misc]
    for _ in range(SPARES.get(next(iter(arguments), ""), 0) if module == "producer.cli" else 0):
        _spare()
    _rename([sys.executable, "-m", module, *arguments])
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    _leave(0)


def _leave(code: int) -> NoReturn:
    """As the interpreter does, but for taking its hundreds of modules apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _spare() -> None:
    """One that waits to become a child of this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        _spares.append(ours)
        return
    for each in (ours, *_spares):
        each.close()
    _spares.clear()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)
    if (order := _next(theirs)) is not None:
        theirs.send(str(os.getpid()).encode())
        theirs.close()
        become(*order)
    os._exit(0)


def _rename(words: Sequence[str]) -> None:
    """What `ps` says of this process."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    name = "\0".join(words).encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name, len(name))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
