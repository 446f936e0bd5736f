"""Jobs that wait for others, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from ser_kd.contracts.errors import ConfigError


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped early"
    """Because it was asked to, see ``Job.is_unwanted``."""
    LEFT_OUT = "left out"
    """A job it needs has failed."""


@dataclass
class Job:
    """One piece of work for a worker.

    Args:
        name: Unique name, shown to the user.
        words: What the worker is called with.
        needs: Names of the jobs that must be finished first.
        state: See ``State``.
        message: Why it failed, or was left out.
        progress: How far it is, as its run's log says: ``run`` (its folder below the runs root), ``epoch``, ``epochs`` and the metrics
            of validation; in the end what its work gave, too.
        seconds: How long it ran.
        is_unwanted: Set while it runs, it ends the job after its epoch.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    state: State = State.WAITING
    message: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    is_unwanted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state not in (State.WAITING, State.RUNNING)


class Board(Protocol):
    """Where jobs are taken from, and told how they ended: a ``JobBoard``, or one that makes them as it goes."""

    @property
    def is_done(self) -> bool: ...

    def take(self) -> Job | None: ...

    def settle(self, name: str, state: State, message: str = "") -> list[Job]: ...


class Launcher(Protocol):
    """Where jobs are done: processes of this machine, SLURM, or Ray."""

    def run(self, board: Board, on_change: Callable[[Job], None]) -> None:
        """Do all jobs; their states stand on the board.

        Args:
            board: The jobs.
            on_change: Called when a job begins, tells progress, or is over; a job that it sets ``is_unwanted`` is ended.
        """
        ...


class JobBoard:
    """Which job is next: the first, as they are listed, whose needs are met.

    Args:
        jobs: In the order in which they should begin.

    Raises:
        ConfigError: If two have one name, a need is not among them, or they wait for each other in a circle.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = {job.name: job for job in jobs}
        if len(self.jobs) < len(jobs):
            twice = sorted({job.name for job in jobs if [other.name for other in jobs].count(job.name) > 1})
            raise ConfigError("Two jobs have one name.", expected="each job once", got=", ".join(twice), remedy="name each only once")
        strangers = sorted({need for job in jobs for need in job.needs} - set(self.jobs))
        if strangers:
            raise ConfigError("A job waits for one that is not there.", expected="needs among the jobs", got=", ".join(strangers))
        done: set[str] = set()
        while ready := [job.name for job in jobs if job.name not in done and done.issuperset(job.needs)]:
            done.update(ready)
        if len(done) < len(jobs):
            raise ConfigError("Jobs wait for each other in a circle.", expected="an order", got=", ".join(sorted(set(self.jobs) - done)))

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def take(self) -> Job | None:
        """Give the next job that may begin, marked as running; None where all that is left must wait."""
        for job in self.jobs.values():
            if job.state is State.WAITING and all(self.jobs[need].state is State.FINISHED for need in job.needs):
                job.state = State.RUNNING
                return job
        return None

    def settle(self, name: str, state: State, message: str = "") -> list[Job]:
        """Note how a job ended.

        Returns:
            The jobs that are left out because of it, each with the name of the one that failed.
        """
        job = self.jobs[name]
        job.state, job.message = state, message
        left_out: list[Job] = []
        if state in (State.FAILED, State.LEFT_OUT):
            for other in self.jobs.values():
                if other.state is State.WAITING and name in other.needs:
                    left_out += [other, *self.settle(other.name, State.LEFT_OUT, f"needs {name}")]
        return left_out

    @property
    def is_done(self) -> bool:
        """Whether every job is over."""
        return all(job.is_over for job in self.jobs.values())
