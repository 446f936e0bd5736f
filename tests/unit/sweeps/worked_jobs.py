"""Work that a worker process can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.job_folder import JobFolder, StoppedEarlyError
from ser_kd.sweeps.job_process import do_apart

CALLS: list[str] = []


def work(words: Sequence[str], job: JobFolder) -> dict[str, float]:
    """Do what the first word says; the second is a folder for traces."""
    what, folder = words[0], Path(words[1])
    CALLS.append(what)
    print(f"printed by {what}")
    os.system("echo printed below python")
    if what.startswith("apart ") and not job.is_own_process:
        return dict(do_apart(job))
    if what.endswith("wrong"):
        raise ConfigError("This cannot work.", expected="something else")
    if what.endswith("broken"):
        raise ValueError("a fault of ours")
    if what.endswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if what.endswith("once") and not (folder / "once").exists():
        (folder / "once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what.endswith("preempted"):
        with (folder / "preempted").open("a") as calls:
            calls.write(str(1 + calls.tell()))
        if (folder / "preempted").read_text() == "1":
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(10)
    if what.endswith("slow"):
        with (folder / "calls of slow").open("a") as calls:
            calls.write("1")
        train(job, folder, epochs=40, seconds=0.1)
        return {}
    if what.endswith("long"):
        (folder / "pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        train(job, folder, epochs=600, seconds=0.1)
    train(job, folder, epochs=600 if what.endswith("unwanted") else 2, seconds=0.02)
    return {"pid": float(os.getpid()), "calls": float(len(CALLS)), "threads": float(os.environ.get("THREADS", 0))}


def train(job: JobFolder, folder: Path, epochs: int, seconds: float) -> None:
    """Do as a training does: log each epoch, then see whether it is wanted."""
    run = folder / f"run of {job.path.name}"
    job.tell_place(folder, run.name, epochs)
    (run / "logs").mkdir(parents=True, exist_ok=True)
    with (run / "logs" / "metrics.csv").open("w") as log:
        log.write("epoch,step,train/loss,validation/ua\n")
        for epoch in range(epochs):
            log.write(f"{epoch},{epoch},,{epoch / epochs}\n{epoch},{epoch},0.5,\n")
            log.flush()
            if job.is_unwanted:
                raise StoppedEarlyError
            time.sleep(seconds)
