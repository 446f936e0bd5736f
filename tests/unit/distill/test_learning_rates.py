from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.learning_rates import group_by_rate
from ser_kd.distill.objective import Objective
from ser_kd.distill.schedules import LinearSchedule
from ser_kd.losses.cross_entropy import CrossEntropy


class Student(nn.Module):
    """A front-end without parameters, an encoder of two blocks, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend = nn.Identity()
        self.encoder = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: ModelInput) -> Outputs:
        embedding = self.encoder(self.frontend(inputs.waveforms))
        return Outputs(logits=self.head(embedding), embedding=embedding)


class Projected(nn.Module):
    """An objective whose terms learn something."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter = nn.Linear(3, 5)


def group(student: nn.Module, rates: dict[str, float], objective: nn.Module | None = None) -> dict[str, tuple[float | None, int, int]]:
    groups = group_by_rate(student, objective or nn.Identity(), rates)
    return {found.name: (found.rate, sum(part.numel() for part in found.parameters), found.frozen) for found in groups}


def test_every_parameter_lies_in_one_group() -> None:
    assert group(Student(), {"encoder": 1e-5}) == {"rest": (None, 8, 0), "encoder": (1e-5, 27, 0)}
    assert group(Student(), {"encoder": 1e-5, "head": 1e-4}) == {"encoder": (1e-5, 27, 0), "head": (1e-4, 8, 0)}
    assert group(Student(), {"head.bias": 1.0})["head.bias"] == (1.0, 2, 0)
    assert group(Student(), {"head": 0.1}, Projected()) == {"rest": (None, 27 + 20, 0), "head": (0.1, 8, 0)}
    assert group(Student(), {"objective": 0.1}, Projected()) == {"rest": (None, 35, 0), "objective": (0.1, 20, 0)}


@pytest.mark.parametrize("rates", [{"encoder": 1e-5, "encoder.1": 1e-3}, {"encoder.1": 1e-3, "encoder": 1e-5}])
def test_an_inner_part_keeps_its_own_rate(rates: dict[str, float]) -> None:
    groups = group(Student(), rates)
    assert (groups["encoder"][1], groups["encoder.1"][1]) == (15, 12)


def test_what_is_frozen_is_told() -> None:
    student = Student()
    student.encoder[0].requires_grad_(False)
    groups = group_by_rate(student, nn.Identity(), {"encoder": 1e-5, "encoder.0": 1e-6})
    assert group(student, {"encoder": 1e-5})["encoder"] == (1e-5, 12, 15)
    told = [found.describe() for found in groups]
    assert told[0] == "rest learns at the optimizer's rate: 8 parameters"
    assert told[2] == "encoder.0 does not learn at 1e-06: its 15 parameters are frozen"
    assert "12 parameters, and 15 are frozen" in group_by_rate(student, nn.Identity(), {"encoder": 1e-5})[1].describe()


@pytest.mark.parametrize(("rates", "message"), [
    ({"encodr": 1e-5}, r"no part to go to(.|\n)*encoder, head(.|\n)*did you mean 'encoder'"),
    ({"student.head": 1e-5}, r"no part to go to(.|\n)*did you mean 'head'"),
    ({"frontend": 1e-5}, r"'frontend' has nothing to learn"), ({"objective": 1e-5}, r"'objective' has nothing to learn"),
    ({"": 1e-5}, "no part to go to"), ({"head": 0.0}, "a number above 0"), ({"head": -1e-3}, "a number above 0"),
    ({"head": float("inf")}, "a number above 0"), ({"head": float("nan")}, "a number above 0"), ({"head": True}, "a number above 0"),
    ({"head": "1e-4"}, "a number above 0"), ({"head": None}, "a number above 0"),
])  # fmt: skip
def test_what_cannot_be_is_told_when_the_module_is_made(rates: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_module(rates)


def make_module(rates: dict[str, float] | None, optimizer: type[torch.optim.Optimizer] = torch.optim.Adam) -> DistillationModule:
    torch.manual_seed(0)
    objective = Objective({"cross_entropy": {"loss": CrossEntropy()}})
    return DistillationModule(
        Student(), objective, ("angry", "sad"), optimizer=lambda groups: optimizer(groups, lr=0.1),  # type: ignore[call-arg]
        learning_rate_schedule=LinearSchedule(1.0, 0.5), learning_rates=rates,
    )  # fmt: skip


def make_batch(seed: int) -> SpeechBatch:
    waveforms = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
    names = [f"{seed}c{row}" for row in range(6)]
    return SpeechBatch(names, names, waveforms, torch.full((6,), 4), torch.arange(6), classes=(waveforms[:, 0] > 0).long())


def fit(module: DistillationModule, folder: Path, epochs: int = 2, stop: int = -1, resume: Path | None = None, **more: object):
    trainer = lightning.Trainer(
        max_epochs=epochs, max_steps=stop, accelerator="cpu", logger=CSVLogger(folder, name="", version=""), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1, **more,
    )  # fmt: skip
    loader = DataLoader([make_batch(seed) for seed in range(4)], batch_size=None)
    trainer.fit(module, loader, DataLoader([make_batch(9)], batch_size=None), ckpt_path=resume)
    return trainer


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_each_part_moves_at_its_rate_and_the_schedule_scales_all(tmp_path: Path, optimizer: type[torch.optim.Optimizer]) -> None:
    module = make_module({"encoder": 1e-3, "head.bias": 0.05}, optimizer)
    before = {name: value.clone() for name, value in module.student.state_dict().items()}
    trainer = fit(module, tmp_path, epochs=8, stop=1)
    # Adam's first step is the learning rate in every number, up to AdamW's decay
    moved = {name: float((value - before[name]).abs().max()) for name, value in module.student.state_dict().items()}
    for name, rate in {"encoder.0.weight": 1e-3, "encoder.1.bias": 1e-3, "head.weight": 0.1, "head.bias": 0.05}.items():
        assert moved[name] == pytest.approx(rate, rel=0.02), name
    rates = [found["lr"] for found in trainer.optimizers[0].param_groups]
    assert [rate / first for rate, first in zip(rates, (0.1, 1e-3, 0.05), strict=True)] == pytest.approx([rates[0] / 0.1] * 3)
    assert rates[0] == pytest.approx(0.05)


def test_rates_are_logged_by_name(tmp_path: Path) -> None:
    fit(make_module({"encoder": 1e-3}), tmp_path / "parts")
    fit(make_module(None), tmp_path / "one")
    columns = {name: (tmp_path / name / "metrics.csv").read_text().splitlines()[0].split(",") for name in ("parts", "one")}
    assert {"learning_rate", "learning_rate/encoder"} <= set(columns["parts"])
    assert [column for column in columns["one"] if column.startswith("learning_rate")] == ["learning_rate"]


def test_without_rates_the_optimizer_is_as_it_was() -> None:
    for rates in (None, {}):
        module = make_module(rates)
        module.learning_rate_schedule = None
        (only,) = module.configure_optimizers().param_groups
        assert "name" not in only
        assert [id(part) for part in only["params"]] == [id(part) for part in module.parameters()]


def test_a_checkpoint_goes_on_with_the_same_groups(tmp_path: Path) -> None:
    rates = {"encoder.1": 2e-3, "encoder": 1e-3}
    whole = make_module(rates)
    fit(whole, tmp_path / "whole", epochs=4)
    first = make_module(rates)
    trainer = fit(first, tmp_path / "first", epochs=4, limit_train_batches=4, callbacks=[Stop(2)])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [found["name"] for found in saved] == ["rest", "encoder.1", "encoder"]
    second = make_module(rates)
    fit(second, tmp_path / "second", epochs=4, resume=tmp_path / "last.ckpt")
    for name, value in whole.student.state_dict().items():
        assert torch.equal(second.student.state_dict()[name], value), name


class Stop(lightning.Callback):
    """Ends training after so many epochs, as an interruption does: the planned length stays."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs
