"""Draws of a sweep's parameters as a function of the seed and the trial's number."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import BaseTrial, FrozenTrial

from ser_kd.sweeps.sweep_file import Parameter


class KeyedSampler(BaseSampler):
    """Draws as a function of the seed and the trial's number, so that a sweep that goes on draws what it would have drawn.

    Args:
        method: ``random`` or ``bayes`` (TPE, which listens to earlier trials, too).
        seed: Of the sweep.
    """

    def __init__(self, method: str, seed: int) -> None:
        self.method = method
        self.seed = seed
        self._inner: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = (self.seed * 1_000_003 + trial.number) % 2**32
        self._inner = TPESampler(seed=seed, constant_liar=True) if self.method == "bayes" else RandomSampler(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


def suggest_value(trial: BaseTrial, parameter: Parameter) -> Any:
    """Give a trial's value of a parameter: the one it has, else the next point's, else a drawn one."""
    if parameter.values:
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.is_whole:
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.is_log, step=parameter.step)
