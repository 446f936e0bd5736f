"""How a sweep's trials are shown, and written down for reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ser_kd.contracts.sweep_record import SWEEP_FOLDER, SweepRecord, name_sweep_file
from ser_kd.runtime import console
from ser_kd.runtime.extras import find_missing_modules
from ser_kd.storage.atomic import write_text
from ser_kd.sweeps.jobs import Job, State
from ser_kd.sweeps.trial_board import show_value
from ser_kd.sweeps.trial_storage import address_storage


class SweepNotes:
    """Writes ``<runs>/sweeps/<name>.json`` whenever a trial begins or ends.

    Args:
        runs_root: Where runs lie.
        make_record: Gives the sweep as it stands; told whether what this process trained has ended with it.
    """

    def __init__(self, runs_root: Path, make_record: Callable[[bool], SweepRecord]) -> None:
        self.runs_root = runs_root
        self.make_record = make_record
        self._states: dict[str, State] = {}

    def write(self, is_stopped: bool = False) -> SweepRecord:
        """Write the record whole or not at all."""
        record = self.make_record(is_stopped)
        write_text(self.runs_root / SWEEP_FOLDER / f"{name_sweep_file(record.name, record.storage)}.json", record.to_json())
        return record

    def notice(self, job: Job) -> None:
        """Write the record anew where a trial's state has changed."""
        if self._states.get(job.name) is not job.state:
            self._states[job.name] = job.state
            self.write()


def show_results(record: SweepRecord, storage: str) -> int:
    """Show all trials, the best, and how to look at them.

    Args:
        record: The sweep.
        storage: Where its trials are kept.

    Returns:
        0 where every trial is finished, was stopped early, or is being trained by another process; else 1.
    """
    names = [parameter.name for parameter in record.parameters]
    rows = [
        [str(trial.number), *(show_value(trial.parameters[name]) for name in names),
         f"{trial.value:.4f}" if trial.value == trial.value else "", trial.state + (", best" if trial.number == record.best else "")]
        for trial in record.trials
    ]  # fmt: skip
    console.columns(["trial", *(name.removeprefix("objective.") for name in names), record.metric, ""], rows)
    failed = [trial for trial in record.trials if trial.state == "failed"]
    for trial in failed:
        console.warn(f"trial {trial.number} failed: {trial.message or 'unknown'}")
    best = next((trial for trial in record.trials if trial.number == record.best), None)
    if best is None:
        console.warn("no trial is finished")
    else:
        console.heading(f"best: trial {best.number}, {record.metric} {best.value:.4f}")
        console.show(record.best_command)
    hint = ' (pip install "ser-kd[dashboards]")' if find_missing_modules("dashboards") else ""
    console.show(f"response surface: ser-kd report; charts: optuna-dashboard {address_storage(storage)}{hint}")
    elsewhere = sum(trial.state == "running" for trial in record.trials)
    if elsewhere:
        console.warn(f"{elsewhere} trials are being trained by other processes")
    missing = record.planned - (len(record.trials) - len(failed))
    if failed or missing > 0:
        lasting = ", and where a value can never work, it has to leave the sweep file" if failed else ""
        console.warn(f"{max(missing, len(failed))} of {record.planned} trials are missing; the same command tries them again{lasting}")
    return 1 if failed or missing > 0 or (best is None and not elsewhere) else 0
