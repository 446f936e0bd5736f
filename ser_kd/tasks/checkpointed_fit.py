"""The training itself, from wherever it stopped, with the checkpoints that let it go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import RunRecord
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.fitting import fit_statistics, give_statistics, take_statistics, unfitted_parts
from ser_kd.models.fusion import joins_frames
from ser_kd.runtime.generator_states import GeneratorStates
from ser_kd.runtime.process_group import compute_once, first_on_each_machine, is_first
from ser_kd.runtime.safe_points import SafePoints
from ser_kd.storage.atomic import write_text
from ser_kd.storage.checkpoints import read_checkpoint
from ser_kd.tasks.averaged_weights import BestEpoch, make_averaging_callbacks
from ser_kd.tasks.run_teacher import choose_training_teacher
from ser_kd.tasks.training_run import TrainingRun


class _StopAfter(Callback):
    """Ends training after a number of epochs, while schedules keep their planned length."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # a run that was stopped behind its training must not train on
        trainer.should_stop = trainer.current_epoch >= self.epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


class _Patience(EarlyStopping):
    """Early stopping that stays stopped: Lightning forgets it where a run goes on from its last checkpoint."""

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def fit_run(
    run: TrainingRun, module: DistillationModule, checkpoints: Path, loggers: Any, stop_after: int | None, record: RunRecord
) -> lightning.Trainer:
    """Train to the end, from the last checkpoint where there is one.

    Args:
        run: The prepared run.
        module: What is trained.
        checkpoints: Folder of ``last.ckpt`` and ``best.ckpt`` (``latest.ckpt`` without validation).
        loggers: Lightning's loggers; False for none.
        stop_after: Epochs after which to stop, while schedules keep their planned length; None for all.
        record: Gets training time, epochs and what was heard of the teacher.

    Raises:
        KeyboardInterrupt: At Ctrl-C, after saving.
        SystemExit: When the system asked the run to stop, after saving (see ``SafePoints``).
        ConfigError: If several processes wait for weights that are never used.
        DataError: If a checkpoint cannot be written, or ``last.ckpt`` cannot be read.
    """
    config = run.config
    monitor = config.monitor if run.fold.validation_set else None
    last = checkpoints / "last.ckpt"
    safe_points = SafePoints(last, config.checkpoint_minutes)
    best = BestEpoch(
        dirpath=checkpoints, filename="best" if monitor else "latest", monitor=monitor, mode=config.monitor_mode,
        enable_version_counter=False,
    )  # fmt: skip
    callbacks: list[Callback] = [*make_averaging_callbacks(config, checkpoints, monitor), GeneratorStates(), best, safe_points]
    if config.patience is not None and monitor:
        callbacks.append(_Patience(monitor, patience=config.patience, mode=config.monitor_mode, check_finite=False))
    if stop_after is not None:
        callbacks.append(_StopAfter(stop_after))
    trainer = run.make_trainer(callbacks, loggers)
    is_new = not compute_once(last.is_file)
    if is_new:
        _fit_once(run, module)
    if run.fold.learns_dimensions or joins_frames(module.student):
        module.check_answers(_take_two_clips(run))
    with first_on_each_machine():
        choose_training_teacher(run, module, record)
    if is_new and module.objective.listens_to_frames():
        module.try_terms(_take_two_clips(run))
    try:
        trainer.fit(module, datamodule=run.data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except SystemExit as leaving:
        # Lightning catches Ctrl-C, tidies up and leaves with code 1, which would be our fault
        if trainer.interrupted and leaving.code == 1:
            raise KeyboardInterrupt from leaving
        raise
    except RuntimeError as fault:
        if "Expected to have finished reduction" not in str(fault):
            raise
        raise ConfigError(
            "Some weights that learn took no part in a step, and the other processes would wait for their gradient.",
            expected="an objective and a student in which every weight that learns is used",
            got=f"trainer.strategy={config.trainer.get('strategy')}",
            remedy="set trainer.strategy=ddp_find_unused_parameters_true",
        ) from fault
    record.timings["fit_s"] = record.timings.get("fit_s", 0.0) + safe_points.seconds
    record.epochs |= {"run": trainer.current_epoch, "planned": trainer.max_epochs or 0}
    if "teacher_confidence" in module.means.finished:
        record.metrics["train/teacher_confidence"] = module.means.finished["teacher_confidence"]
    if monitor:
        record.epochs["best"] = int(read_checkpoint(checkpoints / "best.ckpt")["epoch"]) + 1
    if trainer.current_epoch < (trainer.max_epochs or 0) and stop_after is None:
        record.notes.append(f"stopped early after {trainer.current_epoch} of {trainer.max_epochs} epochs")
    return trainer


def _take_two_clips(run: TrainingRun) -> SpeechBatch:
    batch: SpeechBatch = next(iter(run.data.plain_train_dataloader()))
    return batch.take(list(range(min(2, len(batch)))))


def _fit_once(run: TrainingRun, module: DistillationModule) -> None:
    """Fit what waits for statistics in one process, and hand it to the others."""
    parts = unfitted_parts(module.student)

    def fit() -> list[dict[str, torch.Tensor]]:
        fit_statistics(module.student, run.data.plain_train_dataloader())
        return give_statistics(parts)

    found = compute_once(fit)
    if not is_first():
        take_statistics(parts, found)


def choose_epochs(run: TrainingRun, module: DistillationModule, record: RunRecord) -> int:
    """Train on the training split alone and give the best number of epochs on validation; remembered beside the run."""
    note = run.folder / "selection.json"
    if compute_once(note.is_file):
        chosen: dict[str, Any] = json.loads(note.read_text())
    else:
        checkpoints = run.folder / "checkpoints" / "selection"
        trainer = fit_run(run, module, checkpoints, False, None, record)
        trainer.validate(module, datamodule=run.data, ckpt_path=str(checkpoints / "best.ckpt"), verbose=False, weights_only=True)
        values = module.results["validation"].values
        metrics = {f"validation/{name}": value for name, value in values.items()}
        chosen = {"epochs": record.epochs["best"], "metrics": metrics, "fit_s": record.timings["fit_s"]}
        if is_first():
            write_text(note, json.dumps(chosen))
    record.metrics |= chosen["metrics"]
    record.timings["fit_s"] = chosen["fit_s"]
    record.epochs["best"] = chosen["epochs"]
    record.notes.append(
        f"refit: {chosen['epochs']} epochs chosen on validation, then trained anew on training and validation clips; "
        "validation metrics are those of the selection"
    )
    return int(chosen["epochs"])
