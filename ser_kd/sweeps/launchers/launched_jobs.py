"""Jobs that are handed to a cluster, which decides when and where they run; they are followed by their files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from ser_kd.storage.atomic import write_text
from ser_kd.sweeps.job_folder import JobFolder, Order, Work, name_folder, name_work
from ser_kd.sweeps.jobs import Board, Job
from ser_kd.sweeps.living_workers import look_at, settle_by


class Standing(Enum):
    """What a cluster knows of a job."""

    ALIVE = "alive"
    """It waits or runs."""
    GONE = "gone"
    """It is over, well or not, or nothing is known of it."""
    CANCELLED = "cancelled"
    """Somebody ended it, so it is not handed over again."""


class Cluster(Protocol):
    """Takes jobs and knows which of them are still there."""

    name: str

    def submit(self, folder: Path, name: str) -> str:
        """Hand over the job of a folder, and give the number under which the cluster knows it."""
        ...

    def find(self, name: str) -> str | None:
        """Give the number of a job that was handed over under a name and is still there; None where there is none."""
        ...

    def ask(self, numbers: Collection[str]) -> dict[str, Standing]:
        """Tell of each job where it stands."""
        ...

    def explain(self, number: str) -> str:
        """Say why a job is gone, as far as the cluster knows."""
        ...

    def close(self) -> None:
        """Let go of the cluster."""
        ...


@dataclass
class _Launched:
    job: Job
    folder: JobFolder
    number: str
    attempts: int
    began: float
    gone_since: float | None = None


@dataclass
class LaunchedJobs:
    """Hands the jobs of a board to a cluster as their needs are met, and follows them.

    The number of a job is kept beside its files until its end was heard. So where this process is killed, the same command finds the jobs
    that wait, run or ended meanwhile, and hands none over twice. A job that is gone without a word (its node died, its time was up)
    is handed over again, for runs go on from their last checkpoint.

    Args:
        work: A function that can be imported by name.
        cluster: Where jobs are handed to.
        root: Folder of the jobs' folders, which all machines see; the same in the next session.
        most: Jobs that wait or run at once.
        retries: So often a job that is gone is handed over again.
        poll_s: Time between two looks at the jobs' files.
        ask_s: Time between two questions to the cluster.
        grace_s: So long a file of a job that is gone may be on its way over the network.
    """

    work: Work
    cluster: Cluster
    root: Path
    most: int
    retries: int = 3
    poll_s: float = 1.0
    ask_s: float = 15.0
    grace_s: float = 30.0

    def run(self, board: Board, on_change: Callable[[Job], None] = lambda job: None) -> None:
        """Do all jobs; their states stand on the board.

        Args:
            board: The jobs.
            on_change: Called when a job begins, tells progress, or is over; a job that it sets ``is_unwanted`` is ended.
        """
        running: list[_Launched] = []
        asked = 0.0
        try:
            while not board.is_done:
                while len(running) < self.most and (job := board.take()) is not None:
                    running.append(self._hand_over(job))
                    on_change(job)
                if time.monotonic() - asked >= self.ask_s:
                    self._ask(running)
                    asked = time.monotonic()
                for launched in list(running):
                    if self._follow(launched, board, on_change):
                        running.remove(launched)
                if not board.is_done:
                    time.sleep(self.poll_s)
        finally:
            self.cluster.close()

    def _hand_over(self, job: Job) -> _Launched:
        """Hand a job over, or find it where an earlier session did."""
        folder = JobFolder(self.root / name_folder(job))
        number, attempts = self._read_number(folder)
        if number is None or (folder.read_result() is None and self.cluster.ask([number])[number] is not Standing.ALIVE):
            attempts = 1
            number = self.cluster.find(folder.path.name) or self._submit(folder, job, attempts)
        return _Launched(job, folder, number, attempts, time.monotonic())

    def _submit(self, folder: JobFolder, job: Job, attempts: int) -> str:
        folder.begin(Order(name_work(self.work), job.words))
        number = self.cluster.submit(folder.path, folder.path.name)
        write_text(folder.path / "submitted.json", json.dumps({"number": number, "attempts": attempts}))
        return number

    def _read_number(self, folder: JobFolder) -> tuple[str | None, int]:
        try:
            content = json.loads((folder.path / "submitted.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, 1
        return content["number"], content["attempts"]

    def _ask(self, running: list[_Launched]) -> None:
        """Learn which jobs are gone; one that was cancelled is tried no more."""
        standings = self.cluster.ask([launched.number for launched in running]) if running else {}
        for launched in running:
            standing = standings[launched.number]
            if standing is Standing.ALIVE:
                launched.gone_since = None
            elif launched.gone_since is None:
                launched.gone_since = time.monotonic()
            if standing is Standing.CANCELLED:
                launched.attempts = self.retries + 1

    def _follow(self, launched: _Launched, board: Board, on_change: Callable[[Job], None]) -> bool:
        """Tell what is new of a job, and whether it is over."""
        job, folder = launched.job, launched.folder
        over = folder.read_result() is not None
        look_at(job, folder, launched.began, on_change)
        if not over:
            if launched.gone_since is None or time.monotonic() - launched.gone_since < self.grace_s:
                return False
            if launched.attempts <= self.retries and not folder.is_unwanted:
                launched.attempts += 1
                launched.number, launched.gone_since = self._submit(folder, job, launched.attempts), None
                return False
        job.seconds = time.monotonic() - launched.began
        why = "" if over else self.cluster.explain(launched.number)
        lost = (
            f"{self.cluster.name} job {launched.number} ended without a result{f' ({why})' if why else ''}; the output is in {folder.path}"
        )
        settle_by(folder, job, board, on_change, lost)
        (folder.path / "submitted.json").unlink(missing_ok=True)
        return True
