"""System 001 at toy size: a teacher on clean speech, students of half its blocks on noisy speech that follow its hidden layers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = ["corpus=demo", *SMALL, "trainer.max_epochs=1"]
EXPORT = ["precision=[fp32]"]


def read(folder: Path) -> RunRecord:
    return RunRecord.from_json((folder / "record.json").read_text())


def read_weights(folder: Path, checkpoint: str = "best") -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / f"{checkpoint}.ckpt", weights_only=True)["state_dict"]


def train(ser_kd, *words: str) -> None:
    code, _, errors = ser_kd("train", *WORDS, *words)
    assert code == 0, errors


def test_students_start_from_the_teachers_even_blocks_and_follow_its_layers(ser_kd, workplace: Path) -> None:
    train(ser_kd, "experiments=mlkd_noisy/teacher")
    whole = read_weights(only_run(workplace, "mlkd_noisy/teacher"))
    # with a learning rate of zero the student's blocks are still those it started from
    train(ser_kd, "experiments=mlkd_noisy/student_from_teacher", "optimizer.lr=0.0")
    folder = only_run(workplace, "mlkd_noisy/student_from_teacher")
    assert "started from blocks 2, 4 of the teacher, and all of its encoder that is no block" in read(folder).notes
    blocks = "student.encoder.model.encoder.layers."
    for name, value in read_weights(folder).items():
        origin = name.replace(f"{blocks}1.", f"{blocks}3.") if f"{blocks}1." in name else name.replace(f"{blocks}0.", f"{blocks}1.")
        if name.startswith("student.encoder."):
            assert torch.equal(value, whole[origin]), name

    train(ser_kd, "experiments=mlkd_noisy/mlkd", "teacher.cache=auto")
    folder = only_run(workplace, "mlkd_noisy/mlkd")
    record = read(folder)
    assert any("came from the cache" in note for note in record.notes)
    assert record.objective["terms"]["multi_level"] == "alpha * beta"
    with (folder / "logs" / "metrics.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line.get("train/multi_level")]
    assert all(float(line["train/multi_level_1"]) + float(line["train/multi_level_2"]) > 0 for line in lines)
    assert float(lines[0]["train/multi_level"]) == pytest.approx(
        float(lines[0]["train/multi_level_1"]) + float(lines[0]["train/multi_level_2"]), rel=1e-4
    )


def test_layers_of_other_widths_and_rates_meet_through_adapters(ser_kd, workplace: Path) -> None:
    train(ser_kd, "experiments=mlkd_noisy/teacher_scratch_resnet", "views=clean")
    words = ["experiments=mlkd_noisy/mlkd_scratch", "student.init_from=random", "teacher.experiment=mlkd_noisy/teacher_scratch_resnet"]
    pairs = "objective.terms.multi_level.loss.layers={1: 1, 2: 3}"
    code, _, errors = ser_kd("train", *WORDS, *words, pairs)
    assert code == 2
    assert "objective.terms.multi_level.loss.adapter" in errors
    code, _, errors = ser_kd("train", *WORDS, *words, "objective.terms.multi_level.loss.layers={1: 9}")
    assert code == 2
    assert "layers of the teacher among 0, 1, 2, 3, 4" in errors
    train(ser_kd, *words, "objective=mlkd_adapted", pairs, "experiment=adapted")
    folder = only_run(workplace, "adapted")
    record = read(folder)
    weights = read_weights(folder, "last")
    adapters = {name: value for name, value in weights.items() if ".adapters." in name}
    assert {value.shape for name, value in adapters.items() if name.endswith("weight")} == {(8, 16)}
    held = sum(value.numel() for value in adapters.values())
    assert f"the objective's adapters hold {held:,} parameters, trained with the student: in no export or count of it" in record.notes
    assert record.parameters["total"] == sum(
        value.numel() for name, value in weights.items() if name.startswith("student.") and "frontend" not in name
    )

    # the finished student needs neither its adapters nor its teacher
    hidden = shutil.move(workplace / "runs" / "mlkd_noisy", workplace / "hidden")
    try:
        code, _, errors = ser_kd("export", f"run={folder}", *EXPORT)
    finally:
        shutil.move(hidden, workplace / "runs" / "mlkd_noisy")
    assert code == 0, errors
    names = [tensor.name for tensor in onnx.load(folder / "export" / "model_fp32.onnx").graph.initializer]
    assert any("blocks" in name for name in names)
    assert not any("adapter" in name for name in names)
