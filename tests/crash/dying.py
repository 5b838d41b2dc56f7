"""`python -m tests.crash.dying FOLDER ARGUMENTS...`: the program, which kills itself (-9) at one of POINTS when told to.

A point is `script NAME before|after` (a step of Redis) or `MODULE:NAME before|after` (a function). The file `armed` in FOLDER
names the one to die at; whoever dies there takes the file away.
"""

from __future__ import annotations

import inspect
import os
import runpy
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

SETTLE, ENDING = "worker.settle.settle", "worker.settle.ending"
POINTS = (
    "script close before", "script close after", "script commit_chunk before", "script commit_chunk after",
    "script claim after", "script release before", "script settle_begin after", f"{SETTLE}:write_part after",
    "script settle_done after", "script note after", f"{ENDING}:compact after", f"{ENDING}:End._record after", "script finish after",
    "producer.records:Records.reopen after", "producer.intake:put after",
)  # fmt: skip
BATCHES, OPENAI = "worker.provider_batches", "worker.backends.openai_batches"
ORDERS = (
    "script order_make after", f"{BATCHES}.making:Maker.reserve after", f"{OPENAI}:OpenAIBatches.create before",
    f"{OPENAI}:OpenAIBatches.create after", "script order_note after", f"{OPENAI}:OpenAIBatches.results after",
    f"{BATCHES}.reading:Reader._book after", f"{BATCHES}.reading:Reader.release before",
    f"{BATCHES}.reading:Reader.release after", f"{BATCHES}.orders:Orders.end before",
)  # fmt: skip
"""What a provider's batch comes by, from its making to its end."""
SERVING = (
    "producer.quotas:take after", "producer.placed:note after", "producer.inbox:_Inbox._write after",
    "producer.inbox:_Inbox._append after", "producer.intake:register_as before", "producer.intake:register_as after",
    "producer.batches:step after",
)  # fmt: skip
"""What a server comes by, from a request to the run or row that it becomes."""
Function = Any


def dying(real: Function, name: str, folder: Path) -> Function:
    """The function, before or after which the process dies."""

    def die(when: str) -> None:
        armed = folder / "armed"
        try:
            if armed.read_text() == f"{name} {when}":
                armed.rename(folder / "died")
                os.kill(os.getpid(), signal.SIGKILL)
        except FileNotFoundError:
            return

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        die("before")
        done = await real(*args, **kwargs)
        die("after")
        return done

    def called(*args: Any, **kwargs: Any) -> Any:
        die("before")
        done = real(*args, **kwargs)
        die("after")
        return done

    return awaited if inspect.iscoroutinefunction(real) else called


def prepare(folder: Path, arguments: list[str]) -> None:
    """Puts the dying functions where the real ones were; what this process never comes by is not imported for it."""
    from worker.queue import Scripts

    names = {point.rpartition(" ")[0] for point in (*POINTS, *ORDERS, *SERVING)}
    real = Scripts.__getattr__
    Scripts.__getattr__ = lambda self, script: dying(  # type: ignore[method-assign]
        real(self, script), f"script {script}", folder
    )
    served = tuple(point.rpartition(" ")[0] for point in SERVING)
    roles = {(SETTLE, ENDING): "settle", (BATCHES, OPENAI): "cloud", served: "serve"}
    absent = tuple(each for heads, role in roles.items() if not any(role in a for a in arguments) for each in heads)
    for name in (name for name in names if ":" in name and not name.startswith(absent)):
        module, _, path = name.partition(":")
        *owners, last = path.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, last, dying(getattr(owner, last), name, folder))


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), sys.argv[2:])
    sys.argv = ["spillway", *sys.argv[2:]]
    runpy.run_module("producer.cli", run_name="__main__", alter_sys=True)
