from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.objective import Objective
from ser_kd.distill.weight_averaging import (
    ExponentialMovingAverage,
    RunningAverage,
    StochasticWeightAveraging,
    TopCheckpoints,
    average_states,
    cut_prefix,
    re_estimate_batch_norm,
)
from ser_kd.losses.cross_entropy import CrossEntropy

EPOCHS, STEPS = 4, 3


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.register_buffer("fitted", torch.tensor(True))  # as a normalised front-end has

    def forward(self, inputs: ModelInput) -> Outputs:
        return Outputs(logits=self.layers(inputs.waveforms))


class Snapshots(Callback):
    """Copies the trained weights after each step, and what is judged in each validation."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.judged: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.trained.append(copy_state(pl_module.student))

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.judged.append(copy_state(pl_module.student))


def copy_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def make_batch(seed: int, clips: int = 7) -> SpeechBatch:
    waveforms = torch.randn(clips, 6, generator=torch.Generator().manual_seed(seed))
    names = [str(i) for i in range(clips)]
    return SpeechBatch(names, names, waveforms, torch.full((clips,), 6), torch.arange(clips), classes=(waveforms[:, 0] > 0).long())


def train(folder: Path, average: RunningAverage, precision: str = "32-true", accumulate: int = 1) -> Snapshots:
    torch.manual_seed(0)
    module = DistillationModule(
        Student(), Objective({"cross_entropy": {"loss": CrossEntropy()}}), ("angry", "sad"), optimizer=lambda p: torch.optim.SGD(p, lr=0.5)
    )
    snapshots = Snapshots()
    last = ModelCheckpoint(dirpath=folder, filename="last", save_top_k=1, enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[snapshots, average, last], precision=precision, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    batches = DataLoader([make_batch(seed) for seed in range(STEPS)], batch_size=None)
    trainer.fit(module, batches, DataLoader([make_batch(9)], batch_size=None))
    return snapshots


def check_equal(got: dict[str, torch.Tensor], expected: dict[str, Any], tolerance: float = 1e-6) -> None:
    for name, value in got.items():
        if value.is_floating_point():
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


def mean_of(states: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    return {name: np.mean([state[name].double().numpy() for state in states], axis=0) for name in states[0]}


def test_an_average_of_states_is_the_arithmetic_mean() -> None:
    states = []
    for seed in range(5):
        torch.manual_seed(seed)
        states.append({**copy_state(Student()), "count": torch.tensor(seed)})
    averaged = average_states(states)
    check_equal(averaged, mean_of(states), tolerance=1e-7)
    assert averaged["count"] == 0
    assert averaged["layers.1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("copies", [1, 3, 5, 7])
def test_equal_states_come_out_as_they_are(copies: int) -> None:
    state = {"weight": torch.randn(100) * 10.0 ** torch.arange(-20, 20).repeat(5)[:100], "half": torch.randn(50).half()}
    averaged = average_states([state] * copies)
    for name, value in state.items():
        assert torch.equal(averaged[name], value)
        assert averaged[name].dtype == value.dtype
        assert averaged[name] is not value


def test_states_of_different_models_are_not_averaged() -> None:
    with pytest.raises(ShapeError, match="nothing to average"):
        average_states([])
    with pytest.raises(ShapeError, match="state 2 differs in b"):
        average_states([{"a": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(1)}])
    with pytest.raises(ShapeError, match="state 2 differs in a"):
        average_states([{"a": torch.zeros(2)}, {"a": torch.zeros(3)}])


@pytest.mark.parametrize("start_epoch", [0, 2])
def test_a_moving_average_fades_step_by_step(tmp_path: Path, start_epoch: int) -> None:
    seen = train(tmp_path, ExponentialMovingAverage(0.7, start_epoch))
    average = None
    for step, state in enumerate(seen.trained):
        values = {name: value.double().numpy() for name, value in state.items()}
        if step // STEPS < start_epoch:
            average = None
        else:
            average = values if average is None else {name: 0.7 * average[name] + 0.3 * value for name, value in values.items()}
        if step % STEPS == STEPS - 1:
            check_equal(seen.judged[step // STEPS], average or values)
    check_equal(cut_prefix(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]), average or {})


def test_swa_is_the_mean_of_the_last_epochs(tmp_path: Path) -> None:
    seen = train(tmp_path, StochasticWeightAveraging(0.5))
    ends = seen.trained[STEPS - 1 :: STEPS]
    check_equal(seen.judged[0], ends[0])
    check_equal(seen.judged[2], ends[2])
    check_equal(seen.judged[3], mean_of(ends[2:]))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    check_equal(cut_prefix(checkpoint["state_dict"]), mean_of(ends[2:]))
    check_equal(cut_prefix(checkpoint["trained_weights"]), ends[3], tolerance=0)
    assert checkpoint["averaged_updates"] == 2
    assert int(checkpoint["state_dict"]["student.layers.1.num_batches_tracked"]) == EPOCHS * STEPS


def test_gathered_gradients_are_one_step(tmp_path: Path) -> None:
    seen = train(tmp_path, ExponentialMovingAverage(0.7), accumulate=STEPS)
    average = seen.trained[STEPS - 1]["layers.0.weight"]
    for epoch in range(1, EPOCHS):
        average = 0.7 * average + 0.3 * seen.trained[(epoch + 1) * STEPS - 1]["layers.0.weight"]
    torch.testing.assert_close(seen.judged[-1]["layers.0.weight"], average)


def test_the_average_has_the_precision_of_the_student(tmp_path: Path) -> None:
    for average in (ExponentialMovingAverage(0.7), StochasticWeightAveraging(0.5)):
        seen = train(tmp_path / average.name, average, precision="bf16-true")
        assert {value.dtype for value in seen.judged[-1].values()} == {torch.bfloat16, torch.int64, torch.bool}


def test_averaging_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    one = train(tmp_path / "ema", ExponentialMovingAverage(0.7)).trained
    other = train(tmp_path / "swa", StochasticWeightAveraging(0.5)).trained
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_statistics_are_re_estimated_as_the_mean_over_batches() -> None:
    torch.manual_seed(0)
    student = Student()
    batches = [make_batch(seed).model_input() for seed in range(3)]
    for batch in batches:
        student(ModelInput(batch.waveforms + 5.0, batch.lengths))  # statistics of something else
    before = copy_state(student)
    student.eval()
    assert re_estimate_batch_norm(student, batches)
    assert not student.training
    heard = [student.layers[0](batch.waveforms).detach() for batch in batches]
    torch.testing.assert_close(student.layers[1].running_mean, torch.stack([values.mean(dim=0) for values in heard]).mean(dim=0))
    torch.testing.assert_close(student.layers[1].running_var, torch.stack([values.var(dim=0) for values in heard]).mean(dim=0))
    assert student.layers[1].momentum == 0.1
    after = copy_state(student)
    assert all(torch.equal(after[name], before[name]) for name, _ in student.named_parameters())
    assert not re_estimate_batch_norm(nn.Linear(2, 2), iter(()))


def test_frozen_statistics_are_kept() -> None:
    class Frozen(Student):
        def train(self, mode: bool = True) -> Student:
            super().train(mode)
            self.layers[1].eval()
            return self

    student = Frozen()
    student.layers[1].running_mean.fill_(5.0)
    assert not re_estimate_batch_norm(student, [make_batch(0).model_input()])
    assert torch.equal(student.layers[1].running_mean, torch.full((8,), 5.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopCheckpoints(1), "averaging.k of 2 or more"),
        (lambda: ExponentialMovingAverage(1.0), "cannot be taken"),
        (lambda: ExponentialMovingAverage(0.9, -1), "cannot be taken"),
        (lambda: StochasticWeightAveraging(1.0), "No epoch is left"),
    ],
)
def test_what_cannot_be_averaged_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_an_average_that_would_never_begin_is_refused() -> None:
    with pytest.raises(ConfigError, match="No epoch is left"):
        ExponentialMovingAverage(0.9, start_epoch=5).check_epochs(5)
    ExponentialMovingAverage(0.9, start_epoch=4).check_epochs(5)
    StochasticWeightAveraging(0.99).check_epochs(1)
