"""Which process holds a trial, and whether it still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from optuna.trial import FrozenTrial

HOLDER = "holder"
"""Attribute of a trial: host, process and when that began."""

ALL_HOSTS = "all"

_SETTLING_S = 60.0
"""So long after it was taken a trial may be without a holder: between two calls to the storage."""


def name_holder() -> str:
    """Name this process as a holder."""
    return f"{socket.gethostname()} {os.getpid()} {_read_start(os.getpid())}"


def is_abandoned(trial: FrozenTrial, dead_hosts: Collection[str] = ()) -> bool:
    """Tell whether the process of a running trial is gone.

    Of a process of another machine nothing can be known; a user who knows that the machine is down names it.

    Args:
        trial: A running trial.
        dead_hosts: Machines whose trials may be taken over; ``all`` stands for every other machine.
    """
    host, _, rest = str(trial.user_attrs.get(HOLDER, "")).partition(" ")
    pid, _, start = rest.partition(" ")
    if not host:
        begun = trial.datetime_start
        return begun is None or abs((datetime.now() - begun).total_seconds()) >= _SETTLING_S
    if host == socket.gethostname():
        return not (pid.isdecimal() and _read_start(int(pid)) == start)
    return host in dead_hosts or ALL_HOSTS in dead_hosts


def _read_start(pid: int) -> str:
    """Give when a process began, which tells it from a later one with its number; empty where there is none."""
    try:
        # the name, in brackets, may hold spaces; the start is the 22nd field of all
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    try:  # no /proc: whether it lives is all that can be known
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"
