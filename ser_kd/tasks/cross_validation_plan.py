"""Which trainings a cross-validation consists of, and which of them must wait for their teachers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.evaluation_protocol import ProtocolFold
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config
from ser_kd.sweeps.jobs import Job
from ser_kd.tasks.teachers import WantedRun, find_teacher_run, list_wanted_runs

SHARED_WITH_TEACHERS = ("corpus", "protocol", "datamodule", "scale", "logger", "paths", "trainer.accelerator", "trainer.devices")
"""Words of the command line that hold for a teacher that is trained on the way, too."""


@dataclass
class Plan:
    """Experiments on folds and seeds.

    Args:
        experiments: Names, teachers that are trained on the way not among them.
        folds: Folds, from 0.
        seeds: Seeds.
        jobs: All trainings, teachers first.
        runs_root: Where the runs lie.
        teachers: Experiments that are trained only because an experiment needs them as a teacher.
    """

    experiments: list[str]
    folds: list[int]
    seeds: list[int]
    jobs: list[Job]
    runs_root: Path
    teachers: list[str] = field(default_factory=list)


def make_plan(experiments: Sequence[str], folds: str | Sequence[int], seeds: Sequence[int], words: Sequence[str]) -> Plan:
    """Read the corpus, list the trainings, and add those of teachers of which no finished run is found.

    Args:
        experiments: Names of experiments.
        folds: ``all`` or numbers.
        seeds: Seeds of the runs.
        words: Further words of the command line, for all of them.

    Raises:
        ConfigError: If a fold does not exist, test folds overlap, or two experiments
            do not share one protocol.
    """
    configs = {name: _compose(name, words) for name in experiments}  # every typo is told before audio is decoded
    parts = {name: _read_folds(config) for name, config in configs.items()}
    every = parts[experiments[0]]
    strangers = [name for name, part in parts.items() if part[0].fingerprint != every[0].fingerprint]
    if strangers:
        raise ConfigError(
            "The experiments do not share one protocol, so their results could not stand in one table.",
            expected=f"protocol {every[0].protocol} ({every[0].fingerprint}) of {experiments[0]}",
            got=", ".join(f"{name}: {parts[name][0].protocol} ({parts[name][0].fingerprint})" for name in strangers),
            remedy="cross-validate them one by one",
        )
    chosen = _choose_folds(folds, every)
    _check_disjoint([every[fold] for fold in chosen])
    runs_root = Path(configs[experiments[0]].paths.runs)
    planner = _Planner(list(experiments), words, runs_root)
    for name, config in configs.items():
        for fold in chosen:
            for seed in seeds:
                planner.add(name, config, parts[name][fold], seed)
    teachers = sorted(set(planner.experiments_of.values()) - set(experiments))
    return Plan(list(experiments), chosen, list(seeds), planner.sorted_jobs(), runs_root, teachers)


class _Planner:
    def __init__(self, experiments: list[str], words: Sequence[str], runs_root: Path) -> None:
        self.experiments = experiments
        self.words = tuple(words)
        self.runs_root = runs_root
        self.jobs: dict[str, Job] = {}
        self.experiments_of: dict[str, str] = {}

    def add(self, experiment: str, config: DictConfig, fold: ProtocolFold, seed: int, withhold: str | None = None) -> str:
        """Plan one training and whatever it needs."""
        name = _name_job(experiment, fold.fold, seed, withhold)
        if name in self.jobs:
            return name
        spec: TeacherSpec | None = build(config.teacher)
        needs = [] if spec is None else [need for run in list_wanted_runs(spec, fold, seed) if (need := self._provide(run)) is not None]
        place = [f"fold={fold.fold}", f"seed={seed}", *([f"datamodule.withhold={withhold}"] if withhold else [])]
        self.jobs[name] = Job(name, (f"experiments={experiment}", *self._words_for(experiment), *place), tuple(dict.fromkeys(needs)))
        self.experiments_of[name] = experiment
        return name

    def _provide(self, run: WantedRun) -> str | None:
        """Give the job that trains a wanted teacher; None where a finished run is there already."""
        if _name_job(run.experiment, run.fold.fold, run.seed, run.withhold) not in self.jobs and run.experiment not in self.experiments:
            try:
                find_teacher_run(self.runs_root, run.experiment, run.fold, run.seed, "", exact_seed=run.exact_seed)
            except ConfigError as fault:
                if not fault.problem.startswith("No finished run"):
                    raise
            else:
                return None
        return self.add(run.experiment, _compose(run.experiment, self._words_for(run.experiment)), run.fold, run.seed, run.withhold)

    def _words_for(self, experiment: str) -> tuple[str, ...]:
        if experiment in self.experiments:
            return self.words
        return tuple(word for word in self.words if word.startswith(SHARED_WITH_TEACHERS))

    def sorted_jobs(self) -> list[Job]:
        """Jobs in the order they were planned, each behind those it needs."""
        done: dict[str, Job] = {}

        def place(name: str) -> None:
            if name not in done:
                for need in self.jobs[name].needs:
                    place(need)
                done[name] = self.jobs[name]

        for name in self.jobs:
            place(name)
        return list(done.values())


def _name_job(experiment: str, fold: int, seed: int, withhold: str | None) -> str:
    return f"{experiment} fold={fold} seed={seed}" + (f" withhold={withhold}" if withhold else "")


def _compose(experiment: str, words: Iterable[str]) -> DictConfig:
    config = compose("train", [f"experiments={experiment}", *words])
    check_config(config)
    return config


def _read_folds(config: DictConfig) -> list[ProtocolFold]:
    data: SpeechDataModule = build(config.datamodule, corpus=build(config.corpus), protocol=build(config.protocol))
    with console.progress("decoding audio") as data.progress:
        manifest, label_set = data.manifest, data.label_set
    return data.protocol.folds(manifest, label_set)


def _choose_folds(folds: str | Sequence[int], every: Sequence[ProtocolFold]) -> list[int]:
    if isinstance(folds, str):
        return list(range(len(every)))
    strangers = [fold for fold in folds if not 0 <= fold < len(every)]
    if strangers:
        raise ConfigError(
            "There is no such fold.",
            expected=f"folds from 0 to {len(every) - 1} of protocol {every[0].protocol}",
            got=", ".join(map(str, strangers)),
            remedy="set folds=all, or choose some of them",
        )
    return list(folds)


def _check_disjoint(folds: Sequence[ProtocolFold]) -> None:
    """Refuse folds that judge one clip twice: pooled over folds it would count twice."""
    first: dict[str, int] = {}
    for fold in folds:
        for clip in fold.split("test"):
            if first.setdefault(clip.id, fold.fold) != fold.fold:
                raise ConfigError(
                    "Two folds overlap: pooled over folds, a clip would be judged twice.",
                    expected="each clip in the test split of one fold at most",
                    got=f"{clip.id} (speaker {clip.speaker}) in folds {first[clip.id]} and {fold.fold}",
                    remedy="choose folds=[…] that do not overlap, or another protocol",
                )


def describe_plan(plan: Plan) -> list[tuple[str, str]]:
    """Give the lines that tell what will be done."""
    lines = [
        ("experiments", ", ".join(plan.experiments)),
        ("folds", ", ".join(map(str, plan.folds))),
        ("seeds", ", ".join(map(str, plan.seeds))),
        ("jobs", f"{len(plan.jobs)} trainings"),
    ]
    if plan.teachers:
        count = sum(any(job.name.startswith(f"{name} ") for name in plan.teachers) for job in plan.jobs)
        lines.append(("teachers", f"{count} of them because no finished run was found: {', '.join(plan.teachers)}"))
    return lines
