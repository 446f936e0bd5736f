"""Processes on this machine that do one job after another, without starting anew for each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ser_kd.sweeps.job_folder import JobFolder, Order, Work, name_folder, name_work
from ser_kd.sweeps.job_process import describe_exit, do_job, end_with_parent, write_output_to
from ser_kd.sweeps.jobs import Board, Job, State

_GRACE_S = 60.0


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None
    folder: JobFolder | None = None
    began: float = 0.0


@dataclass
class LivingWorkers:
    """Runs jobs in worker processes that import their libraries once.

    Each job has a folder in ``logs``, its output among it. A job that fails, or kills its process (a crash, no memory), fails alone: the
    others go on, those that need it are left out, and the process is replaced. When this process is killed the workers end by themselves.

    Args:
        work: A function that can be imported by name; it is called in the worker.
        count: Processes.
        logs: Folder of the jobs' folders.
        environment: Variables set in each worker before anything is imported, such as OMP_NUM_THREADS; a function of its number.
        poll_s: Time between two looks at how far the jobs are.
    """

    work: Work
    count: int
    logs: Path
    environment: Callable[[int], Mapping[str, str]] = field(default=lambda number: {})
    poll_s: float = 0.5

    def run(self, board: Board, on_change: Callable[[Job], None] = lambda job: None) -> None:
        """Do all jobs; their states stand on the board.

        Args:
            board: The jobs.
            on_change: Called when a job begins, tells progress, or is over; a job that it sets ``is_unwanted`` is ended.

        Raises:
            KeyboardInterrupt: At Ctrl-C, after the workers have saved.
        """
        workers: dict[int, _Worker] = {}
        try:
            while not board.is_done:
                self._hand_out(board, workers, on_change)
                ended = wait([worker.pipe for worker in workers.values()], timeout=self.poll_s)
                for number, worker in list(workers.items()):
                    look_at(worker.job, worker.folder, worker.began, on_change)
                    if worker.pipe in ended:
                        self._end(number, workers, board, on_change)
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
            worker.job, worker.folder, worker.began = job, JobFolder(self.logs / name_folder(job)), time.monotonic()
            worker.folder.begin(Order(name_work(self.work), job.words))
            on_change(job)
            worker.pipe.send(worker.folder.path)

    def _end(self, number: int, workers: dict[int, _Worker], board: Board, on_change: Callable[[Job], None]) -> None:
        worker = workers[number]
        try:
            worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            del workers[number]
        job, folder, worker.job, worker.folder = worker.job, worker.folder, None, None
        if job is not None and folder is not None:
            job.seconds = time.monotonic() - worker.began
            lost = f"its process ended with {describe_exit(worker.process.exitcode)}; the output is in {folder.path}"
            settle_by(folder, job, board, on_change, lost)

    def _start(self, number: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        wanted = dict(self.environment(number))
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)  # a spawned process takes the environment as it is at its start, before it imports anything
        try:
            process = context.Process(target=_serve, args=(theirs,), daemon=False)
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


def look_at(job: Job | None, folder: JobFolder | None, began: float, on_change: Callable[[Job], None]) -> None:
    """Tell each epoch that ended since the last look, and end the job where it is wanted no more."""
    if job is None or folder is None:
        return
    for epoch in folder.read_progress():
        job.seconds, job.progress = time.monotonic() - began, epoch
        on_change(job)
        if job.is_unwanted and not folder.is_unwanted:
            folder.ask_to_stop()


def settle_by(folder: JobFolder, job: Job, board: Board, on_change: Callable[[Job], None], lost: str) -> None:
    """Tell the board how a job ended, as its result says.

    Args:
        folder: The job's folder.
        job: The job.
        board: Where it stands.
        on_change: Called for it and for those that are left out because of it.
        lost: Why there may be no result.
    """
    result = folder.read_result()
    state, message = (State.FAILED, lost) if result is None else (result.state, result.message)
    job.progress |= {} if result is None else result.values
    left_out = board.settle(job.name, state, message)
    for changed in (job, *left_out):
        on_change(changed)


def _serve(pipe: Connection) -> None:
    """Do jobs until None comes; what is printed goes to the job's log."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who hands out jobs decides
    while (path := pipe.recv()) is not None:
        with write_output_to(JobFolder(path).log):
            do_job(path)
        pipe.send(None)
