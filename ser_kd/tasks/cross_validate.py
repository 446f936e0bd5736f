"""ser-kd cross-validate: train experiments on all folds and seeds in worker processes, and put what came out into one table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.runtime.job_lines import JobLines
from ser_kd.sweeps.jobs import JobBoard, State
from ser_kd.sweeps.living_workers import LivingWorkers

OWN_KEYS = ("experiments", "folds", "seeds", "workers", "dry_run")


def run(arguments: list[str]) -> int:
    """Train experiments on all folds and seeds, and show mean, spread and intervals.

    Own keys: experiments=NAME or [NAME,NAME] (needed), folds=all or [0,2], seeds=0 or [0,1,2], workers=N (one per core, or per GPU),
    dry_run=true (lists the trainings). All other words are those of ``ser-kd train`` and hold for every training; a
    teacher that no finished run is found of is trained on the way, with the words on corpus, protocol, datamodule, scale,
    logger and paths. Finished runs are found and not repeated, interrupted ones go on, one that fails is listed and the others go on.

    Args:
        arguments: The words.

    Returns:
        0 where all trainings are finished, else 1.

    Raises:
        ConfigError: If the words cannot work together.
    """
    own, words = _split(arguments)
    from ser_kd.tasks import report  # late: torch and pandas take seconds to import
    from ser_kd.tasks.cross_validation_plan import describe_plan, make_plan

    plan = make_plan(_as_list(own["experiments"]), own["folds"], [int(seed) for seed in _as_list(own["seeds"])], words)
    console.table(describe_plan(plan))
    if own["dry_run"]:
        console.columns(["training", "after"], [(job.name, ", ".join(job.needs)) for job in plan.jobs])
        console.note("dry run: nothing was trained")
        return 0
    board = JobBoard(plan.jobs)
    count = _count_workers(own["workers"])
    logs = plan.runs_root / "logs" / time.strftime("%Y-%m-%d-%H%M%S")
    workers = LivingWorkers(train_job, min(count, len(plan.jobs)), logs, environment=_share(count))
    console.note(f"{workers.count} workers, their output in {logs}")
    with JobLines(board) as lines:
        workers.run(board, lines.show)
    failed = [job for job in plan.jobs if job.state is not State.FINISHED]
    if len(failed) < len(plan.jobs):
        report.run([str(plan.runs_root), f"experiments={','.join([*plan.experiments, *plan.teachers])}"])
    for job in failed:
        console.warn(f"{job.name}: {job.state.value}: {job.message}")
    if failed:
        console.warn(f"{len(failed)} of {len(plan.jobs)} trainings are missing from the table; the same command tries them again")
    return 1 if failed else 0


def train_job(words: Sequence[str], tell: Callable[[Mapping[str, float]], None]) -> None:
    """Do one training in a worker.

    Args:
        words: As behind ``ser-kd train``.
        tell: Takes the progress after each epoch.
    """
    import shlex

    from ser_kd.runtime.composition import compose
    from ser_kd.runtime.progress import TellEpochs
    from ser_kd.runtime.validation import check_config
    from ser_kd.tasks.run_execution import execute_run
    from ser_kd.tasks.training_run import prepare_run

    config = compose("train", words)
    check_config(config)
    prepared = prepare_run(config, config.experiment, shlex.join(["ser-kd", "train", *words]))
    prepared.watchers = [TellEpochs(tell)]
    execute_run(prepared)


def _split(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    own: dict[str, Any] = {"experiments": None, "folds": "all", "seeds": 0, "workers": None, "dry_run": False}
    words, parser = [], OverridesParser.create()
    for word in arguments:
        key, sign, _ = word.partition("=")
        if key in ("fold", "seed", "experiment"):
            raise ConfigError(
                f"{key}= is for one training.",
                expected=f"{key}s=…",
                got=word,
                remedy=f"set {key}s=…, or train one run: ser-kd train",
            )
        if not sign or key not in OWN_KEYS:
            words.append(word)
            continue
        try:
            own[key] = parser.parse_override(word).value()
        except HydraException as fault:
            raise ConfigError(f"{key} cannot be read.", expected=f"{key}=VALUE or {key}=[VALUE,VALUE]", got=word) from fault
    if own["experiments"] is None:
        raise ConfigError(
            "No experiment is chosen.", expected="experiments=NAME or experiments=[NAME,NAME]", got=" ".join(arguments) or "nothing",
            remedy="'ser-kd list experiments' shows them",
        )  # fmt: skip
    own["folds"] = own["folds"] if isinstance(own["folds"], str) else [int(fold) for fold in _as_list(own["folds"])]
    return own, words


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _count_workers(wanted: int | None) -> int:
    if wanted is not None:
        return max(int(wanted), 1)
    import torch

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))


def _share(count: int) -> Callable[[int], Mapping[str, str]]:
    """Give each worker its share of the cores, or one GPU; threads of several trainings on one core wait for each other."""
    import torch

    threads = str(max(len(os.sched_getaffinity(0)) // count, 1))
    devices = torch.cuda.device_count()

    def environment(number: int) -> dict[str, str]:
        shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return {**shared, "CUDA_VISIBLE_DEVICES": str(number % devices)} if devices else shared

    return environment
