"""What is told of a sweep before its first trial: whatever would fail in every one of them."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence

import torch
from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError, SerKdError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.runtime.build import build
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.sweeps.sweep_file import SweepFile
from ser_kd.tasks.sweep_words import SweepWords
from ser_kd.tasks.training_run import prepare_run


def check_trials(sweep: SweepFile, asked: SweepWords, config: DictConfig) -> None:
    """Try what can be tried without training.

    Objective and optimizer are built with every value of every parameter; data are read, the teacher is found and the model built as
    for the first trial, and the metric is looked up among those of its validation.

    Args:
        sweep: The sweep.
        asked: Words, and the configurations of its values.
        config: The first trial's configuration.

    Raises:
        ConfigError: All values that cannot be; a metric that does not exist; whatever else the first trial cannot work with.
    """
    raise_faults([fault for words, tried in asked.tried if (fault := _find_fault(words, tried)) is not None])
    run = prepare_run(config, config.experiment or "own", shlex.join(["ser-kd", "train", *asked.words]))
    module = run.make_module(with_weights=False)
    known = [f"validation/{name}" for name in list_metrics(module)] if run.fold.validation_set else []
    if sweep.metric not in known:
        raise ConfigError(
            "A trial has no such metric.",
            expected=f"one of {join_names(known)}" if known else "validation clips, which this protocol does not hold out",
            got=f"metric.name: {sweep.metric}",
            remedy=suggest(sweep.metric, known) or "correct metric.name in the sweep file",
        )


def list_metrics(module: DistillationModule) -> list[str]:
    """List what the module will tell of a split, without the split's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing was judged yet: all is undefined
        names = list(module.panels["validation"].compute().values)  # type: ignore[operator]
    heard = ["teacher_agreement", "teacher_divergence", *(f"teacher_{name}" for name in ("ua", "wa", "f1_macro", "f1_weighted"))]
    return [*names, *(heard if module.teacher is not None else [])]


def _find_fault(words: Sequence[str], config: DictConfig) -> ConfigError | None:
    try:
        build(config.objective)
        build(config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    except SerKdError as fault:
        return ConfigError(fault.problem, expected=fault.expected, got=f"{fault.got} ({' '.join(words)})", remedy=fault.remedy)
    except ValueError as fault:  # torch's own, of an optimizer
        return ConfigError(
            f"A value cannot be: {fault}.", expected="a value the optimizer takes", got=" ".join(words), remedy="correct the sweep file"
        )
    return None
