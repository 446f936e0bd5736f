"""The trials of a study as jobs for workers: made when a worker is free, and told to the study when they end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.trial import Trial

from ser_kd.sweeps.jobs import Job, State
from ser_kd.sweeps.study import SweepStudy
from ser_kd.sweeps.sweep_command import write_words


class TrialBoard:
    """Gives one job for each trial that is missing.

    A job's words are the metric, then those of ``ser-kd train``. The worker tells the run's folder as ``run``, the metric after
    each epoch under its name, with ``epoch`` and ``epochs``, and the trial's value as ``value``.

    Args:
        study: Where trials come from.
        shared: Words that all trials share.
    """

    def __init__(self, study: SweepStudy, shared: Sequence[str]) -> None:
        self.study = study
        self.shared = tuple(shared)
        done = sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in study.list_trials())
        self.jobs = [Job(f"trial to come {place}", ()) for place in range(max(study.planned - done, 0))]
        self._trials: dict[str, Trial] = {}
        self._is_empty = False

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    @property
    def is_done(self) -> bool:
        """Whether no trial is left to take, and none runs."""
        return self._is_empty and all(job.state is not State.RUNNING for job in self.jobs)

    def take(self) -> Job | None:
        """Give the next trial as a job that runs; None where there is none."""
        trial = self.study.take()
        if trial is None:
            self._is_empty = True
            return None
        job = next((job for job in self.jobs if job.state is State.WAITING), None)
        if job is None:  # one more than was missing, where another process failed
            job = Job("", ())
            self.jobs.append(job)
        job.name = name_trial(trial.number, trial.params)
        job.words = (self.study.sweep.metric, *self.shared, *write_words(self._in_order(trial.params)))
        job.state = State.RUNNING
        self._trials[job.name] = trial
        return job

    def note(self, job: Job) -> None:
        """Hear a running trial's progress; one that falls behind is marked as unwanted."""
        metric, told = self.study.sweep.metric, job.progress
        if job.state is not State.RUNNING:
            return
        if "run" in told:
            self.study.note_run(self._trials[job.name], str(told["run"]))
        if metric in told and "epoch" in told:
            is_behind = self.study.is_behind(self._trials[job.name], int(told["epoch"]), told[metric])
            job.is_unwanted |= is_behind and told["epoch"] < told.get("epochs", math.inf)  # after the last epoch nothing is saved by it

    def settle(self, name: str, state: State, message: str = "") -> list[Job]:
        """Note how a trial ended; nothing else is left out because of it."""
        job = next(job for job in self.jobs if job.name == name)
        job.state, job.message = state, message
        trial, value = self._trials.pop(name), job.progress.get("value", math.nan)
        if state is State.STOPPED:
            self.study.stop_early(trial)
        elif state is State.FINISHED and math.isfinite(value):
            self.study.finish(trial, value)
        else:
            if state is State.FINISHED:
                job.state, job.message = State.FAILED, f"{self.study.sweep.metric} is undefined"
            self.study.fail(trial, job.message)
        return []

    def _in_order(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {parameter.name: parameters[parameter.name] for parameter in self.study.sweep.parameters}


def name_trial(number: int, parameters: Mapping[str, Any]) -> str:
    """Give a trial's name: its number and what it differs in, each key by its last part."""
    shown = ", ".join(f"{name.rpartition('.')[2]} {show_value(value)}" for name, value in sorted(parameters.items()))
    return f"trial {number}: {shown}"


def show_value(value: Any) -> str:
    """Give a value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
