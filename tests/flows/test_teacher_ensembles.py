"""Several teachers answer as one, and cross-fitted ones for speakers they were not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

TINY = ["corpus=demo", *SMALL, "datamodule.clip_samples=32000"]
TEACHER = ["train", "experiments=wav_to_mfcc/teacher_scratch", *TINY]
STUDENT = ["train", "experiments=wav_to_mfcc/ce_kl", *TINY]


def read(workplace: Path, name: str) -> RunRecord:
    return RunRecord.from_json((only_run(workplace, name) / "record.json").read_text())


def test_two_seeds_and_a_calibration_make_an_ensemble(ser_kd, workplace: Path) -> None:
    for seed in (3, 4):
        code, _, errors = ser_kd(*TEACHER, f"seed={seed}", "experiment=ensembles/pair")
        assert code == 0, errors
    members = "teacher.members={a: {experiment: ensembles/pair, seed: 3}, b: {experiment: ensembles/pair, seed: 4}}"
    words = [
        *STUDENT,
        "teacher=ensemble",
        "teacher.experiment=null",
        members,
        "teacher.weights=validation_confidence",
        "teacher.calibrate=true",
    ]
    code, output, errors = ser_kd(*words, "dry_run=true")
    assert code == 0, errors
    assert "in 2 model(s), frozen" in output
    code, output, errors = ser_kd(*words, "experiment=ensembles/distilled")
    assert code == 0, errors
    assert "teacher_confidence" in output
    record = read(workplace, "ensembles/distilled")
    assert [teacher.name for teacher in record.teachers] == ["a", "b"]
    assert sum(teacher.weight or 0.0 for teacher in record.teachers) == pytest.approx(1.0)
    assert all(teacher.calibration_temperature for teacher in record.teachers)
    assert 1 / 7 <= record.metrics["train/teacher_confidence"] <= 1.0


def test_cross_fitted_answers_need_a_member_for_every_speaker(ser_kd, workplace: Path) -> None:
    words = [
        *STUDENT,
        "teacher.experiment=ensembles/member",
        "teacher.answers=cross_fitted",
        "teacher.groups=2",
        "experiment=ensembles/cross",
    ]
    for group in (1, 2):
        code, _, errors = ser_kd(*words)
        assert code == 2
        assert f"datamodule.withhold={group}/2" in errors
        code, _, errors = ser_kd(*TEACHER, "experiment=ensembles/member", f"datamodule.withhold={group}/2")
        assert code == 0, errors
    code, _, errors = ser_kd(*words)
    assert code == 0, errors
    record = read(workplace, "ensembles/cross")
    assert [teacher.name for teacher in record.teachers] == ["teacher_1", "teacher_2"]
    heard = [set(teacher.trained_on) for teacher in record.teachers]
    assert heard[0].isdisjoint(heard[1])
    assert heard[0] | heard[1] == set(record.protocol.speakers["train"])
    for wrong, message in (("3/2", "cannot be withheld"), ("first", "written K/N")):
        code, _, errors = ser_kd(*TEACHER, f"datamodule.withhold={wrong}")
        assert code == 2
        assert message in errors
