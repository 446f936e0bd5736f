"""Show how many jobs get on: a live table in a terminal, a line at each change elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ser_kd.runtime import console

_SCORES = ("validation/ua", "validation/ccc_mean")


class ShownJob(Protocol):
    """What is shown of a job."""

    name: str
    message: str
    progress: dict[str, float]
    seconds: float

    @property
    def state(self) -> Any: ...


class JobLines:
    """A context in which the jobs of a board are shown.

    Args:
        jobs: All jobs, in any order.
    """

    def __init__(self, jobs: Any) -> None:
        self.jobs: list[ShownJob] = list(jobs)
        self._start = time.monotonic()
        self._began: dict[str, float] = {}
        lively = console.is_lively(sys.stdout) and console.is_lively(sys.stderr)
        self._live = Live(console=Console(), get_renderable=self._draw, refresh_per_second=2) if lively else None

    def __enter__(self) -> JobLines:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, job: ShownJob) -> None:
        """Take notice of a change."""
        state = job.state.value
        first = job.name not in self._began
        if state == "running" and first:
            self._began[job.name] = time.monotonic()
        if self._live is not None or (state == "running" and not first):
            return
        counts = self._count()
        done = counts.get("finished", 0)
        told = f"  {job.message.splitlines()[0]}" if job.message else f"  {job.seconds:.0f} s" if state == "finished" else ""
        print(f"{done}/{len(self.jobs)} finished  {job.name}: {state}{told}", flush=True)

    def _count(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for job in self.jobs:
            counts[job.state.value] = counts.get(job.state.value, 0) + 1
        return counts

    def _draw(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for head, side in (("running", "left"), ("epoch", "right"), ("validation", "right"), ("minutes", "right")):
            table.add_column(head, justify=side)  # type: ignore[arg-type]
        for job in self.jobs:
            if job.state.value != "running":
                continue
            epoch = f"{job.progress['epoch']:.0f}/{job.progress['epochs']:.0f}" if "epoch" in job.progress else ""
            accuracy = next((f"{job.progress[name]:.3f}" for name in _SCORES if name in job.progress), "")
            minutes = (time.monotonic() - self._began.get(job.name, self._start)) / 60
            table.add_row(job.name, epoch, accuracy, f"{minutes:.1f}")
        counts = "  ".join(f"{count} {name}" for name, count in self._count().items())
        failed = [Text(f"{job.name}: {job.state.value}: {job.message.splitlines()[0] if job.message else ''}", style="red")
                  for job in self.jobs if job.state.value in ("failed", "left out")]  # fmt: skip
        return Group(Text(f"{counts}  ({(time.monotonic() - self._start) / 60:.1f} minutes)"), table, *failed)
