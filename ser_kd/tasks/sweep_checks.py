"""What is told of a sweep before its first trial: whatever would fail in every one of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch
from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError, SerKdError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.metrics.panel import MetricPanel
from ser_kd.runtime.build import build
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.sweeps.sweep_file import SweepFile
from ser_kd.tasks.sweep_words import SweepWords
from ser_kd.tasks.training_run import TrainingRun, prepare_run

_BUILT_ALONE = ("objective.", "optimizer.", "learning_rate_schedule.", "fold=", "seed=")
"""Parameters whose values need no data, teacher or model to be tried."""


def check_trials(sweep: SweepFile, asked: SweepWords, config: DictConfig) -> None:
    """Try what can be tried without training.

    Objective and optimizer are built with every value of every parameter. For the first trial, and for every value of a parameter of
    anything else (the first dozen), data are read, the teacher is found and the model built; the metric is looked up among those of
    validation.

    Args:
        sweep: The sweep.
        asked: Words, and the configurations of its values.
        config: The first trial's configuration.

    Raises:
        ConfigError: All values that cannot be; a metric that does not exist; whatever else the first trial cannot work with.
    """
    raise_faults([fault for words, tried in asked.tried if (fault := _find_fault(words, tried)) is not None])
    run, module = _prepare(asked, config)
    known = [f"validation/{name}" for name in list_metrics(module)] if run.fold.validation_set else []
    if sweep.metric not in known:
        raise ConfigError(
            "A trial has no such metric.",
            expected=f"one of {join_names(known)}" if known else "validation clips, which this protocol does not hold out",
            got=f"metric.name: {sweep.metric}",
            remedy=suggest(sweep.metric, known) or "correct metric.name in the sweep file",
        )


def _prepare(asked: SweepWords, config: DictConfig) -> tuple[TrainingRun, DistillationModule]:
    """Prepare the first trial, and one for each further value of what more than objective and optimizer depend on."""
    command = shlex.join(["ser-kd", "train", *asked.words])
    run = prepare_run(config, config.experiment or "own", command)
    module = run.make_module(with_weights=False)
    further = [(words, tried) for words, tried in asked.tried[1:] if not words[0].startswith(_BUILT_ALONE)]
    for words, tried in further:
        try:
            prepare_run(tried, tried.experiment or "own", command).make_module(with_weights=False)
        except SerKdError as fault:
            raise type(fault)(
                fault.problem, expected=fault.expected, got=f"{fault.got} ({' '.join(words)})", remedy=fault.remedy
            ) from fault
    return run, module


def list_metrics(module: DistillationModule) -> list[str]:
    """List what the module will tell of a split, without the split's name."""
    panel: MetricPanel = module.panels["validation"]  # type: ignore[assignment]
    return panel.list_names(has_teacher=module.teacher is not None)


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
