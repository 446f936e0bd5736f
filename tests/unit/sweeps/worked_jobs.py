"""Work that a worker process can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ser_kd.contracts.errors import ConfigError

CALLS: list[str] = []


def work(words: Sequence[str], tell: Callable[[Mapping[str, float]], None]) -> None:
    """Do what the first word says; the second is a folder for traces."""
    what, folder = words[0], Path(words[1])
    CALLS.append(what)
    print(f"printed by {what}")
    os.system("echo printed below python")
    if what == "wrong":
        raise ConfigError("This cannot work.", expected="something else")
    if what == "broken":
        raise ValueError("a fault of ours")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "unwanted":
        for epoch in range(600):
            tell({"epoch": epoch})
            time.sleep(0.02)
    if what == "long":
        (folder / "pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        for epoch in range(600):
            tell({"epoch": epoch})
            time.sleep(0.1)
    tell({"epoch": 1.0, "pid": float(os.getpid()), "calls": float(len(CALLS)), "threads": float(os.environ.get("THREADS", 0))})
