"""One run from a checked configuration to its record; shared by the verbs that train."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import RunRecord
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import describe_left_out
from ser_kd.data.protocols.evaluation_protocol import ProtocolFold
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.cached_teacher import CachedTeacher
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.fitting import fit_statistics
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.models.freezing import count_parameters
from ser_kd.models.pretrained import load_pretrained, pretrained_sources
from ser_kd.reports.run_figures import write_run_figures
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.environment import describe_hardware, git_revision, installed_packages
from ser_kd.runtime.memory import keep_freed_memory
from ser_kd.runtime.paths import run_folder
from ser_kd.runtime.progress import progress_callbacks, quieten_libraries, trainer_quietness
from ser_kd.runtime.recording import identify, name_folders_by_content, now, read_record, write_predictions, write_record
from ser_kd.runtime.tracking import choose_mode, make_loggers
from ser_kd.storage.atomic import write_text
from ser_kd.tasks.teacher_cache import CacheRequest, OpenedCache, open_cache
from ser_kd.tasks.teachers import identify_teacher, make_teacher


class _StopAfter(Callback):
    """Ends training after a number of epochs, while schedules keep their planned length."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


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
    """

    config: DictConfig
    experiment: str
    command: str
    data: SpeechDataModule
    teacher: TeacherEnsemble | None
    identity: str
    folder: Path

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
        objective.check_batch_size(self.data.batch_size)
        student = build(self.config.student, classes=len(fold.label_set))
        if with_weights:
            load_pretrained(student)
        return DistillationModule(
            student=student,
            objective=objective,
            classes=fold.label_set.labels,
            teacher=self.teacher,
            views=build(self.config.views),
            optimizer=build(self.config.optimizer),
            learning_rate_schedule=build(self.config.learning_rate_schedule),
            class_counts=fold.class_counts("train"),
            group_values=self.data.group_values,
        )

    def make_trainer(self, callbacks: Sequence[Callback], loggers: Any) -> lightning.Trainer:
        """Build the trainer."""
        return build(
            self.config.trainer,
            callbacks=[*callbacks, *progress_callbacks(self.config.trainer.max_epochs)],
            logger=loggers,
            default_root_dir=str(self.folder),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            **trainer_quietness(),
        )


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
    cache = _read_cache_spec(config)
    data: SpeechDataModule = build(
        config.datamodule,
        corpus=build(config.corpus),
        protocol=build(config.protocol),
        fold=config.fold,
        seed=config.seed,
        key_epochs=cache.views,
    )
    with console.progress("decoding audio") as data.progress:
        data.setup()
    if data.manifest.left_out:
        console.warn(describe_left_out(data.manifest.left_out))
    runs_root = Path(config.paths.runs)
    teacher = None
    if spec is not None:
        corpus_words = [f"corpus.{key}={config.corpus[key]}" for key in ("root", "path") if config.corpus.get(key)]
        teacher = make_teacher(spec, data.fold, data.corpus.name, config.seed, runs_root, corpus_words)
    plain = OmegaConf.to_container(config, resolve=True)
    caches_frames = spec is not None and spec.cache == "auto" and cache.choose_parts(build(config.objective)).are_long
    identity = identify(plain, data.fold.fingerprint, identify_teacher(teacher) if teacher else None, caches_frames)  # type: ignore[arg-type]
    folder = run_folder(runs_root, experiment, identity, config.fold, config.seed)
    return TrainingRun(config, experiment, command, data, teacher, identity, folder)


def execute_run(run: TrainingRun) -> RunRecord:
    """Train, select on validation, judge once on test, and write everything down.

    A finished run is found and returned; an interrupted one goes on from its last epoch.
    """
    found = read_record(run.folder)
    if found is not None and found.status == "finished":
        console.note(f"found finished run {run.folder}: nothing to do")
        return found
    resumed = (run.folder / "checkpoints" / "last.ckpt").is_file()
    module = run.make_module(with_weights=not resumed)  # whatever cannot work together is told before anything is written
    record = _new_record(run, resumed)
    record.notes += [f"started from the pretrained weights {source}" for source in pretrained_sources(module.student)]
    write_record(run.folder, record)
    write_text(run.folder / "config.yaml", OmegaConf.to_yaml(run.config, resolve=True))
    write_text(run.folder / "protocol.txt", run.fold.describe() + "\n")
    try:
        _train_and_judge(run, module, record)
    except BaseException as fault:
        # an interrupted run stays 'running' and goes on next time; a broken one says why
        if isinstance(fault, Exception):
            record.status, record.failure = "failed", str(fault) or type(fault).__name__
            write_record(run.folder, record)
        raise
    return record


def _train_and_judge(run: TrainingRun, module: DistillationModule, record: RunRecord) -> None:
    config = run.config
    last = run.folder / "checkpoints" / "last.ckpt"
    loggers = make_loggers(
        run.folder, config.logger.wandb, config.logger.project, config.logger.entity,
        name=f"{run.experiment} fold {config.fold} seed {config.seed}",
        group=f"{run.experiment} {run.identity}",
        tags=[*config.logger.tags, f"fold={config.fold}", f"seed={config.seed}"],
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
        resume_step=_read_checkpoint_number(last, "global_step") if last.is_file() else None,
    )  # fmt: skip
    if run.teacher is not None and run.teacher.needs_fit:
        run.teacher.fit(run.data.val_dataloader(), _device_of(config))
    chosen_epochs = None
    if config.refit:
        chosen_epochs = _choose_epochs(run, module, record)
        run.data.refit()
        module = run.make_module()
        record.protocol = run.fold.to_record()
    trainer = _fit(run, module, run.folder / "checkpoints", loggers, chosen_epochs, record)
    weights = run.folder / "checkpoints" / ("last.ckpt" if config.refit else "best.ckpt")
    if config.refit:
        (run.folder / "checkpoints" / "best.ckpt").write_bytes(weights.read_bytes())
    rows: list[dict[str, Any]] = []
    for split in ("validation", "test") if run.fold.validation_set else ("test",):
        start = time.perf_counter()
        judge = trainer.validate if split == "validation" else trainer.test
        judge(module, datamodule=run.data, ckpt_path=str(weights), verbose=False, weights_only=True)
        record.timings[f"{split}_s"] = time.perf_counter() - start
        result = module.results[split]
        record.metrics |= {f"{split}/{name}": value for name, value in result.values.items()}
        record.undefined |= {f"{split}/{name}": reason for name, reason in result.undefined.items()}
        record.confusion[split] = result.confusion
        if result.teacher_confusion:
            record.teacher_confusion[split] = result.teacher_confusion
        rows += module.predictions[split]
    record.parameters = count_parameters(module.student)
    example = next(iter(run.data.test_dataloader())).model_input().take([0])
    record.multiply_accumulates = count_multiply_accumulates(module.student.cpu(), example)
    record.input_samples = example.waveforms.shape[1]
    write_predictions(run.folder, rows)
    record.status, record.failure, record.finished_at = "finished", "", now()
    write_record(run.folder, record)
    write_run_figures(run.folder, record)
    for logger in loggers:
        logger.finalize("success")


def _fit(
    run: TrainingRun, module: DistillationModule, checkpoints: Path, loggers: Any, stop_after: int | None, record: RunRecord
) -> lightning.Trainer:
    config = run.config
    monitor = config.monitor if run.fold.validation_set else None
    best = ModelCheckpoint(
        dirpath=checkpoints, filename="best" if monitor else "latest", monitor=monitor, mode=config.monitor_mode, save_last=True,
        enable_version_counter=False,
    )  # fmt: skip
    callbacks: list[Callback] = [best]
    if config.patience is not None and monitor:
        callbacks.append(EarlyStopping(monitor, patience=config.patience, mode=config.monitor_mode, check_finite=False))
    if stop_after is not None:
        callbacks.append(_StopAfter(stop_after))
    trainer = run.make_trainer(callbacks, loggers)
    last = checkpoints / "last.ckpt"
    if not last.is_file():
        fit_statistics(module.student, run.data.plain_train_dataloader())
    _choose_training_teacher(run, module, record)
    start = time.perf_counter()
    try:
        trainer.fit(module, datamodule=run.data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except SystemExit as leaving:
        # Lightning catches Ctrl-C, tidies up and leaves with code 1, which would be our fault
        if trainer.interrupted:
            console.warn(f"interrupted in epoch {trainer.current_epoch + 1}; the same command goes on from the last finished epoch")
            raise KeyboardInterrupt from leaving
        raise
    seconds = time.perf_counter() - start
    record.timings["fit_s"] = record.timings.get("fit_s", 0.0) + seconds
    record.epochs |= {"run": trainer.current_epoch, "planned": trainer.max_epochs or 0}
    if "train/teacher_confidence" in trainer.callback_metrics:
        record.metrics["train/teacher_confidence"] = float(trainer.callback_metrics["train/teacher_confidence"])
    if monitor:
        record.epochs["best"] = _read_checkpoint_number(checkpoints / "best.ckpt", "epoch") + 1
    if trainer.current_epoch < (trainer.max_epochs or 0) and stop_after is None:
        record.notes.append(f"stopped early after {trainer.current_epoch} of {trainer.max_epochs} epochs")
    return trainer


def _choose_training_teacher(run: TrainingRun, module: DistillationModule, record: RunRecord) -> None:
    """Let the module ask whom ``teacher.cache`` says about training clips."""
    if run.teacher is None or run.config.teacher.cache == "memory":
        return
    if run.config.teacher.cache == "off":
        module.ask_in_training(run.teacher)
        return
    try:
        opened = _open_cache(run, module)
    except DataError as fault:  # a cache saves time; without one the run finds the same
        reason = f"the cache cannot be written ({fault.got})"
        kept = _read_cache_spec(run.config).choose_parts(module.objective)
        opened = OpenedCache(CachedTeacher(run.teacher, kept), "", reason)
    if opened.reason:
        console.warn(f"{opened.reason}: the teacher is asked live")
    module.ask_in_training(opened.teacher)
    record.notes.append(opened.describe())
    record.timings["teacher_cache_s"] = record.timings.get("teacher_cache_s", 0.0) + opened.seconds


def open_teacher_cache(run: TrainingRun) -> OpenedCache:
    """Build and open the cache of a run's teacher ahead of its training.

    Raises:
        ConfigError: If a folder given by hand holds something else, or a layer is missing.
        DataError: If it cannot be written.
    """
    module = run.make_module(with_weights=False)
    if run.teacher is not None and run.teacher.needs_fit:
        run.teacher.fit(run.data.val_dataloader(), _device_of(run.config))
    return _open_cache(run, module)


def _open_cache(run: TrainingRun, module: DistillationModule) -> OpenedCache:
    if run.teacher is None:  # only called where there is a teacher; told to the type checker
        raise RuntimeError("there is no teacher to cache")
    views: Any = OmegaConf.to_container(run.config.views, resolve=True) if run.config.views else {}
    return open_cache(
        CacheRequest(
            spec=_read_cache_spec(run.config),
            teacher=run.teacher,
            data=run.data,
            objective=module.objective,
            views=module.views,
            views_identity=name_folders_by_content(views),
            root=Path(run.config.paths.cache) / "teachers",
            device=_device_of(run.config),
        )
    )


def _choose_epochs(run: TrainingRun, module: DistillationModule, record: RunRecord) -> int:
    """Train on the training split alone and give the best number of epochs on validation; remembered beside the run."""
    note = run.folder / "selection.json"
    if note.is_file():
        chosen: dict[str, Any] = json.loads(note.read_text())
    else:
        checkpoints = run.folder / "checkpoints" / "selection"
        trainer = _fit(run, module, checkpoints, False, None, record)
        trainer.validate(module, datamodule=run.data, ckpt_path=str(checkpoints / "best.ckpt"), verbose=False, weights_only=True)
        values = module.results["validation"].values
        chosen = {"epochs": record.epochs["best"], "metrics": {f"validation/{name}": value for name, value in values.items()}}
        write_text(note, json.dumps(chosen))
    record.metrics |= chosen["metrics"]
    record.epochs["best"] = chosen["epochs"]
    record.notes.append(
        f"refit: {chosen['epochs']} epochs chosen on validation, then trained anew on training and validation clips; "
        "validation metrics are those of the selection"
    )
    return int(chosen["epochs"])


def _read_cache_spec(config: DictConfig) -> CacheSpec:
    return build(config.get("cache")) or CacheSpec()


def _device_of(config: DictConfig) -> str:
    return "cuda" if config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


def _read_checkpoint_number(checkpoint: Path, name: str) -> int:
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)[name])


def _new_record(run: TrainingRun, resumed: bool) -> RunRecord:
    objective = build(run.config.objective)
    return RunRecord(
        experiment=run.experiment,
        identity=run.identity,
        status="running",
        seed=run.config.seed,
        corpus=run.data.corpus.name,
        protocol=run.fold.to_record(),
        teachers=[member.record for member in run.teacher.members] if run.teacher else [],
        teaching=run.teacher.describe() if run.teacher else {},
        sample_rate_hz=run.data.sample_rate_hz,
        objective=objective.describe(),
        clips_left_out=dict(run.data.manifest.left_out),
        packages=installed_packages(),
        hardware=describe_hardware(),
        git_revision=git_revision(Path(__file__).parent),
        command=run.command,
        started_at=now(),
        notes=["resumed from its last epoch"] if resumed else [],
    )
