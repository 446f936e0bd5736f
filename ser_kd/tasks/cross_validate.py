"""``ser-kd cross-validate KEY=VALUE …``: train experiments on all folds and seeds in worker processes; one table at the end.

keys of its own:
  experiments=NAME   what is trained; several as 'experiments=[NAME,NAME]', with words of its own as "experiments=[NAME,'NAME KEY=VALUE']"
  folds=all          or numbers: 'folds=[0,2]'
  seeds=0            or several: 'seeds=[0,1,2]'; by fold: 'seeds={0:[0,1,2],others:[0]}'
  workers=N          processes (one for each core, or for each GPU)
  out=FOLDER         where the report goes (reports)
  dry_run=true       list the trainings and stop

All other words are those of ser-kd train (but fold and seed) and hold for every training. A teacher of which no finished run is
found is trained on the way, with the words on corpus, protocol, datamodule, scale, logger and paths. Finished runs are found and not
repeated, interrupted ones go on, one that fails is listed and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ser_kd.contracts.records import RunRecord
from ser_kd.runtime import console
from ser_kd.runtime.job_lines import JobLines
from ser_kd.sweeps.jobs import JobBoard, State
from ser_kd.sweeps.living_workers import LivingWorkers
from ser_kd.tasks.cross_validation_words import read_words


def run(arguments: list[str]) -> int:
    """Train experiments on all folds and seeds, and show mean, spread and intervals.

    Args:
        arguments: The words.

    Returns:
        0 where all trainings are finished, else 1.

    Raises:
        ConfigError: If the words cannot work together.
    """
    asked = read_words(arguments)
    from ser_kd.tasks import report  # late: torch and pandas take seconds to import
    from ser_kd.tasks.cross_validation_plan import describe_plan, make_plan

    plan = make_plan(asked.experiments, asked.folds, asked.seeds, asked.words)
    count = min(asked.workers or count_devices(), len(plan.jobs))
    console.table([*describe_plan(plan), ("workers", str(count))])
    if asked.dry_run:
        console.columns(["training", "after"], [(job.name, _shorten(job.needs)) for job in plan.jobs])
        console.note("dry run: nothing was trained")
        return 0
    board = JobBoard(plan.jobs)
    logs = plan.runs_root / "logs" / time.strftime("%Y-%m-%d-%H%M%S")
    workers = LivingWorkers(train_job, count, logs, environment=share_devices(count))
    console.note(f"the workers' output is in {logs}")
    try:
        with JobLines(board) as lines:
            workers.run(board, lines.show)
    except KeyboardInterrupt:
        console.warn("stopped: what was being trained is saved; the same command does what is missing")
        raise
    failed = [job for job in plan.jobs if job.state is not State.FINISHED]
    if len(failed) < len(plan.jobs):
        names = dict.fromkeys([*(experiment.name for experiment in plan.experiments), *plan.teachers])
        where = [f"out={asked.out}"] if asked.out else []
        report.run([str(plan.runs_root), f"experiments={','.join(names)}", *where])
    for job in failed:
        console.warn(f"{job.name}: {job.state.value}: {job.message}")
    if failed:
        console.warn(f"{len(failed)} of {len(plan.jobs)} trainings are missing from the table; the same command tries them again")
    return 1 if failed else 0


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 2 else f"{names[0]} and {len(names) - 1} more"


def train_job(words: Sequence[str], tell: Callable[[Mapping[str, Any]], None]) -> RunRecord:
    """Do one training in a worker.

    Args:
        words: As behind ``ser-kd train``.
        tell: Takes the run's folder, relative to the runs root, as ``run``; then the progress after each epoch.

    Returns:
        The finished run's record.
    """
    import shlex

    from ser_kd.runtime.composition import compose
    from ser_kd.runtime.progress import TellEpochs
    from ser_kd.runtime.validation import check_config
    from ser_kd.tasks.run_execution import execute_run
    from ser_kd.tasks.training_run import prepare_run

    config = compose("train", words)
    check_config(config)
    prepared = prepare_run(config, config.experiment or "own", shlex.join(["ser-kd", "train", *words]))
    tell({"run": prepared.folder.relative_to(config.paths.runs).as_posix()})
    prepared.watchers = [TellEpochs(tell)]
    return execute_run(prepared)


def count_devices() -> int:
    """Give how many trainings this machine takes at once: one for each GPU, else for each core."""
    import torch

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))


def share_devices(count: int) -> Callable[[int], Mapping[str, str]]:
    """Give each worker its share of the cores, or one GPU; threads of several trainings on one core wait for each other."""
    import torch

    threads = str(max(len(os.sched_getaffinity(0)) // count, 1))
    devices = torch.cuda.device_count()

    def environment(number: int) -> dict[str, str]:
        shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        return {**shared, "CUDA_VISIBLE_DEVICES": str(number % devices)} if devices else shared

    return environment
