"""Where averaging enters a run: callbacks while it trains, and at the end the weights that are judged and handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from omegaconf import DictConfig

from ser_kd.contracts.records import RunRecord
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.weight_averaging import STUDENT, RunningAverage, TopCheckpoints, average_states, cut_prefix, re_estimate_batch_norm
from ser_kd.models.layers.shared_statistics import share_statistics
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.checkpoint_files import WholeCheckpoints
from ser_kd.runtime.process_group import compute_once
from ser_kd.storage.checkpoints import read_checkpoint
from ser_kd.tasks.training_run import TrainingRun, device_of

_SETTLED = "averaged"


class KeptCheckpoints(ModelCheckpoint):
    """Lightning's checkpoints of the best epochs, which also know them again where the run's folder was moved while it stood still."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Look for the files in the folder as it is called now."""

        def move(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else path

        moved = dict(state_dict)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = move(moved.get(name, ""))
        moved["best_k_models"] = {move(path): score for path, score in moved.get("best_k_models", {}).items()}
        super().load_state_dict({**moved, "dirpath": self.dirpath})


class BestEpoch(KeptCheckpoints):
    """The checkpoint of the one best epoch, under the name by which older checkpoints know its state."""

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)


class TopEpochs(KeptCheckpoints):
    """The checkpoints of the k best epochs."""


def make_averaging_callbacks(config: DictConfig, checkpoints: Path, monitor: str | None) -> list[Callback]:
    """Give the callbacks that averaging needs while a run trains.

    Args:
        config: Of the run.
        checkpoints: Folder of its checkpoints.
        monitor: Metric that tells which checkpoint is better; None without validation.
    """
    averaging: TopCheckpoints | RunningAverage | None = build(config.averaging)
    if isinstance(averaging, TopCheckpoints):
        return [
            TopEpochs(
                dirpath=checkpoints, filename="top-{epoch}", monitor=monitor, mode=config.monitor_mode, save_top_k=averaging.k,
                save_weights_only=True, enable_version_counter=False,
            )
        ]  # fmt: skip
    return [] if averaging is None else [averaging]


def settle_weights(run: TrainingRun, module: DistillationModule, trainer: lightning.Trainer, weights: Path, record: RunRecord) -> None:
    """Put what averaging asks for at the end into the checkpoint that is judged and handed on.

    Done once: a run that was stopped afterwards finds it done.

    Args:
        run: The run.
        module: Its module.
        trainer: What trained it, with the callbacks of ``make_averaging_callbacks``.
        weights: Checkpoint of the best epoch, or of the last where it was trained anew on validation clips.
        record: Gets a note on what was averaged.
    """
    averaging: TopCheckpoints | RunningAverage | None = build(run.config.averaging)
    if averaging is None:
        return

    def settle() -> str:
        checkpoint = read_checkpoint(weights)
        if _SETTLED not in checkpoint:
            checkpoint[_SETTLED] = _average(run, module, trainer, averaging, checkpoint)
            WholeCheckpoints().save_checkpoint(checkpoint, weights)
        for path in weights.parent.glob("top-*.ckpt"):
            path.unlink()
        return str(checkpoint[_SETTLED])

    done = compute_once(settle)
    console.note(done)
    record.notes.append(done)


def _average(
    run: TrainingRun, module: DistillationModule, trainer: lightning.Trainer, averaging: TopCheckpoints | RunningAverage, checkpoint: Any
) -> str:
    """Change the student's weights within a checkpoint, and say how."""
    if isinstance(averaging, TopCheckpoints):
        (kept,) = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, TopEpochs)]
        found = [read_checkpoint(Path(path)) for path in sorted(kept.best_k_models)]
        state = average_states([cut_prefix(top["state_dict"]) for top in found])
        epochs = sorted(int(top["epoch"]) + 1 for top in found)
        note = f"weights: uniform average of the {len(epochs)} best epochs on validation ({', '.join(map(str, epochs))})"
    elif "averaged_updates" in checkpoint:
        state = cut_prefix(checkpoint["state_dict"])
        note = f"weights: {averaging.name} over {checkpoint['averaged_updates']} updates"
    else:
        return f"weights: those that were trained; the {averaging.name} had not begun in the epoch that was chosen"
    if averaging.batch_norm == "re_estimated" and _re_estimate(run, module, state):
        note += "; batch-norm statistics re-estimated on the training split"
    checkpoint["state_dict"] = {**checkpoint["state_dict"], **{STUDENT + name: value for name, value in state.items()}}
    return note


def _re_estimate(run: TrainingRun, module: DistillationModule, state: dict[str, torch.Tensor]) -> bool:
    """Change the running statistics within a state; False where there are none."""
    share_statistics(module.student, shared=False)  # one process makes this pass, with whole batches
    module.student.float().load_state_dict(state)  # whatever precision it was trained in, the audio is float32
    device = device_of(run.config)
    batches = (module.views.split(batch.to(device))[1] for batch in run.data.train_dataloader(shared=False))
    with torch.random.fork_rng():
        torch.manual_seed(run.config.seed)  # dropout draws the same whatever came before
        had_any = re_estimate_batch_norm(module.student, batches, device)
    state |= {name: value.detach().cpu().to(state[name].dtype) for name, value in module.student.state_dict().items()}
    return had_any
