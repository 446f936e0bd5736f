from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.outputs import Outputs
from ser_kd.data.resumable_loader import ResumableLoader
from ser_kd.data.sampling import KeyedBatchSampler
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.objective import Objective
from ser_kd.distill.schedules import WarmupCosine
from ser_kd.distill.weight_averaging import ExponentialMovingAverage
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.runtime.checkpoint_files import WholeCheckpoints
from ser_kd.runtime.csv_log import ResumableCsvLogger
from ser_kd.runtime.generator_states import GeneratorStates
from ser_kd.runtime.safe_points import SafePoints

CLASSES = ("angry", "sad")
CLIPS, BATCH, EPOCHS = 22, 5, 3  # 5 batches an epoch, the last of 2 clips


class KilledError(RuntimeError):
    """Stands for kill -9: nothing is saved any more."""


class KillAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_start(self, *_: Any) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1


class SendAfter(Callback):
    """Sends this process a signal within a batch, or within the validation of an epoch."""

    def __init__(self, number: int, step: int, in_validation: bool = False) -> None:
        self.number, self.step, self.in_validation = number, step, in_validation

    def on_before_optimizer_step(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step and not self.in_validation:
            os.kill(os.getpid(), self.number)

    def on_validation_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step and self.in_validation:
            os.kill(os.getpid(), self.number)


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))

    def forward(self, inputs: ModelInput) -> Outputs:
        return Outputs(logits=self.layers(inputs.waveforms))


class Clips:
    """Clips that differ in each epoch, as augmented ones do."""

    def __getitem__(self, place: tuple[int, int]) -> torch.Tensor:
        return torch.randn(6, generator=torch.Generator().manual_seed(1000 * place[0] + place[1]))


def collate(clips: list[torch.Tensor]) -> SpeechBatch:
    waveforms = torch.stack(clips)
    names = [str(i) for i in range(len(clips))]
    return SpeechBatch(
        names, names, waveforms, torch.full((len(clips),), 6), torch.arange(len(clips)), classes=(waveforms[:, 0] > 0).long()
    )


def loader(training: bool, workers: int = 0) -> ResumableLoader:
    return ResumableLoader(
        Clips(), KeyedBatchSampler([1] * CLIPS, BATCH, seed=3, shuffle=training), collate_fn=collate, num_workers=workers
    )


def train(folder: Path, *more: Callback, minutes: float = 0.0, workers: int = 0, accumulate: int = 1) -> tuple[Any, DistillationModule]:
    lightning.seed_everything(0, verbose=False)
    last = folder / "last.ckpt"
    # what must not matter: another start of the global generators
    if last.is_file():
        torch.rand(7)
    module = DistillationModule(
        Student(),
        Objective({"cross_entropy": {"loss": CrossEntropy()}}),
        CLASSES,
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.05),
        learning_rate_schedule=WarmupCosine(0.2),
    )
    best = ModelCheckpoint(dirpath=folder, filename="best", monitor="validation/ua", mode="max", enable_version_counter=False)
    state = torch.load(last, weights_only=True) if last.is_file() else None
    logger = ResumableCsvLogger(folder, None if state is None else int(state["global_step"]))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=logger, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[GeneratorStates(), best, SafePoints(last, minutes), *more], plugins=[WholeCheckpoints()], use_distributed_sampler=False,
        log_every_n_steps=1, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    trainer.fit(module, loader(True, workers), loader(False), ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    return trainer, module


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def check_equal(folder: Path, whole: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        got, expected = (torch.load(place / name, weights_only=True) for place in (folder, whole))
        assert got["global_step"] == expected["global_step"]
        for key, value in expected["state_dict"].items():
            assert torch.equal(got["state_dict"][key], value), (name, key)
    assert read_log(folder) == read_log(whole)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return folder


@pytest.mark.parametrize("batches", [1, 3, 4, 5, 6, 10, 13])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path, whole: Path, batches: int) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, KillAfter(batches))
    train(tmp_path)
    check_equal(tmp_path, whole)


def test_so_does_one_that_was_killed_again_and_again(tmp_path: Path, whole: Path) -> None:
    for _ in range(7):
        with pytest.raises(KilledError):
            train(tmp_path, KillAfter(2 if (tmp_path / "last.ckpt").is_file() else 1))
    train(tmp_path)
    check_equal(tmp_path, whole)


def test_without_a_checkpoint_within_the_epoch_it_begins_again(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, KillAfter(8), minutes=60)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 5
    train(tmp_path, minutes=60)
    check_equal(tmp_path, whole)


def test_workers_that_read_ahead_lose_no_batch(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, KillAfter(7), workers=1)
    train(tmp_path, workers=1)
    check_equal(tmp_path, whole)


def test_gradients_that_are_gathered_over_batches_are_not_cut_in_two(tmp_path: Path) -> None:
    train(tmp_path / "whole", accumulate=2)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", KillAfter(8), accumulate=2)
    train(tmp_path / "killed", accumulate=2)
    check_equal(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("batches", [4, 6, 12])
def test_an_average_of_the_weights_goes_on_too(tmp_path: Path, batches: int) -> None:
    train(tmp_path / "whole", ExponentialMovingAverage(0.8, start_epoch=1))
    with pytest.raises(KilledError):
        train(tmp_path / "killed", KillAfter(batches), ExponentialMovingAverage(0.8, start_epoch=1))
    train(tmp_path / "killed", ExponentialMovingAverage(0.8, start_epoch=1))
    check_equal(tmp_path / "killed", tmp_path / "whole")
    got, expected = (torch.load(tmp_path / place / "last.ckpt", weights_only=True) for place in ("killed", "whole"))
    for key, value in expected["trained_weights"].items():
        assert torch.equal(got["trained_weights"][key], value), key
    assert not torch.equal(expected["trained_weights"]["student.layers.0.weight"], expected["state_dict"]["student.layers.0.weight"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)]
)  # Lightning turns Ctrl-C into 1; the task makes it 130
@pytest.mark.parametrize(("step", "in_validation", "saved"), [(6, False, 7), (4, False, 5), (10, True, 10)])
def test_asked_to_stop_it_saves_first(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], number: int, code: int, step: int, in_validation: bool, saved: int
) -> None:
    # a test session in the background was told to ignore Ctrl-C
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with pytest.raises(SystemExit) as left:
        train(tmp_path, SendAfter(number, step, in_validation), minutes=60)
    assert left.value.code == code
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == saved
    assert "the same command goes on from there" in capfd.readouterr().err
    signal.signal(number, before)  # Lightning leaves Ctrl-C ignored, for the program ends there
    train(tmp_path, minutes=60)
    check_equal(tmp_path, whole)


def test_a_slurm_job_is_put_into_the_queue_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4700")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "11")
    with pytest.raises(SystemExit):
        train(tmp_path / "run", SendAfter(signal.SIGUSR1, 6), minutes=60)
    assert told.read_text() == "requeue 4700_11\n"
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 7


def test_training_time_is_counted_over_all_processes(tmp_path: Path) -> None:
    points = SafePoints(tmp_path / "last.ckpt", 1.0)
    points.load_state_dict({"seconds": 100.0})
    assert 100.0 <= points.seconds < 101.0
    assert points.state_dict()["seconds"] >= 100.0
