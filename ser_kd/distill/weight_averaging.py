"""Averages of a student's weights: over the best checkpoints, over the last epochs, or over all steps with a fading memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.distill.distillation_module import DistillationModule

BatchNormTreatment = Literal["averaged", "re_estimated"]
STUDENT = "student."


def average_states(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average state dicts entry by entry: the arithmetic mean, summed up in float64.

    Equal states come out as they are, to the last bit. Entries that are no floating-point numbers (counts) are those of the first state.

    Args:
        states: State dicts of one model.

    Raises:
        ShapeError: If there is none, or they do not hold the same entries.
    """
    if not states:
        raise ShapeError("There is nothing to average.", expected="one state at least", got="none")
    first = states[0]
    for number, state in enumerate(states[1:], start=2):
        strange = sorted(set(first) ^ set(state)) or [name for name in first if first[name].shape != state[name].shape]
        if strange:
            raise ShapeError(
                "States of different models cannot be averaged.",
                expected="the same entries in the same shapes",
                got=f"state {number} differs in {', '.join(strange[:3])}{' …' if len(strange) > 3 else ''}",
            )
    averaged = {}
    for name, value in first.items():
        if not value.is_floating_point():
            averaged[name] = value.clone()
            continue
        total = torch.zeros_like(value, dtype=torch.float64)
        for state in states:
            total += state[name]
        averaged[name] = (total / len(states)).to(value.dtype)
    return averaged


@torch.no_grad()
def re_estimate_batch_norm(student: nn.Module, inputs: Iterable[ModelInput], device: torch.device | str = "cpu") -> bool:
    """Set the running statistics of the batch normalisations to the mean over a pass through the training split.

    Statistics that were averaged with the weights are those of no network; Izmailov et al. 2018 re-estimate them. The student runs as in
    training, dropout included, and is left in evaluation mode. Frozen parts keep their statistics, as they do in training
    (`torch.optim.swa_utils.update_bn` would forget them).

    Args:
        student: The model.
        inputs: Batches as the student hears them in training, in shuffled order.
        device: Where the pass is computed.

    Returns:
        Whether there was a batch normalisation that learns.
    """
    student.to(device).train()
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm) and module.training and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    if norms:
        for part in inputs:
            student(part.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    student.eval()
    return bool(norms)


@dataclass(frozen=True)
class TopCheckpoints:
    """The uniform average of the k best checkpoints on validation.

    Args:
        k: Checkpoints, 2 or more.
        batch_norm: ``averaged``: running statistics as the weights; ``re_estimated``: from a pass over the training split.

    Raises:
        ConfigError: If k is too small.

    Source: Vaswani et al. 2017 average the last ones; by validation: Wortsman et al. 2022, "Model soups" (uniform soup), of one run.
    """

    k: int = 5
    batch_norm: BatchNormTreatment = "averaged"

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ConfigError("There is nothing to average.", expected="averaging.k of 2 or more", got=str(self.k))


class RunningAverage(Callback, ABC):
    """Keeps an average beside the weights that are trained; validation judges the average, and checkpoints hold both.

    ``state_dict`` of a checkpoint is the average, so that whoever loads it gets what was judged; ``trained_weights`` is what a resumed
    run goes on with. In each epoch it is judged with averaged running statistics, also where they are re-estimated at the end. Lightning's
    ``WeightAveraging`` does the same, but copies the whole module with its frozen teacher.

    Args:
        average: Old average, new value, number of values before -> new average, of floating-point numbers; others are the newest.
        batch_norm: ``averaged``: running statistics as the weights; ``re_estimated``: at the end, from a pass over the training split.
    """

    name = "average"

    def __init__(self, average: Callable[[Tensor, Tensor, Tensor], Tensor], batch_norm: BatchNormTreatment) -> None:
        self.batch_norm = batch_norm
        self._average = average
        self._model: AveragedModel | None = None
        self._step = 0

    @abstractmethod
    def is_due(self, trainer: Trainer) -> bool:
        """Whether the weights after this step count."""

    def check_epochs(self, epochs: int) -> None:
        """Refuse a training that ends before the average begins."""

    @property
    def model(self) -> AveragedModel:
        """The average."""
        if self._model is None:
            raise RuntimeError("there is no average before training")
        return self._model

    @property
    def is_running(self) -> bool:
        """Whether anything was averaged yet."""
        return self._model is not None and bool(self._model.n_averaged > 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin with no average."""
        if stage == "fit":
            self._model = AveragedModel(_student_of(pl_module), avg_fn=self._take_in, use_buffers=True)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the student to its device and precision."""
        self.model.to(pl_module.device)
        for theirs, ours in zip(_values_of(_student_of(pl_module)), _values_of(self.model.module), strict=True):
            ours.data = ours.data.to(theirs.dtype)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the weights after an optimizer's step into the average."""
        if trainer.global_step > self._step:
            self._step = trainer.global_step
            if self.is_due(trainer):
                self.model.update_parameters(_student_of(pl_module))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the average be judged."""
        self._swap(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the weights that are trained."""
        self._swap(trainer, pl_module)

    def state_dict(self) -> dict[str, int]:
        """Give the last step that was looked at."""
        return {"step": self._step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        self._step = state_dict["step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the average in the place of the trained weights, and those beside it."""
        if not self.is_running or trainer.state.fn != "fit":
            return
        checkpoint["trained_weights"] = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith(STUDENT)}
        average = {STUDENT + name: value for name, value in self.model.module.state_dict().items()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **average}
        checkpoint["averaged_updates"] = int(self.model.n_averaged)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with average and trained weights; whoever judges a checkpoint loads the average alone."""
        if self._model is None or "trained_weights" not in checkpoint or trainer.state.fn != "fit":
            return
        self._model.module.load_state_dict(cut_prefix(checkpoint["state_dict"]))
        self._model.n_averaged.fill_(checkpoint["averaged_updates"])
        _student_of(pl_module).load_state_dict(cut_prefix(checkpoint["trained_weights"]))

    def _take_in(self, average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        # counts and switches have no mean
        return self._average(average, value, torch.as_tensor(count)) if value.is_floating_point() else value

    @torch.no_grad()
    def _swap(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.is_running or trainer.state.fn != "fit":
            return
        student, average = _student_of(pl_module), self.model.module
        for theirs, ours in zip(_values_of(student), _values_of(average), strict=True):
            kept = theirs.clone()
            theirs.copy_(ours)
            ours.copy_(kept)


class ExponentialMovingAverage(RunningAverage):
    """Average over all steps that fades: a <- decay a + (1 - decay) w after each.

    Args:
        decay: Between 0 and 1; it remembers about 1 / (1 - decay) steps.
        start_epoch: First epoch, from 0, whose steps count; the average begins with the weights after its first step.
        batch_norm: ``averaged`` or ``re_estimated``.

    Raises:
        ConfigError: If a value cannot be.
    """

    name = "exponential moving average"

    def __init__(self, decay: float = 0.999, start_epoch: int = 0, batch_norm: BatchNormTreatment = "averaged") -> None:
        if not 0.0 < decay < 1.0 or start_epoch < 0:
            raise ConfigError(
                "The moving average cannot be taken.",
                expected="0 < averaging.decay < 1 and averaging.start_epoch of 0 or more",
                got=f"{decay}, {start_epoch}",
            )
        super().__init__(lambda average, value, _: torch.lerp(average, value, 1.0 - decay), batch_norm)
        self.start_epoch = start_epoch

    def check_epochs(self, epochs: int) -> None:
        """Refuse a training that ends before the average begins.

        Raises:
            ConfigError: If so.
        """
        if self.start_epoch >= epochs:
            raise ConfigError(
                "No epoch is left to average.",
                expected=f"averaging.start_epoch (counted from 0) below trainer.max_epochs={epochs}",
                got=str(self.start_epoch),
            )

    def is_due(self, trainer: Trainer) -> bool:
        """Whether the epoch counts."""
        return trainer.current_epoch >= self.start_epoch


class StochasticWeightAveraging(RunningAverage):
    """Equal average of the weights at the end of each of the last epochs (SWA).

    The learning rate is that of ``learning_rate_schedule``; the source keeps it constant and high while it averages. Validation still
    chooses the best epoch, of the average as soon as there is one.

    Args:
        start: Share of ``max_epochs`` after which it begins.
        batch_norm: ``re_estimated``, as in the source, or ``averaged``.

    Raises:
        ConfigError: If the share cannot be.

    Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".
    """

    name = "equal average of epochs (SWA)"

    def __init__(self, start: float = 0.75, batch_norm: BatchNormTreatment = "re_estimated") -> None:
        if not 0.0 <= start < 1.0:
            raise ConfigError("No epoch is left to average.", expected="0 <= averaging.start < 1", got=str(start))
        super().__init__(lambda average, value, count: average + (value - average) / (count + 1), batch_norm)
        self.start = start

    def is_due(self, trainer: Trainer) -> bool:
        """Whether an epoch that counts has come to its end."""
        return trainer.is_last_batch and trainer.current_epoch >= int(self.start * (trainer.max_epochs or 0))


def cut_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the student's entries of a module's state dict by the student's own names."""
    return {name.removeprefix(STUDENT): value for name, value in state.items() if name.startswith(STUDENT)}


def _student_of(module: LightningModule) -> nn.Module:
    if not isinstance(module, DistillationModule):
        raise TypeError(f"expected a DistillationModule, got {type(module).__name__}")
    return module.student


def _values_of(model: nn.Module) -> Iterable[Tensor]:
    return chain(model.parameters(), model.buffers())
