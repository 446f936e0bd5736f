"""The checkpoint a run goes on from: after each epoch, every so many minutes, and when the system asks it to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ser_kd.runtime import console
from ser_kd.runtime.process_group import take_largest

_GO_ON, _SAVE = 0, 1  # whatever is larger is the number of the signal that asks to stop
STOPPED = 128 + int(signal.SIGTERM)
"""Exit code of a run that saved itself because it was asked to stop."""


@runtime_checkable
class _Positioned(Protocol):
    """A loader that goes on from where it was."""

    def state_dict(self) -> dict[str, int]: ...

    def load_state_dict(self, state: dict[str, int]) -> None: ...


class SafePoints(Checkpoint):
    """Saves after each epoch and within it, so that what an interruption costs is minutes and never more.

    Lightning's ``save_last`` writes only where a best checkpoint is written too, which may be many epochs ago. Stand behind the
    checkpoint of the best epoch in the list of callbacks: what that one knows is saved here.

    Ctrl-C and SIGTERM (a shutdown, a preemption) let the batch come to its end, save and leave, with exit code 130 and 143; a second
    Ctrl-C leaves at once. In a SLURM job SIGUSR1 (``sbatch --signal=SIGUSR1@90``) does as SIGTERM and puts the job into the queue
    again. The same command then goes on.

    Args:
        path: Checkpoint file, replaced each time.
        minutes: Longest training time between two checkpoints; 0 saves after every batch.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.minutes = minutes
        self.seconds_before = 0.0
        """Training time of the run before this process, from the checkpoint."""
        self._start = self._saved = time.monotonic()
        self._position: dict[str, int] | None = None
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def seconds(self) -> float:
        """Training time so far, that of earlier processes included."""
        return self.seconds_before + time.monotonic() - self._start

    def state_dict(self) -> dict[str, float]:
        """Give the training time so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Count on from an earlier process."""
        self.seconds_before = float(state_dict["seconds"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep how far the loader got."""
        if isinstance(trainer.train_dataloader, _Positioned):
            checkpoint["loader_position"] = trainer.train_dataloader.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember it for the start."""
        self._position = checkpoint.get("loader_position")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the loader and listen to the system.

        Lightning sets no loader that was made before the checkpoint was read, as for the number of steps; its handlers of signals
        would stop within an evaluation, or without saving.
        """
        if self._position is not None and isinstance(trainer.train_dataloader, _Positioned):
            trainer.train_dataloader.load_state_dict(self._position)
        self._start = self._saved = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            return
        signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else [])]
        ignored = [number for number in signals if signal.getsignal(number) is signal.SIG_IGN]  # as in a shell's background
        self._handlers = {number: signal.signal(number, self._remember) for number in signals if number not in ignored}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save where it is time to, and stop where it is asked for; after an epoch's last batch validation comes first.

        Gradients gathered over batches are in no checkpoint, so it waits for the step they are gathered for.
        """
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        what = self._decide(trainer)
        if what != _GO_ON:
            self._save(trainer)
        if what > _SAVE:
            place = f"in epoch {trainer.current_epoch + 1} after batch {batch_idx + 1} of {trainer.num_training_batches}"
            self._leave(trainer, what, place)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch and its validation."""
        self._save(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop where it was asked for during validation: the epoch is saved."""
        if trainer.current_epoch > 0 and (what := self._decide(trainer)) > _SAVE:
            self._leave(trainer, what, f"after epoch {trainer.current_epoch}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the signals as they were."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def _decide(self, trainer: Trainer) -> int:
        what = self._signal or (_SAVE if time.monotonic() - self._saved >= 60.0 * self.minutes else _GO_ON)
        return take_largest(what)  # all processes save together, whoever heard the signal or has the faster clock

    def _leave(self, trainer: Trainer, signal_number: int, place: str) -> None:
        if trainer.is_global_zero:
            console.warn(f"asked to stop: saved {place}; the same command goes on from there")
            if signal_number == signal.SIGUSR1:
                _requeue_job()
        if signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(STOPPED)


def _requeue_job() -> None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    if not re.fullmatch(r"[0-9_]+", job):
        console.warn(f"not put into SLURM's queue again: '{job}' is no job number")
        return
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    except OSError as fault:
        console.warn(f"not put into SLURM's queue again: scontrol: {fault}; submit the job again")
        return
    if done.returncode:
        console.warn(f"not put into SLURM's queue again: {done.stderr.strip()}; submit the job again")
