"""One fault among several processes becomes one message, told by the first of them."""

from __future__ import annotations

import json
import time
import traceback
from contextlib import suppress
from typing import Any

from torch import distributed

from ser_kd.contracts import errors
from ser_kd.contracts.errors import SerKdError
from ser_kd.runtime import console
from ser_kd.runtime.process_group import count_processes, leave_group, process_rank

_FAULT, _TOLD = "ser_kd/fault", "ser_kd/told"
_LOOK_S = 5.0
"""How long a process whose partners left waits to hear why."""
_ANSWER_S = 10.0
"""How long another process stays for the first one to tell its fault: torchrun would end that one as soon as this one ends."""
_INTERRUPTED = 130  # as a shell says it
_BROKEN = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "recvValue failed", "sendBytes failed")


def settle_fault(fault: BaseException) -> BaseException:
    """Give what a process ends with after a fault of its own or of another.

    The first process raises its own fault, or the one that another process left behind, for whoever prints it; the others end quietly
    with the same exit code. Where a process vanished without a word, the first one says so.

    Args:
        fault: What was raised here.
    """
    if isinstance(fault, (KeyboardInterrupt, SystemExit)):
        return fault if process_rank() == 0 or isinstance(fault, SystemExit) else SystemExit(_INTERRUPTED)
    is_own = isinstance(fault, SerKdError) or not is_broken_connection(fault)
    if process_rank() == 0:
        return _answer_own(fault) if is_own else _answer_others()
    if is_own:
        _publish(fault)
    return SystemExit(2 if isinstance(fault, SerKdError) else 1)


def is_broken_connection(fault: BaseException) -> bool:
    """Tell whether a fault says no more than that another process left."""
    return isinstance(fault, distributed.DistError) or (isinstance(fault, RuntimeError) and any(word in str(fault) for word in _BROKEN))


def _answer_own(fault: BaseException) -> BaseException:
    with suppress(Exception):  # whoever hosts the store may be gone; then nobody waits either
        _store().set(_TOLD, "")
    return fault


def _answer_others() -> BaseException:
    found = _read(_LOOK_S)
    with suppress(Exception):
        _store().set(_TOLD, "")
    if found is None:
        console.tell(
            f"One of the {count_processes()} processes of this run is gone (killed, or out of memory).\n"
            "  to do:    type the same command again: it goes on from its last checkpoint"
        )
        return SystemExit(1)
    if "kind" in found:
        kind: type[SerKdError] = getattr(errors, found["kind"], SerKdError)
        return kind(found["problem"], expected=found["expected"], got=found["got"], remedy=found["remedy"])
    console.tell(f"process {found['rank']} of {count_processes()} failed:\n{found['trace']}")
    return SystemExit(1)


def _publish(fault: BaseException) -> None:
    """Leave a fault where the first process finds it, and the group, so that nobody waits for this process any longer."""
    text: dict[str, Any] = {"rank": process_rank()}
    if isinstance(fault, SerKdError):
        text |= {"kind": type(fault).__name__, **{name: getattr(fault, name) for name in ("problem", "expected", "got", "remedy")}}
    else:
        text["trace"] = "".join(traceback.format_exception(fault))
    with suppress(Exception):  # the first process may be gone, and had its own reason to tell
        store = _store()
        store.set(_FAULT, json.dumps(text))
        if distributed.get_backend() == "gloo":  # NCCL may wait for the others when it is ended
            leave_group()
        begun = time.monotonic()
        while time.monotonic() - begun < _ANSWER_S:
            if store.check([_TOLD]):
                return
            time.sleep(0.1)


def _read(patience_s: float) -> dict[str, Any] | None:
    begun = time.monotonic()
    with suppress(Exception):
        while time.monotonic() - begun < patience_s:
            if _store().check([_FAULT]):
                found: dict[str, Any] = json.loads(_store().get(_FAULT))
                return found
            time.sleep(0.1)
    return None


def _store() -> distributed.Store:
    return distributed.distributed_c10d._get_default_store()
