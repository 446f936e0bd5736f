"""What a worker does of a cross-validation or a sweep: one training, wherever it was launched."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import RunRecord
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config
from ser_kd.sweeps.job_folder import JobFolder, StoppedEarlyError
from ser_kd.sweeps.job_process import do_apart
from ser_kd.sweeps.launchers.settings import Demand


def train_job(words: Sequence[str], job: JobFolder) -> Mapping[str, float]:
    """Do one training.

    Args:
        words: As behind ``ser-kd train``.
        job: Says whether it is still wanted, and hears where its run lies.
    """
    config = _compose(words)
    if is_of_several_processes(config) and not job.is_own_process:
        return do_apart(job)
    _train(config, words, job)
    return {}


def train_trial(words: Sequence[str], job: JobFolder) -> Mapping[str, float]:
    """Do one trial of a sweep.

    Args:
        words: The metric, then those behind ``ser-kd train``.
        job: Says whether it is still wanted, and hears where its run lies.

    Returns:
        The trial's ``value``.

    Raises:
        ConfigError: If the run has no such metric.
    """
    metric, *train_words = words
    config = _compose(train_words)
    if is_of_several_processes(config) and not job.is_own_process:
        return do_apart(job)
    record = _train(config, train_words, job)
    if metric not in record.metrics:
        known = sorted(name for name in record.metrics if name.startswith("validation/"))
        raise ConfigError("The run has no such metric.", expected=f"one of {', '.join(known) or 'none: there are no validation clips'}",
                          got=metric, remedy="correct metric.name in the sweep file")  # fmt: skip
    return {"value": record.metrics[metric]}


def read_demand(config: DictConfig) -> Demand:
    """Read what a training asks for; what it takes from its surroundings (auto, a variable of SLURM or torchrun) is as it is given."""
    trainer: Any = OmegaConf.to_container(config.trainer, resolve=False)
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if isinstance(devices, list):
        devices = len(devices)
    return Demand(
        devices if isinstance(devices, int) and devices > 0 else None,
        nodes if isinstance(nodes, int) else None,
        str(config.trainer.get("accelerator") or "auto"),
    )


def join_demands(demands: Iterable[Demand]) -> Demand:
    """Give what is enough for each of several trainings."""
    listed = list(demands)
    kinds = {demand.accelerator for demand in listed}
    devices = [demand.devices for demand in listed if demand.devices is not None]
    nodes = [demand.nodes for demand in listed if demand.nodes is not None]
    return Demand(max(devices, default=None), max(nodes, default=None), kinds.pop() if len(kinds) == 1 else "auto")


def is_of_several_processes(config: DictConfig) -> bool:
    """Whether Lightning starts further processes for a training, or sets up a group of them: no work for a worker that lives on."""
    demand = read_demand(config)
    return (demand.devices or 1) * (demand.nodes or 1) > 1 or config.trainer.get("strategy") not in (None, "auto", "single_device")


def _compose(words: Sequence[str]) -> DictConfig:
    config = compose("train", words)
    check_config(config)
    return config


def _train(config: DictConfig, words: Sequence[str], job: JobFolder) -> RunRecord:
    from ser_kd.runtime.process_start import join_processes  # late: the launcher's process trains nothing
    from ser_kd.runtime.progress import StopWhere
    from ser_kd.tasks.run_execution import execute_run
    from ser_kd.tasks.training_run import prepare_run

    with join_processes(config.trainer):
        prepared = prepare_run(config, config.experiment or "own", shlex.join(["ser-kd", "train", *words]))
        runs_root = Path(config.paths.runs)
        job.tell_place(runs_root, prepared.folder.relative_to(runs_root).as_posix(), int(config.trainer.max_epochs))
        prepared.watchers = [StopWhere(lambda: job.is_unwanted, StoppedEarlyError)]
        return execute_run(prepared)
