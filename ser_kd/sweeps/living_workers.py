"""Processes on this machine that do one job after another, without starting anew for each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from ser_kd.contracts.errors import SerKdError
from ser_kd.sweeps.jobs import Job, State

Work = Callable[[Sequence[str], Callable[[Mapping[str, float]], None]], object]
"""Called in a worker with a job's words and a function that takes its progress."""

_GRACE_S = 60.0


class Board(Protocol):
    """Where jobs are taken from, and told how they ended: a ``JobBoard``, or one that makes them as it goes."""

    @property
    def is_done(self) -> bool: ...

    def take(self) -> Job | None: ...

    def settle(self, name: str, state: State, message: str = "") -> list[Job]: ...


class StoppedEarlyError(BaseException):
    """Ends a job that is wanted no more; no ``Exception``, so that what is half done is not taken for broken."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None
    began: float = 0.0


@dataclass
class LivingWorkers:
    """Runs jobs in worker processes that import their libraries once.

    What a job prints goes to ``logs/<job>.log``. A job that fails, or kills its process (a crash, no memory), fails alone: the
    others go on, those that need it are left out, and the process is replaced. When this process is killed the workers end by themselves.

    Args:
        work: A function that can be imported by name; it is called in the worker.
        count: Processes.
        logs: Folder of the jobs' output.
        environment: Variables set in each worker before anything is imported, such as OMP_NUM_THREADS; a function of its number.
    """

    work: Work
    count: int
    logs: Path
    environment: Callable[[int], Mapping[str, str]] = field(default=lambda number: {})

    def run(self, board: Board, on_change: Callable[[Job], None] = lambda job: None) -> None:
        """Do all jobs; their states stand on the board.

        Args:
            board: The jobs.
            on_change: Called when a job begins, tells progress, or is over; a job that it sets ``is_unwanted`` is ended.

        Raises:
            KeyboardInterrupt: At Ctrl-C, after the workers have saved.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        workers: dict[int, _Worker] = {}
        try:
            while not board.is_done:
                self._hand_out(board, workers, on_change)
                for pipe in wait([worker.pipe for worker in workers.values()], timeout=1.0):
                    number = next(n for n, worker in workers.items() if worker.pipe is pipe)
                    self._listen(number, workers, board, on_change)
        except BaseException:
            self._stop(workers, signal.SIGTERM)
            raise
        for worker in workers.values():
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
            worker.process.join(_GRACE_S)

    def _hand_out(self, board: Board, workers: dict[int, _Worker], on_change: Callable[[Job], None]) -> None:
        for number in range(self.count):
            if number in workers and workers[number].job is not None:
                continue
            job = board.take()
            if job is None:
                return
            if number not in workers:
                workers[number] = self._start(number)
            worker = workers[number]
            worker.job, worker.began = job, time.monotonic()
            on_change(job)
            worker.pipe.send((job.name, job.words))

    def _listen(self, number: int, workers: dict[int, _Worker], board: Board, on_change: Callable[[Job], None]) -> None:
        worker = workers[number]
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            kind, content = "died", worker.process.exitcode
            del workers[number]
        job = worker.job
        if job is None:
            return
        job.seconds = time.monotonic() - worker.began
        if kind == "progress":
            job.progress = dict(content)
            on_change(job)
            if job.is_unwanted:
                with contextlib.suppress(OSError):  # it may have died meanwhile, which is heard of next
                    worker.pipe.send((job.name, None))
            return
        worker.job = None
        message = content if kind != "died" else f"its process ended with {_describe_exit(content)}; see {log_name(job.name)}"
        state = {"finished": State.FINISHED, "stopped": State.STOPPED}.get(kind, State.FAILED)
        left_out = board.settle(job.name, state, message or "")
        for changed in (job, *left_out):
            on_change(changed)

    def _start(self, number: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        wanted = dict(self.environment(number))
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)  # a spawned process takes the environment as it is at its start, before it imports anything
        try:
            process = context.Process(target=_serve, args=(theirs, self.work, self.logs, os.getpid()), daemon=False)
            process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        theirs.close()
        return _Worker(process, ours)

    def _stop(self, workers: Mapping[int, _Worker], number: signal.Signals) -> None:
        for worker in workers.values():
            if worker.process.is_alive():
                os.kill(worker.process.pid, number)  # runs save themselves
        deadline = time.monotonic() + _GRACE_S
        for worker in workers.values():
            worker.process.join(max(deadline - time.monotonic(), 0.0))
            if worker.process.is_alive():
                worker.process.kill()


def log_name(job: str) -> str:
    """Give the file name of a job's output."""
    return "".join(letter if letter.isalnum() or letter in "-_=." else "_" for letter in job) + ".log"


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    return f"code {code}"


def _serve(pipe: Connection, work: Work, logs: Path, parent: int) -> None:
    """Do jobs until None comes; what is printed goes to the job's log, also from below Python."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who hands out jobs decides
    while (order := pipe.recv()) is not None:
        name, words = order
        if words is None:
            continue  # it had ended before it heard that it should
        with (logs / log_name(name)).open("a", encoding="utf-8", buffering=1) as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                work(words, partial(_tell, pipe, name))
                answer = ("finished", "")
            except StoppedEarlyError:
                answer = ("stopped", "")
            except SerKdError as fault:
                print(fault, file=sys.stderr)
                answer = ("failed", str(fault))
            except Exception as fault:
                traceback.print_exc()
                answer = ("failed", f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else ''}; see {log_name(name)}")
            sys.stdout.flush()
            sys.stderr.flush()
        pipe.send(answer)


def _tell(pipe: Connection, job: str, progress: Mapping[str, float]) -> None:
    """Send a job's progress, and hear whether the job is still wanted.

    Raises:
        StoppedEarlyError: If it is not.
    """
    pipe.send(("progress", dict(progress)))
    while pipe.poll():
        if pipe.recv() == (job, None):
            raise StoppedEarlyError(job)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, or two would soon train the same run."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
