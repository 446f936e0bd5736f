"""Show how training goes: a live bar in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ser_kd.contracts.errors import UndefinedMetricWarning
from ser_kd.runtime import console


class EpochLines(Callback):
    """Prints one line per epoch: losses, validation metrics, seconds; for log files and pipes.

    Args:
        every: Print each so many epochs, and the last one.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = max(every, 1)
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs
        if not trainer.is_global_zero or (epoch % self.every and epoch != epochs):
            return
        shown = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/") or name in _SHOWN}
        if any("teacher_agreement" in name for name in shown):  # clips without labels have no other figures
            shown = {name: value for name, value in shown.items() if not math.isnan(float(value))}
        text = "  ".join(f"{name} {float(value):.4f}" for name, value in shown.items())
        print(f"epoch {epoch}/{epochs}  {text}  {time.perf_counter() - self._start:.1f} s", flush=True)


class StopWhere(Callback):
    """Ends a training after the epoch in which it is told so, on all its processes.

    Args:
        is_unwanted: Asked after each epoch; that one process is told is enough.
        fault: Raised then.
    """

    def __init__(self, is_unwanted: Callable[[], bool], fault: type[BaseException]) -> None:
        self.is_unwanted = is_unwanted
        self.fault = fault

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.strategy.reduce_boolean_decision(self.is_unwanted(), all=False):
            raise self.fault


_SHOWN = ("validation/ua", "validation/wa", "validation/teacher_agreement", "validation/ccc_mean", "validation/teacher_agreement_ccc_mean")


_told: set[str] = set()
"""Warnings of undefined metrics that this run has shown."""


def progress_callbacks(epochs: int) -> list[Callback]:
    """Choose how progress is shown here.

    Args:
        epochs: Planned epochs: a long run that goes to a file prints about fifty lines.
    """
    if sys.stderr.isatty() and sys.stdout.isatty():
        return [RichProgressBar()]
    return [EpochLines(every=max(1, epochs // 50))]


def trainer_quietness() -> dict[str, Any]:
    """Give the trainer arguments that leave showing progress to ``progress_callbacks``."""
    return {"enable_progress_bar": sys.stderr.isatty() and sys.stdout.isatty(), "enable_model_summary": False}


def quieten_libraries(wandb_mode: str) -> None:
    """Keep advertisements and notices that no user can act on out of the output; warnings and errors stay.

    Args:
        wandb_mode: W&B's greeting is shown only where it names an address (``online``).
    """
    _tell_undefined_metrics()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty.*")  # as in every resumed run
    warnings.filterwarnings("ignore", message=".*mismatched key_padding_mask.*")  # within the WavLM of transformers
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # cached audio is faster without
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # what is logged is the same in every process already
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # a run need not go to the cluster
    if wandb_mode != "online":
        os.environ.setdefault("WANDB_SILENT", "true")


def _tell_undefined_metrics() -> None:
    """Let warnings of undefined metrics be lines for a reader, each once, and not a place in the code; all others stay as they are."""
    _told.clear()
    show = warnings.showwarning
    if getattr(show, "tells_undefined_metrics", False):
        return

    def tell(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, UndefinedMetricWarning):
            show(message, category, *place, **options)
        elif str(message) not in _told:  # validation and test are judged by panels of their own
            _told.add(str(message))
            console.warn(str(message))

    tell.tells_undefined_metrics = True  # type: ignore[attr-defined]
    warnings.showwarning = tell
