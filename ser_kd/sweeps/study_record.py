"""A study as the plain record that reports read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from optuna.trial import FrozenTrial, TrialState

from ser_kd.contracts.sweep_record import FINISHED, SweepRecord, SweepTrial, SweptParameter, find_best_trial
from ser_kd.sweeps.holders import HOLDER, is_abandoned, name_holder
from ser_kd.sweeps.study import SweepStudy, describe_fault, find_run
from ser_kd.sweeps.sweep_command import write_words
from ser_kd.sweeps.sweep_file import Parameter

_LONGEST = 400
"""So many letters of a fault are kept; the rest stands in the trial's log."""

STATES = {
    TrialState.COMPLETE: FINISHED,
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


def make_record(
    study: SweepStudy, experiment: str, words: Sequence[str], *, stopping: str, command: str, storage: str = "", is_stopped: bool = False
) -> SweepRecord:
    """Put a study's trials into a record.

    Args:
        study: The study.
        experiment: The experiment whose parameters it tries.
        words: Words of ``ser-kd train`` that all trials share.
        stopping: ``hyperband``, ``median`` or ``none``.
        command: The command line that goes on with it.
        storage: Where its trials are kept, without a password, if not in the place that its name gives.
        is_stopped: Whether what this process trained has ended with it.
    """
    sweep = study.sweep
    names = [parameter.name for parameter in sweep.parameters]
    begun = [trial for trial in study.list_trials() if trial.state in STATES and len(trial.params) == len(names)]
    trials = [_make_trial(trial, names, is_stopped) for trial in begun]
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
        storage=storage,
    )


def _make_trial(trial: FrozenTrial, names: Sequence[str], is_stopped: bool) -> SweepTrial:
    finished = trial.state is TrialState.COMPLETE and trial.value is not None
    is_left = trial.state is TrialState.RUNNING and (is_abandoned(trial) or (is_stopped and trial.user_attrs.get(HOLDER) == name_holder()))
    return SweepTrial(
        number=trial.number,
        parameters={name: trial.params[name] for name in names},
        state="interrupted" if is_left else STATES[trial.state],
        value=float(trial.value) if finished and trial.value is not None else math.nan,
        epochs=trial.last_step,
        run=find_run(trial),
        message="; ".join(filter(None, (line.strip() for line in describe_fault(trial).splitlines())))[:_LONGEST],
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
