"""``ser-kd sweep FILE KEY=VALUE …``: try the parameters of a W&B sweep file, with no account, through Optuna; here or on a cluster.

FILE is a path, or <paper>/<name> of a file in experiments/<paper>/sweeps. The same file runs with wandb sweep and wandb agent.

keys of its own:
  workers=N             trials at once (here one for each core, or for each GPU)
  launcher=local        where they run: local, slurm or ray; its keys are in 'ser-kd cross-validate --help'
  storage=FILE.db       where trials are kept: SQLite (.db), a journal (.journal), or a URL such as postgresql://… (runs/sweeps/NAME.db)
  trials=N              trials in all (run_cap of the file, else the whole grid)
  sampling_seed=0       seed of random and bayes
  early_terminate=NAME  hyperband (as the file says), median or none
  take_over=HOST        take up the trials that a dead machine held (its name is told), or those of all others (all)
  dry_run=true          check everything, list the trials and stop

All other words are those of ser-kd train and hold for every trial; they take the place of the same keys in the file's command. Each trial
is a run folder: finished ones are found, interrupted ones go on. The same command goes on where it was stopped; on several machines with
one PostgreSQL storage and one folder of runs it shares the trials. Reports and teachers pass over trials until ser-kd train asks for one.
"""

from __future__ import annotations

import shlex
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_kd.contracts.sweep_record import name_sweep_file
from ser_kd.runtime import console
from ser_kd.runtime.command_line import quote_value
from ser_kd.runtime.composition import compose
from ser_kd.runtime.job_lines import JobLines
from ser_kd.runtime.recording import NOT_SCIENCE, NOT_SCIENCE_WITHIN
from ser_kd.sweeps.launchers.settings import SlurmSettings
from ser_kd.tasks.launcher_words import take_launcher_words
from ser_kd.tasks.sweep_words import SweepWords, read_words

if TYPE_CHECKING:
    from ser_kd.sweeps.jobs import Job
    from ser_kd.sweeps.sweep_file import SweepFile

_BAYES_AT_ONCE = 4
"""Trials that a queue takes at once where nothing is said: TPE learns from those that are finished."""


def run(arguments: list[str]) -> int:
    """Do the trials that are missing, and show all and the best.

    Args:
        arguments: The words.

    Returns:
        0 where every trial is finished, was stopped early, or is being trained by another process; else 1.

    Raises:
        ConfigError: If words, file and storage cannot work together.
    """
    settings, words = take_launcher_words(arguments)
    asked, sweep, config = read_words(words)
    from ser_kd.sweeps.study import open_study  # late: torch and optuna take seconds to import
    from ser_kd.sweeps.study_record import make_record
    from ser_kd.sweeps.trial_board import TrialBoard
    from ser_kd.sweeps.trial_storage import check_place, check_storage, hide_password
    from ser_kd.tasks.launched_training import read_demand, train_trial
    from ser_kd.tasks.launchers import plan_launch
    from ser_kd.tasks.sweep_checks import check_trials
    from ser_kd.tasks.sweep_results import SweepNotes, show_results

    runs_root = Path(config.paths.runs)
    name = sweep.name or f"{asked.path.absolute().parent.name}/{asked.path.stem}"
    usual = str(runs_root / "sweeps" / f"{name_sweep_file(name)}.db")
    storage = asked.storage or usual
    check_storage(storage)
    stopping = asked.early_terminate or ("hyperband" if sweep.hyperband else "none")
    if asked.workers is None and sweep.method == "bayes" and isinstance(settings, SlurmSettings):
        asked.workers = _BAYES_AT_ONCE
    launch = plan_launch(settings, [read_demand(config)], asked.workers, _count_trials(sweep, asked), "sweep")
    console.table([*_describe(sweep, asked, stopping), ("storage", hide_password(storage)), *launch.describe()])
    check_place(storage)  # told before audio is decoded
    given = {word.partition("=")[0] for word in asked.words}
    marks = [f"{key}={quote_value(name)}" for key in ("logger.group", "sweep") if key not in given]
    compose("train", [*asked.words, *marks])
    check_trials(sweep, asked, config)
    if asked.dry_run:
        if sweep.method == "grid":
            console.columns(list(_short_names(sweep)), [[str(value) for value in point.values()] for point in sweep.list_points()])
        console.note("dry run: nothing was trained")
        return 0
    study = open_study(
        sweep, name, storage, describe_science(sweep, asked, stopping),
        stopping=stopping, epochs=int(config.trainer.max_epochs), seed=asked.sampling_seed, most=asked.trials, dead_hosts=asked.take_over,
    )  # fmt: skip
    for trial in study.list_foreign():
        holder = str(trial.user_attrs.get("holder", "that has just taken it"))
        host = holder.split()[0] if " " in holder else ""
        dead = f"; where that machine is down: take_over={host}" if host and host != socket.gethostname() else ""
        console.warn(f"trial {trial.number} is held by another process ({holder}) and left to it{dead}")
    board = TrialBoard(study, [*asked.words, *marks])
    command = hide_password(shlex.join(["ser-kd", "sweep", *arguments]))
    experiment = config.experiment or "own"
    place = "" if Path(storage).absolute() == Path(usual).absolute() else hide_password(storage)
    describe = partial(make_record, study, experiment, asked.words, stopping=stopping, command=command, storage=place)
    notes = SweepNotes(runs_root, lambda is_stopped: describe(is_stopped=is_stopped))
    notes.write()
    if board.jobs:
        launcher, logs = launch.make(train_trial, runs_root)
        console.note(f"{len(board.jobs)} of {study.planned} trials are to be done; their output is in {logs}")
        try:
            with JobLines(board) as lines:

                def notice(job: Job) -> None:
                    board.note(job)
                    lines.show(job)
                    notes.notice(job)

                launcher.run(board, notice)
        except BaseException as fault:
            notes.write(is_stopped=not launch.outlives_us)
            if isinstance(fault, KeyboardInterrupt):
                console.warn(f"stopped: {launch.describe_stop()}")
            raise
    return show_results(notes.write(), storage)


def describe_science(sweep: SweepFile, asked: SweepWords, stopping: str) -> dict[str, Any]:
    """Give what must stay the same while a sweep goes on, as plain data: how many trials and where they run may change."""
    places = (*(name for name in NOT_SCIENCE if name not in ("fold", "seed", "experiment", "experiments")),)
    within = [f"{group}.{key}" for group, keys in NOT_SCIENCE_WITHIN.items() for key in keys if group != "teacher" or key == "cache"]
    words = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in asked.words}
    kept = {key: value for key, value in words.items() if key.partition(".")[0] not in places and key not in within}
    parameters = {}
    for parameter in sweep.parameters:
        shape = {"min": parameter.low, "max": parameter.high, "step": parameter.step, "log": parameter.is_log}
        parameters[parameter.name] = {"values": list(parameter.values)} if parameter.values else shape
    band = sweep.hyperband
    return {
        "method": sweep.method,
        "metric": {"name": sweep.metric, "goal": "maximize" if sweep.maximize else "minimize"},
        "parameters": parameters,
        "words": kept,
        "early_terminate": [stopping, band.min_epochs, band.max_epochs, band.eta] if band and stopping == "hyperband" else [stopping],
        **({} if sweep.method == "grid" else {"sampling_seed": asked.sampling_seed}),
    }


def _count_trials(sweep: SweepFile, asked: SweepWords) -> int:
    cap = asked.trials if asked.trials is not None else sweep.run_cap
    return min(value for value in (sweep.count_points(), cap) if value is not None)


def _describe(sweep: SweepFile, asked: SweepWords, stopping: str) -> list[tuple[str, str]]:
    return [
        ("sweep", str(asked.path)),
        (
            "method",
            f"{sweep.method}, {_count_trials(sweep, asked)} trials" + ("" if stopping == "none" else f", stopped early by {stopping}"),
        ),
        ("metric", f"{sweep.metric}, {'more' if sweep.maximize else 'less'} is better"),
        ("parameters", ", ".join(parameter.name for parameter in sweep.parameters)),
        ("each trial", shlex.join(["ser-kd", "train", *asked.words])),
    ]


def _short_names(sweep: SweepFile) -> list[str]:
    return [parameter.name.removeprefix("objective.") for parameter in sweep.parameters]
