"""Which trainings a cross-validation consists of, and which of them must wait for their teachers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config
from ser_kd.sweeps.jobs import Job
from ser_kd.sweeps.launchers.settings import Demand
from ser_kd.tasks.cross_validation_words import SHARED_BY_ALL, ChosenExperiment, ChosenSeeds
from ser_kd.tasks.launched_training import read_demand
from ser_kd.tasks.teachers import WantedRun, find_teacher_run, list_wanted_runs
from ser_kd.tasks.wanted_upstreams import list_wanted_upstreams

SHARED_WITH_TEACHERS = (*SHARED_BY_ALL, "datamodule")
"""Words of the command line that hold for a teacher that is trained on the way, too."""


@dataclass
class Plan:
    """Experiments on folds and seeds.

    Args:
        experiments: What was asked for, teachers that are trained on the way not among them.
        folds: Folds, from 0.
        seeds: Seeds of the folds.
        jobs: All trainings, teachers first.
        runs_root: Where the runs lie.
        teachers: Experiments that are trained only because an experiment needs them as a teacher.
        demands: What the trainings ask for, each kind once.
    """

    experiments: list[ChosenExperiment]
    folds: list[int]
    seeds: ChosenSeeds
    jobs: list[Job]
    runs_root: Path
    teachers: list[str] = field(default_factory=list)
    demands: set[Demand] = field(default_factory=set)


def make_plan(experiments: Sequence[ChosenExperiment], folds: str | Sequence[int], seeds: ChosenSeeds, words: Sequence[str]) -> Plan:
    """Read the corpus, list the trainings, and add those of teachers of which no finished run is found.

    Args:
        experiments: What is trained.
        folds: ``all`` or numbers.
        seeds: Seeds of the folds.
        words: Further words of the command line, for all of them.

    Raises:
        ConfigError: If a fold does not exist, test folds overlap, or two experiments
            do not share one protocol.
    """
    # every typo is told before audio is decoded
    configs = {experiment: _compose(experiment.name, [*words, *experiment.words]) for experiment in experiments}
    _check_different(configs)
    parts = {experiment: _read_folds(config) for experiment, config in configs.items()}
    every = parts[experiments[0]]
    strangers = {str(experiment): part[0] for experiment, part in parts.items() if part[0].fingerprint != every[0].fingerprint}
    if strangers:
        raise ConfigError(
            "The experiments do not share one protocol, so their results could not stand in one table.",
            expected=f"protocol {every[0].protocol} ({every[0].fingerprint}) of {experiments[0]}",
            got=", ".join(f"{name}: {fold.protocol} ({fold.fingerprint})" for name, fold in strangers.items()),
            remedy="cross-validate them one by one",
        )
    chosen = _choose_folds(folds, every)
    _check_folds(seeds.by_fold, every, chosen)
    _check_disjoint([every[fold] for fold in chosen])
    runs_root = Path(configs[experiments[0]].paths.runs)
    planner = _Planner(list(experiments), words, runs_root)
    for experiment, config in configs.items():
        for fold in chosen:
            for seed in seeds.of_fold(fold):
                planner.add(experiment, config, parts[experiment][fold], seed)
    teachers = sorted(planner.teachers - {experiment.name for experiment in experiments})
    return Plan(list(experiments), chosen, seeds, planner.sorted_jobs(), runs_root, teachers, planner.demands)


class _Planner:
    def __init__(self, experiments: list[ChosenExperiment], words: Sequence[str], runs_root: Path) -> None:
        self.experiments = experiments
        self.chosen = {experiment.name: experiment for experiment in experiments}
        self.words = tuple(words)
        self.runs_root = runs_root
        self.several = {name for name in self.chosen if sum(experiment.name == name for experiment in experiments) > 1}
        self.jobs: dict[str, Job] = {}
        self.teachers: set[str] = set()
        self.demands: set[Demand] = set()
        self.waiting: list[str] = []

    def add(self, experiment: ChosenExperiment, config: DictConfig, fold: ProtocolFold, seed: int, withhold: str | None = None) -> str:
        """Plan one training and whatever it needs."""
        name = _name_job(experiment, fold.fold, seed, withhold)
        if name in self.jobs:
            return name
        if name in self.waiting:
            raise ConfigError(
                "An experiment would teach itself.",
                expected="a teacher that is trained before its student",
                got=" needs ".join([*self.waiting[self.waiting.index(name) :], name]),
                remedy="name a finished run: teacher.run=FOLDER",
            )
        spec: TeacherSpec | None = build(config.teacher)
        self.waiting.append(name)
        wanted = [*([] if spec is None else list_wanted_runs(spec, fold, seed)), *list_wanted_upstreams(config, fold, seed)]
        needs = [need for run in wanted if (need := self._provide(run)) is not None]
        self.waiting.pop()
        place = [f"fold={fold.fold}", f"seed={seed}", *([f"datamodule.withhold={withhold}"] if withhold else [])]
        words = (f"experiments={experiment.name}", *self._words_for(experiment), *place)
        self.jobs[name] = Job(name, words, tuple(dict.fromkeys(needs)))
        self.demands.add(read_demand(config))
        return name

    def _provide(self, run: WantedRun) -> str | None:
        """Give the job that trains a wanted teacher; None where a finished run is there already."""
        if run.experiment in self.several:
            raise ConfigError(
                f"Which {run.experiment} is to teach is not clear.",
                expected="a teacher that is cross-validated in one form at most",
                got=", ".join(str(experiment) for experiment in self.experiments if experiment.name == run.experiment),
                remedy="cross-validate its forms apart, or name finished runs: teacher.run=FOLDER",
            )
        experiment = self.chosen.get(run.experiment, ChosenExperiment(run.experiment))
        if _name_job(experiment, run.fold.fold, run.seed, run.withhold) not in self.jobs and run.experiment not in self.chosen:
            try:
                find_teacher_run(self.runs_root, run.experiment, run.fold, run.seed, exact_seed=run.exact_seed)
            except ConfigError as fault:
                if not fault.problem.startswith("No finished run"):
                    raise
            else:
                return None
        self.teachers.add(run.experiment)
        return self.add(experiment, _compose(run.experiment, self._words_for(experiment)), run.fold, run.seed, run.withhold)

    def _words_for(self, experiment: ChosenExperiment) -> tuple[str, ...]:
        if experiment.name in self.chosen:
            return (*self.words, *experiment.words)
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


def _name_job(experiment: ChosenExperiment, fold: int, seed: int, withhold: str | None) -> str:
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
    _check_folds(folds, every)
    return list(folds)


def _check_folds(folds: Iterable[int], every: Sequence[ProtocolFold], chosen: Sequence[int] | None = None) -> None:
    offered = range(len(every)) if chosen is None else chosen
    strangers = [fold for fold in folds if fold not in offered]
    if strangers:
        raise ConfigError(
            "There is no such fold." if chosen is None else "Seeds are told for a fold that is not trained.",
            expected=f"folds of {', '.join(map(str, offered))} (protocol {every[0].protocol})",
            got=", ".join(map(str, strangers)),
            remedy="set folds=all, or choose some of them",
        )


def _check_different(configs: Mapping[ChosenExperiment, DictConfig]) -> None:
    """Refuse two spellings of one training."""
    seen: dict[str, ChosenExperiment] = {}
    for experiment, config in configs.items():
        first = seen.setdefault(json.dumps(OmegaConf.to_container(config, resolve=True), sort_keys=True, default=str), experiment)
        if first is not experiment:
            raise ConfigError(
                "Two experiments are the same training.",
                expected="experiments that differ in what they do",
                got=f"{first} and {experiment}",
                remedy="leave one of them out",
            )


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
        ("experiments", ", ".join(map(str, plan.experiments))),
        ("folds", ", ".join(map(str, plan.folds))),
        ("seeds", str(plan.seeds)),
        ("jobs", f"{len(plan.jobs)} trainings"),
    ]
    if plan.teachers:
        count = sum(any(job.name.startswith(f"{name} ") for name in plan.teachers) for job in plan.jobs)
        lines.append(("teachers", f"{count} of them because no finished run was found: {', '.join(plan.teachers)}"))
    return lines
