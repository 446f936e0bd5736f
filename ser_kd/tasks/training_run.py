"""One run from a checked configuration to everything it needs; shared by the verbs that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.emotions import Targets
from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import describe_left_out
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.data.sampling import check_shares
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.embedding_requests import connect_embeddings
from ser_kd.distill.heard_members import check_members_exist, check_weights_heard
from ser_kd.distill.layer_requests import connect_layers
from ser_kd.distill.objective import Objective
from ser_kd.distill.objective_checks import check_batch_size, check_without_labels
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.distill.views import Views
from ser_kd.distill.weight_averaging import RunningAverage, TopCheckpoints
from ser_kd.metrics.panel import MetricPanel
from ser_kd.models.layers.shared_statistics import share_statistics
from ser_kd.models.pretrained import load_pretrained
from ser_kd.models.teacher_start import start_from_teacher
from ser_kd.runtime import console
from ser_kd.runtime.build import build, build_student
from ser_kd.runtime.checkpoint_files import WholeCheckpoints
from ser_kd.runtime.compilation import compile_in_place
from ser_kd.runtime.memory import keep_freed_memory
from ser_kd.runtime.paths import run_folder
from ser_kd.runtime.process_group import count_processes, first_on_each_machine
from ser_kd.runtime.progress import progress_callbacks, quieten_libraries, trainer_quietness
from ser_kd.runtime.recording import identify
from ser_kd.runtime.tracking import choose_mode
from ser_kd.tasks.heard_audio import check_teachers_unheard
from ser_kd.tasks.missing_teachers import advise_training
from ser_kd.tasks.noise import TrainingNoise, hand_over_noise, prepare_training_noise
from ser_kd.tasks.prepared_clips import add_teacher_features, check_heard, extract_features
from ser_kd.tasks.published_teachers import check_published, describe_published, list_warnings
from ser_kd.tasks.teacher_switches import drop_members, fill_projection_widths, keep_heard_members
from ser_kd.tasks.teachers import identify_teacher, list_twins, make_teacher
from ser_kd.tasks.text_readers import check_readers, hand_over_transcripts, list_readers
from ser_kd.tasks.unlearned_dimensions import check_monitored_dimension, describe_unlearned, find_unlearned
from ser_kd.tasks.upstreams import FoundUpstream, find_upstreams, hand_over_upstreams
from ser_kd.tasks.wanted_upstreams import without_places

DEFAULT_MONITORS: dict[Targets, str] = {
    "classes": "validation/ua",
    "dimensions": "validation/ccc_mean",
    "both": "validation/ua",
}
"""Targets -> the metric by which the best checkpoint is chosen where none is named."""

UNLABELLED_MONITORS: dict[Targets, str] = {
    "classes": "validation/teacher_agreement",
    "dimensions": "validation/teacher_agreement_ccc_mean",
    "both": "validation/teacher_agreement",
}
"""The same where validation clips have no labels."""


def choose_monitor(fold: ProtocolFold) -> str:
    """Give the metric by which the best checkpoint of a fold is chosen where none is named."""
    labelled = fold.is_labelled("validation") or not fold.validation_set
    return (DEFAULT_MONITORS if labelled else UNLABELLED_MONITORS)[fold.targets]


@dataclass
class TrainingRun:
    """Everything that is known of a run before it starts.

    Args:
        config: Checked configuration.
        experiment: Name of the experiment.
        command: Command line that makes it again.
        data: One fold, audited.
        teacher: Loaded teachers, or None.
        identity: Hash of what changes the science.
        folder: Run folder.
        watchers: Further callbacks of the trainer, which change nothing.
        noise: The noises of training, or None.
        asked: Those of the teachers that somebody listens to, or None: the only ones that are ever run.
        switches: What was switched off at the start, a line each.
        remarks: What a reader of its result must know, a line each.
        upstreams: Finished runs whose encoders the student hears through.
        unlearned: Of arousal, dominance and valence those that nothing teaches.
        start: How the student's weights came from its teacher, as ``make_module`` found it; empty where they did not.
    """

    config: DictConfig
    experiment: str
    command: str
    data: SpeechDataModule
    teacher: TeacherEnsemble | None
    identity: str
    folder: Path
    watchers: Sequence[Callback] = ()
    noise: TrainingNoise | None = None
    asked: TeacherEnsemble | None = None
    switches: Sequence[str] = ()
    remarks: Sequence[str] = ()
    upstreams: Sequence[FoundUpstream] = ()
    unlearned: Sequence[str] = ()
    start: str = ""

    @property
    def fold(self) -> ProtocolFold:
        """The fold it is trained on."""
        return self.data.fold

    def make_module(self, with_weights: bool = True) -> DistillationModule:
        """Build student and objective anew from the run's seed; feature statistics are not fitted yet.

        Args:
            with_weights: Whether pretrained weights are loaded; not needed where a checkpoint of the run follows.
        """
        lightning.seed_everything(self.config.seed, workers=True, verbose=False)
        fold = self.fold
        objective: Objective = build(self.config.objective)
        if not fold.is_labelled("train"):
            check_without_labels(objective)
        is_global = self.config.batch_scope == "global"
        check_batch_size(objective, self.data.batch_size if is_global else self.data.batch_size // count_processes())
        student = build_student(self.config.student, len(fold.label_set), fold.learns_dimensions)
        student.unlearned_dimensions = tuple(self.unlearned)
        hand_over_upstreams(student, self.upstreams, self.data)
        teachers = {member.name: member.model for member in self.teacher.members} if self.teacher else {}
        if with_weights:
            self.start = start_from_teacher(student, list(teachers.values()))
            load_pretrained(student)
        views = self.make_views()
        listening = self.asked.members if self.asked else ()
        check_readers(list_readers(student, {member.name: member.model for member in listening}), self.data, views)
        check_heard(self.data, student, listening, views)
        connect_layers(objective, student, teachers)
        connect_embeddings(objective, student, teachers)
        if count_processes() > 1 and self.config.trainer.get("sync_batchnorm"):
            share_statistics(student)
        if self.config.compile:
            compile_in_place([student, *teachers.values()])
        module = DistillationModule(
            student=student,
            objective=objective,
            classes=fold.label_set.labels,
            teacher=self.asked,
            views=views,
            optimizer=build(self.config.optimizer),
            learning_rate_schedule=build(self.config.learning_rate_schedule),
            class_counts=fold.class_counts("train"),
            group_values=self.data.group_values,
            batch_scope=self.config.batch_scope,
            targets=fold.targets,
            learning_rates=_read_learning_rates(self.config),
        )
        _check_monitor(self.config.monitor, module, fold)
        return module

    def make_views(self) -> Views:
        """Build the views, with the noises of training in those that wait for them.

        Raises:
            ConfigError: If a view waits for noises and none are chosen, or noises are chosen that no view hears.
        """
        views: Views = build(self.config.views) or Views()
        hand_over_noise(self.noise, views)
        hand_over_transcripts(self.data, views)
        return views

    def make_trainer(self, callbacks: Sequence[Callback], loggers: Any) -> lightning.Trainer:
        """Build the trainer."""
        return build(
            self.config.trainer,
            callbacks=[*self.watchers, *callbacks, *progress_callbacks(self.config.trainer.max_epochs)],
            logger=loggers,
            default_root_dir=str(self.folder),
            plugins=[WholeCheckpoints()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            sync_batchnorm=False,  # Lightning's would forget masks: see share_statistics
            **trainer_quietness(),
        )


def _read_learning_rates(config: DictConfig) -> dict[str, float]:
    rates = config.get("learning_rates")
    if rates is None:
        return {}
    if not isinstance(rates, DictConfig):
        raise ConfigError(
            "learning_rates cannot be used.",
            expected="names of parts of the student with a number each",
            got=f"learning_rates={rates}",
            remedy="write 'learning_rates={encoder: 1.0e-5}'; the rate of all is optimizer.lr",
        )
    return {str(name): rate for name, rate in rates.items()}


def prepare_run(config: DictConfig, experiment: str, command: str) -> TrainingRun:
    """Read the data, audit the fold, find the teacher, and name the run.

    Args:
        config: Checked configuration of ``conf/train.yaml``.
        experiment: Name of the experiment.
        command: Command line that makes the run again.

    Raises:
        SerKdError: If anything the user chose cannot work together.
    """
    quieten_libraries(choose_mode(config.logger.wandb))
    keep_freed_memory()
    spec: TeacherSpec | None = build(config.teacher)  # what cannot work is told before audio is decoded
    switches: list[str] = []
    remarks: list[str] = []
    if spec is not None:
        switches += drop_members(config, spec)
        spec = spec if spec.sources else None  # all are dropped: the chair is empty
    objective: Objective = build(config.objective)
    if spec is not None:
        check_members_exist(objective, spec.member_names)
        check_weights_heard(objective, spec)
        check_published(spec, config.datamodule.sample_rate_hz, needs_weights=not config.dry_run)
    if objective.weigh_members and (spec is None or spec.weights == "uniform"):
        console.warn("objective.weigh_members=true changes nothing: teacher.weights=uniform gives all members the same share")
    _check_averaging(config)
    check_shares(config.datamodule.batch_size, count_processes())
    build(config.get("noise"))
    cache = read_cache_spec(config)
    data: SpeechDataModule = build(
        config.datamodule,
        corpus=build(config.corpus),
        protocol=build(config.protocol),
        fold=config.fold,
        seed=config.seed,
        key_epochs=cache.views,
    )
    with first_on_each_machine(), console.progress("decoding audio") as data.progress:
        data.setup()
    if data.manifest.left_out:
        console.warn(describe_left_out(data.manifest.left_out))
    for text in data.manifest.notes:
        console.warn(text)
    runs_root = Path(config.paths.runs)
    noise = None if config.get("noise") is None else prepare_training_noise(config.noise, data)
    teacher = asked = None
    licences: list[str] = []
    if spec is not None:
        advise = partial(advise_training, config=config, command=command, runs_root=runs_root)
        teacher = make_teacher(spec, data.fold, data.corpus.name, config.seed, runs_root, not config.dry_run, advise)
        check_teachers_unheard(data, teacher.members)
        licences = describe_published(teacher.members)
        for line in licences:
            console.note(line)
        for text in list_warnings(teacher.members):
            console.warn(text)
        remarks += list_twins(config, teacher)
        asked, silent = keep_heard_members(config, objective, teacher)
        switches += silent
        fill_projection_widths(config, objective, teacher)
        add_teacher_features(data, asked.members if asked else ())
    if asked is None and data.joins_unlabelled:
        raise ConfigError(
            "Unlabelled clips join training, and no teacher says what they are.",
            expected="a teacher that a term of the objective listens to",
            got="datamodule.unlabelled_root without one",
            remedy="choose a teacher and an objective that follows it (objective=kl, ce_kl, ccc_teacher, ccc_kd), or set "
            "datamodule.unlabelled_root=null",
        )
    for line in switches:
        console.note(line)
    upstreams = find_upstreams(config, data, runs_root, command, device_of(config))
    unlearned = find_unlearned(data.fold, objective, asked)
    remarks += describe_unlearned(data.fold, unlearned)
    for line in remarks:
        console.warn(line)
    with first_on_each_machine():
        extract_features(data, told=licences)
    if config.monitor is None:
        config.monitor = choose_monitor(data.fold)
    check_monitored_dimension(config.monitor, data.fold, unlearned)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    plain["student"] = without_places(plain["student"])
    if config.batch_scope == "process":
        plain["batch_scope"] = ["process", count_processes()]  # what is learned then depends on their number
    caches_frames = spec is not None and spec.cache == "auto" and cache.choose_parts(objective).are_long
    identity = identify(plain, data.fold.fingerprint, identify_teacher(teacher) if teacher else None, caches_frames)
    folder = run_folder(runs_root, experiment, identity, config.fold, config.seed)
    return TrainingRun(
        config, experiment, command, data, teacher, identity, folder,
        noise=noise, asked=asked, switches=switches, remarks=remarks, upstreams=upstreams, unlearned=unlearned,
    )  # fmt: skip


def _check_monitor(monitor: str, module: DistillationModule, fold: ProtocolFold) -> None:
    split, _, name = monitor.partition("/")
    if split != "validation":
        return  # of training, such as train/loss
    follows = name.startswith(("teacher_agreement", "teacher_divergence"))
    if fold.validation_set and not fold.is_labelled("validation") and not follows:
        raise ConfigError(
            "Validation clips have no labels, so only agreement with the teacher can choose the best checkpoint.",
            expected=f"monitor={choose_monitor(fold)}, or monitor=null for it",
            got=f"monitor={monitor}",
            remedy="leave monitor out",
        )
    panel: MetricPanel = module.panels[split]  # type: ignore[assignment]
    names = panel.list_names(has_teacher=module.teacher is not None)
    if name not in names:
        shown = [found for found in names if "=" not in found]
        raise ConfigError(
            f"The monitor '{monitor}' is no metric of this run.",
            expected=f"validation/ and one of {', '.join(shown)}",
            got=f"monitor={monitor}, with protocol.targets={module.targets}",
            remedy=f"set monitor=null, which is {choose_monitor(fold)} here, or one of these",
        )


def _check_averaging(config: DictConfig) -> None:
    averaging: TopCheckpoints | RunningAverage | None = build(config.averaging)
    if isinstance(averaging, RunningAverage):
        averaging.check_epochs(config.trainer.max_epochs)
    elif averaging is not None and config.refit:
        raise ConfigError(
            "The best checkpoints cannot be chosen: nothing is judged while the final weights are trained.",
            expected="refit=false beside averaging=top_k",
            got="refit=true",
            remedy="choose averaging=ema or averaging=swa, which need no validation",
        )


def read_cache_spec(config: DictConfig) -> CacheSpec:
    """Read what is to be kept of a teacher's answers."""
    return build(config.get("cache")) or CacheSpec()


def device_of(config: DictConfig) -> str:
    """Name the device that the trainer will take."""
    return "cuda" if config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
