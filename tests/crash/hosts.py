"""Another host for workers of a crash test, as far as one machine can pretend it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support_upstream import ROOT


class OtherHost:
    """What a process sees on another machine, as far as one machine can pretend it: process ids that mean nothing here
    (a namespace of its own, where that is allowed), a clock that is minutes off, its own folder for scratch files."""

    CLOCK = "import time\nreal, real_ns = time.time, time.time_ns\n" \
        "time.time = lambda: real() + {0}\ntime.time_ns = lambda: real_ns() + {0} * 10**9\n"  # fmt: skip

    def __init__(self, folder: Path, clock_off_s: int) -> None:
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(self.CLOCK.format(clock_off_s))
        inherited = os.environ.get("PYTHONPATH", str(ROOT))
        self.environment = {"PYTHONPATH": f"{folder}{os.pathsep}{inherited}", "TMPDIR": str(folder)}
        namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        try:
            allowed = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
        except OSError:
            allowed = False
        self.prefix = namespace if allowed else []

    def process_of(self, pid: int) -> int:
        """The worker's own process: `unshare` stands before it where there is a namespace."""
        if not self.prefix:
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else pid
