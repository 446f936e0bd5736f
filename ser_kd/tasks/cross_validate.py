"""``ser-kd cross-validate KEY=VALUE …``: train experiments on all folds and seeds, here or on a cluster; one table at the end.

keys of its own:
  experiments=NAME   what is trained; several as 'experiments=[NAME,NAME]', with words of its own as "experiments=[NAME,'NAME KEY=VALUE']"
  folds=all          or numbers: 'folds=[0,2]'
  seeds=0            or several: 'seeds=[0,1,2]'; by fold: 'seeds={0:[0,1,2],others:[0]}'
  workers=N          trainings at once (here one for each core, or for each GPU)
  launcher=local     where they run: local (processes of this machine), slurm or ray
  out=FOLDER         where the report goes (reports)
  dry_run=true       list the trainings and stop

All other words are those of ser-kd train (but fold and seed) and hold for every training. A teacher of which no finished run is
found is trained on the way, with the words on corpus, protocol, datamodule, scale, logger and paths. Finished runs are found and not
repeated, interrupted ones go on, one that fails is listed and the others go on.

keys of a launcher:
  local   launcher.workers_per_gpu=1
  slurm   launcher.partition, account, qos, constraint, timeout_min=240, nodes, tasks_per_node, gpus_per_node, cpus_per_task, mem_gb, setup,
          signal_delay_s=90, retries=3, folder, sbatch.KEY (any parameter of sbatch), cluster=local (without SLURM, to try it out)
  ray     launcher.address=auto (or local, HOST:PORT), gpus_per_job, cpus_per_job=1, retries=3, folder
"""

from __future__ import annotations

from collections.abc import Sequence

from ser_kd.runtime import console
from ser_kd.runtime.job_lines import JobLines
from ser_kd.sweeps.jobs import JobBoard, State
from ser_kd.tasks.cross_validation_words import read_words
from ser_kd.tasks.launcher_words import take_launcher_words


def run(arguments: list[str]) -> int:
    """Train experiments on all folds and seeds, and show mean, spread and intervals.

    Args:
        arguments: The words.

    Returns:
        0 where all trainings are finished, else 1.

    Raises:
        ConfigError: If the words cannot work together.
    """
    settings, words = take_launcher_words(arguments)
    asked = read_words(words)
    from ser_kd.tasks import report  # late: torch and pandas take seconds to import
    from ser_kd.tasks.cross_validation_plan import describe_plan, make_plan
    from ser_kd.tasks.launched_training import train_job
    from ser_kd.tasks.launchers import plan_launch

    plan = make_plan(asked.experiments, asked.folds, asked.seeds, asked.words)
    launch = plan_launch(settings, plan.demands, asked.workers, len(plan.jobs), "cross-validate")
    console.table([*describe_plan(plan), *launch.describe()])
    if asked.dry_run:
        console.columns(["training", "after"], [(job.name, _shorten(job.needs)) for job in plan.jobs])
        console.note("dry run: nothing was trained")
        return 0
    board = JobBoard(plan.jobs)
    launcher, logs = launch.make(train_job, plan.runs_root)
    console.note(f"the trainings' output is in {logs}")
    try:
        with JobLines(board) as lines:
            launcher.run(board, lines.show)
    except KeyboardInterrupt:
        console.warn(f"stopped: {launch.describe_stop()}")
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
