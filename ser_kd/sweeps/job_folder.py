"""What stands on disk of a job: what is to be done, where its run lies, whether it is still wanted, and how it ended."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ser_kd.storage.atomic import write_text
from ser_kd.storage.hashing import hash_data
from ser_kd.sweeps.jobs import Job, State

_CARRIED = re.compile(r"SER_KD_\w+|HF_HUB_OFFLINE|HF_HOME|WANDB_MODE|WANDB_BASE_URL|TOKENIZERS_PARALLELISM")
"""Variables that a job on another machine needs, too; none that holds a secret, for they are written to disk."""

_RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")


class StoppedEarlyError(BaseException):
    """Ends a job that is wanted no more; no ``Exception``, so that what is half done is not taken for broken."""


class JobFailedError(Exception):
    """A job that ran in a process of its own has failed; the message is the job's."""


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Args:
        work: ``module:function`` of the work.
        words: What it is called with.
        directory: Working directory.
        environment: Variables that are set first.
    """

    work: str
    words: tuple[str, ...]
    directory: str = field(default_factory=os.getcwd)
    environment: dict[str, str] = field(default_factory=lambda: {n: v for n, v in os.environ.items() if _CARRIED.fullmatch(n)})


@dataclass(frozen=True)
class Result:
    """How a job ended.

    Args:
        state: Finished, failed or stopped early.
        message: Why it failed.
        values: What the work gave.
    """

    state: State
    message: str = ""
    values: dict[str, float] = field(default_factory=dict)


class JobFolder:
    """The files by which a job and the one who launched it talk, whatever lies between them: a pipe, SLURM or another machine.

    The launcher writes ``order.json`` and, to end it early, ``stop``; the job writes ``place.json`` once it knows its run folder, and
    ``result.json`` in the end. How far it is stands in the log of its run, which is there anyway.

    Args:
        path: The folder.
        is_own_process: For the work: whether it may start further processes of its own, as a training on several devices does.
    """

    def __init__(self, path: Path, is_own_process: bool = False) -> None:
        self.path = path
        self.is_own_process = is_own_process
        self._epochs_seen: int | None = None  # nothing yet, not even the place

    @property
    def log(self) -> Path:
        """Where the output of the work goes, unless the launcher has a place of its own."""
        return self.path / "output.log"

    def begin(self, order: Order) -> None:
        """Write what is to be done, and forget what was before."""
        for name in ("place.json", "stop", "result.json"):
            (self.path / name).unlink(missing_ok=True)
        self._epochs_seen = None
        write_text(self.path / "order.json", json.dumps(asdict(order), indent=1))

    def read_order(self) -> Order:
        """Give what is to be done."""
        content = json.loads((self.path / "order.json").read_text(encoding="utf-8"))
        return Order(**{**content, "words": tuple(content["words"])})

    def tell_place(self, runs_root: Path, run: str, epochs: int) -> None:
        """Say where the run lies, below the folder of all runs, and how many epochs it has."""
        if is_first_process():
            write_text(self.path / "place.json", json.dumps({"root": str(runs_root.absolute()), "run": run, "epochs": epochs}))

    def read_progress(self) -> list[dict[str, Any]]:
        """Give what is new since the last call: where the run lies (``run``), then ``epoch`` and the metrics of validation of each epoch.

        ``run`` and ``epochs``, how many there will be, stand in all.
        """
        try:
            place = json.loads((self.path / "place.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        told = {"run": place["run"], "epochs": float(place["epochs"])}
        rows = [row for row in read_epochs(Path(place["root"], place["run"], "logs", "metrics.csv")) if row["epoch"] <= place["epochs"]]
        new = [{**row, **told} for row in rows if row["epoch"] > (self._epochs_seen or 0)]
        if self._epochs_seen is None:
            new.insert(0, told)
            self._epochs_seen = 0
        self._epochs_seen = max(self._epochs_seen, int(rows[-1]["epoch"]) if rows else 0)
        return new

    def ask_to_stop(self) -> None:
        """Say that the job is wanted no more."""
        (self.path / "stop").touch()

    @property
    def is_unwanted(self) -> bool:
        """Whether it is wanted no more."""
        return (self.path / "stop").exists()

    def write_result(self, result: Result) -> None:
        """Say how it ended."""
        if is_first_process():
            write_text(self.path / "result.json", json.dumps({**asdict(result), "state": result.state.value}))

    def read_result(self) -> Result | None:
        """Give how it ended; None where it did not, or without a word."""
        try:
            content = json.loads((self.path / "result.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Result(**{**content, "state": State(content["state"])})


Work = Callable[[Sequence[str], JobFolder], Mapping[str, float]]
"""What is called in a worker, found by its name; it gives values that stand in the job's progress in the end."""


def name_work(work: Work) -> str:
    """Give the name by which another process finds a function."""
    return f"{work.__module__}:{work.__qualname__}"


def find_work(name: str) -> Work:
    """Import a function by its name."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def name_folder(job: Job) -> str:
    """Give the name of a job's folder: readable, and the same for the same words only."""
    shown = "".join(letter if letter.isalnum() or letter in "-_=." else "_" for letter in job.name)
    return f"{shown[:80]}-{hash_data([job.name, list(job.words)], length=8)}"


def is_first_process() -> bool:
    """Whether this is the first of the processes of a training; the others write nothing."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Read the epochs of a run from its CSV log, while it is being written.

    Args:
        path: ``logs/metrics.csv`` of a run folder; it may be missing.

    Returns:
        ``epoch``, from 1, and the metrics of validation, where there are any, of each epoch that ended.
    """
    try:
        with path.open("rb", buffering=0) as file:  # one read: Lightning writes the file anew for a new column, perhaps between two
            text = (file.read(os.fstat(file.fileno()).st_size) or b"").decode("utf-8")
    except FileNotFoundError:
        return []
    judged: dict[int, dict[str, float]] = {}
    trained: set[int] = set()
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):  # what follows is a row that is being written
        if not (row.get("epoch") or "").isdecimal():
            continue
        epoch, told = int(row["epoch"]) + 1, {name: value for name, value in row.items() if name and value}
        # an epoch's validation, then its training; without that it is the best weights, judged once more in the end
        if any(name.startswith("train/") for name in told):
            trained.add(epoch)
        elif values := {name: float(value) for name, value in told.items() if name.startswith("validation/")}:
            judged.setdefault(epoch, values)
    return [{"epoch": float(epoch), **judged.get(epoch, {})} for epoch in sorted(trained)]
