"""A study as the plain record that reports read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from optuna.trial import FrozenTrial, TrialState

from ser_kd.contracts.sweep_record import FINISHED, SweepRecord, SweepTrial, SweptParameter, find_best_trial
from ser_kd.sweeps.study import SweepStudy, describe_fault, find_run
from ser_kd.sweeps.sweep_command import write_words
from ser_kd.sweeps.sweep_file import Parameter

STATES = {
    TrialState.COMPLETE: FINISHED,
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def make_record(study: SweepStudy, experiment: str, words: Sequence[str], *, stopping: str, command: str) -> SweepRecord:
    """Put a study's trials into a record.

    Args:
        study: The study.
        experiment: The experiment whose parameters it tries.
        words: Words of ``ser-kd train`` that all trials share.
        stopping: ``hyperband``, ``median`` or ``none``.
        command: The command line that goes on with it.
    """
    sweep = study.sweep
    names = [parameter.name for parameter in sweep.parameters]
    begun = [trial for trial in study.list_trials() if trial.state in STATES and len(trial.params) == len(names)]
    trials = [_make_trial(trial, names) for trial in begun]
    best = find_best_trial(trials, sweep.maximize)
    return SweepRecord(
        name=study.study.study_name,
        experiment=experiment,
        method=sweep.method,
        metric=sweep.metric,
        maximize=sweep.maximize,
        parameters=[_describe(parameter) for parameter in sweep.parameters],
        planned=study.planned,
        trials=trials,
        best=best.number if best else None,
        early_terminate=stopping,
        command=command,
        best_command=shlex.join(["ser-kd", "train", *words, *write_words(best.parameters)]) if best else "",
        updated_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _make_trial(trial: FrozenTrial, names: Sequence[str]) -> SweepTrial:
    finished = trial.state is TrialState.COMPLETE and trial.value is not None
    return SweepTrial(
        number=trial.number,
        parameters={name: trial.params[name] for name in names},
        state=STATES[trial.state],
        value=float(trial.value) if finished and trial.value is not None else math.nan,
        epochs=trial.last_step,
        run=find_run(trial),
        message=next(iter(describe_fault(trial).splitlines()), ""),
    )


def _describe(parameter: Parameter) -> SweptParameter:
    values = parameter.list_values()
    return SweptParameter(
        name=parameter.name,
        values=list(values) if values is not None else [],
        low=None if parameter.values else float(parameter.low),
        high=None if parameter.values else float(parameter.high),
        is_log=parameter.is_log,
    )
