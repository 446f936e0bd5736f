from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.outputs import Outputs
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.objective import Objective
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.runtime.composition import compose
from ser_kd.tasks.averaged_weights import BestEpoch, TopEpochs, make_averaging_callbacks, settle_weights


class Student(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))

    def forward(self, inputs: ModelInput) -> Outputs:
        return Outputs(logits=self.layers(inputs.waveforms))


def make_batches() -> list[SpeechBatch]:
    names = ["a", "b", "c", "d"]
    return [SpeechBatch(names, names, torch.randn(4, 6) + 3.0, torch.full((4,), 6), torch.arange(4)) for _ in range(3)]


@pytest.fixture
def settled(tmp_path: Path):
    """Settle the weights of a run whose three best epochs lie in its folder."""

    def settle(*words: str):
        module = DistillationModule(Student(), Objective({"cross_entropy": {"loss": CrossEntropy()}}), ("angry", "sad"))
        states = []
        for epoch in (3, 5, 8):
            torch.manual_seed(epoch)
            states.append({f"student.{name}": torch.randn(value.shape).abs() for name, value in Student().state_dict().items()})
            torch.save({"state_dict": states[-1], "epoch": epoch}, tmp_path / f"top-epoch={epoch}.ckpt")
        torch.save({"state_dict": {**states[1], "else": torch.ones(2)}, "epoch": 5}, tmp_path / "best.ckpt")
        config = compose("train", ["corpus=demo", "trainer=cpu", *words])
        torch.manual_seed(0)
        run = SimpleNamespace(config=config, data=SimpleNamespace(train_dataloader=lambda shared: make_batches()))
        record = SimpleNamespace(notes=[])
        kept = TopEpochs(dirpath=tmp_path)
        kept.best_k_models = {str(path): torch.tensor(0.5) for path in tmp_path.glob("top-*.ckpt")}
        (tmp_path / "top-epoch=1.ckpt").write_bytes(b"left behind by an earlier stop")
        trainer = SimpleNamespace(checkpoint_callbacks=[kept])
        settle_weights(run, module, trainer, tmp_path / "best.ckpt", record)
        return (
            states,
            torch.load(tmp_path / "best.ckpt", weights_only=True),
            record.notes,
            (run, module, trainer, tmp_path / "best.ckpt", record),
        )

    return settle


def test_the_best_epochs_are_averaged_and_their_files_removed(settled, tmp_path: Path) -> None:
    states, checkpoint, notes, _ = settled("averaging=top_k", "averaging.k=3")
    for name, value in states[0].items():
        if value.is_floating_point():
            torch.testing.assert_close(checkpoint["state_dict"][name], (states[0][name] + states[1][name] + states[2][name]) / 3)
    assert torch.equal(checkpoint["state_dict"]["else"], torch.ones(2))
    assert checkpoint["epoch"] == 5
    assert notes == ["weights: uniform average of the 3 best epochs on validation (4, 6, 9)"]
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_statistics_are_re_estimated_where_it_is_asked_for(settled) -> None:
    states, checkpoint, notes, _ = settled("averaging=top_k", "averaging.k=3", "averaging.batch_norm=re_estimated")
    weight, bias = (checkpoint["state_dict"][f"student.layers.0.{name}"] for name in ("weight", "bias"))
    torch.manual_seed(0)
    heard = [batch.waveforms @ weight.T + bias for batch in make_batches()]
    torch.testing.assert_close(
        checkpoint["state_dict"]["student.layers.1.running_mean"], torch.stack([part.mean(dim=0) for part in heard]).mean(dim=0)
    )
    torch.testing.assert_close(
        checkpoint["state_dict"]["student.layers.3.weight"], sum(state["student.layers.3.weight"] for state in states) / 3
    )
    assert "re-estimated" in notes[0]


def test_it_is_done_once(settled) -> None:
    _, checkpoint, notes, again = settled("averaging=top_k", "averaging.k=3")
    settle_weights(*again)
    assert notes == [notes[0]] * 2
    after = torch.load(again[3], weights_only=True)["state_dict"]
    assert all(torch.equal(after[name], value) for name, value in checkpoint["state_dict"].items())


def test_an_average_that_had_not_begun_is_said(settled) -> None:
    states, checkpoint, notes, _ = settled("averaging=ema")
    assert torch.equal(checkpoint["state_dict"]["student.layers.0.weight"], states[1]["student.layers.0.weight"])
    assert notes == ["weights: those that were trained; the exponential moving average had not begun in the epoch that was chosen"]


def test_without_averaging_nothing_is_touched(settled, tmp_path: Path) -> None:
    states, checkpoint, notes, _ = settled()
    assert not notes
    assert torch.equal(checkpoint["state_dict"]["student.layers.0.weight"], states[1]["student.layers.0.weight"])
    assert len(list(tmp_path.iterdir())) == 5
    assert make_averaging_callbacks(OmegaConf.create({"averaging": None}), tmp_path, "validation/ua") == []


def test_kept_checkpoints_are_known_again_in_another_folder(tmp_path: Path) -> None:
    before = TopEpochs(dirpath=tmp_path / "before", filename="top-{epoch}", monitor="validation/ua", mode="max", save_top_k=2)
    before.best_k_models = {str(tmp_path / "before" / "top-epoch=3.ckpt"): torch.tensor(0.5)}
    before.best_model_path, before.best_model_score = str(tmp_path / "before" / "top-epoch=3.ckpt"), torch.tensor(0.5)
    after = TopEpochs(dirpath=tmp_path / "after", filename="top-{epoch}", monitor="validation/ua", mode="max", save_top_k=2)
    after.load_state_dict(before.state_dict())
    assert after.best_k_models == {str(tmp_path / "after" / "top-epoch=3.ckpt"): torch.tensor(0.5)}
    assert after.best_model_path == str(tmp_path / "after" / "top-epoch=3.ckpt")
    assert after.best_model_score == 0.5


def test_the_state_of_the_best_epoch_keeps_its_name() -> None:
    words = {"monitor": "validation/ua", "mode": "max"}
    assert BestEpoch(**words).state_key == ModelCheckpoint(**words).state_key != TopEpochs(**words).state_key
