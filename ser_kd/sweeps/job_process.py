"""Do a job whose order lies in a folder: in a worker, or as a process of its own (``python -m ser_kd.sweeps.job_process FOLDER``)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_kd.contracts.errors import SerKdError
from ser_kd.sweeps.job_folder import JobFailedError, JobFolder, Result, StoppedEarlyError, find_work
from ser_kd.sweeps.jobs import State


def do_job(path: Path, is_own_process: bool = False) -> None:
    """Do a job, and write how it ended; what kills this process leaves no result.

    Args:
        path: The job's folder.
        is_own_process: Whether nothing else is done in this process, so that the work may start it again on other devices.
    """
    job = JobFolder(path, is_own_process)
    order = job.read_order()
    os.environ.update(order.environment)
    os.chdir(order.directory)
    try:
        if job.is_unwanted:  # it waited so long that nobody wants it any more
            raise StoppedEarlyError
        result = Result(State.FINISHED, values=dict(find_work(order.work)(order.words, job)))
    except StoppedEarlyError:
        result = Result(State.STOPPED)
    except (SerKdError, JobFailedError) as fault:
        print(fault, file=sys.stderr)
        result = Result(State.FAILED, str(fault))
    except Exception as fault:
        traceback.print_exc()
        said = (str(fault).splitlines() or [""])[0]
        result = Result(State.FAILED, f"{type(fault).__name__}: {said}; the output is in {path}")
    job.write_result(result)


def do_apart(job: JobFolder) -> Mapping[str, float]:
    """Do a job in a process of its own, for a training on several devices starts its command line once more for each.

    Asked to stop (SIGTERM) it passes that on, and waits until the run is saved.

    Returns:
        What the work gave.

    Raises:
        StoppedEarlyError: If the job was wanted no more.
        JobFailedError: If it failed.
        SystemExit: If it was stopped, with its exit code.
    """
    process = subprocess.Popen([sys.executable, "-m", "ser_kd.sweeps.job_process", str(job.path)])
    on_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number)) if on_main else None
    try:
        code = process.wait()
    finally:
        if on_main:
            signal.signal(signal.SIGTERM, before)
    result = job.read_result()
    if code == 128 + signal.SIGTERM:
        raise SystemExit(code)
    if result is None:
        raise JobFailedError(f"its process ended with {describe_exit(code)}; the output is in {job.path}")
    if result.state is State.STOPPED:
        raise StoppedEarlyError
    if result.state is State.FAILED:
        raise JobFailedError(result.message)
    return result.values


def describe_exit(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    return f"code {code}"


@contextlib.contextmanager
def write_output_to(path: Path) -> Iterator[None]:
    """Send what is printed to a file, also from below Python and from processes that are started here."""
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("a", encoding="utf-8", buffering=1) as log:
        try:
            for number in (1, 2):
                _flush()
                os.dup2(log.fileno(), number)
            yield
        finally:
            _flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


def end_with_parent() -> None:
    """End this process when the one that started it is gone, or two would soon train the same run."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    end_with_parent()
    do_job(Path(sys.argv[1]), is_own_process=True)
