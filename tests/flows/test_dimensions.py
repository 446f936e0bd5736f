"""Arousal, dominance and valence through the verbs: two teachers, one student on their answers alone, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = ["train", "corpus=demo", *SMALL, "protocol.targets=dimensions", "datamodule.clip_samples=12000"]
SMALL_STUDENT = ["student=timnet_39", "student.encoder.filters=6"]


def plain_concordance(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_a_student_follows_two_teachers_and_is_judged_by_concordance(ser_kd, workplace: Path) -> None:
    teachers = {"resnet": ["student=spectrogram_resnet"], "transformer": ["student=spectrogram_transformer", "student.encoder.layers=1"]}
    for name, words in teachers.items():
        code, _, errors = ser_kd(*WORDS, *words, "objective=ccc", f"experiment=dimensions/{name}")
        assert code == 0, errors
    members = f"teacher.members={{{', '.join(f'{name}: {{experiment: dimensions/{name}}}' for name in teachers)}}}"
    words = [*WORDS, *SMALL_STUDENT, "objective=ccc_teacher", "teacher=ensemble", members, "teacher.cache=auto"]
    code, output, errors = ser_kd(*words, "experiment=dimensions/student")
    assert code == 0, errors
    assert "ccc_mean" in output
    folder = only_run(workplace, "dimensions/student")
    record = RunRecord.from_json((folder / "record.json").read_text())
    assert (record.protocol.targets, record.protocol.classes, record.confusion["test"]) == ("dimensions", [], [])
    assert {"test/teacher_ccc_mean", "test/teacher_agreement_ccc_mean"} <= set(record.metrics)
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    for name in DIMENSIONS:
        said, true = (np.array([float(row[f"{side}_{name}"]) for row in rows]) for side in ("prediction", "truth"))
        assert record.metrics[f"test/ccc_{name}"] == pytest.approx(plain_concordance(said, true), abs=1e-4)
    code, output, errors = ser_kd("compare", "dimensions/resnet", "dimensions/student", "out=compared")
    assert code == 0, errors
    assert "paired permutation" in output
    assert "McNemar" not in output
    code, output, errors = ser_kd("report", "experiments=dimensions/*", "out=reported")
    assert code == 0, errors
    assert "mean CCC" in output
    assert "ensemble of resnet, transformer" in output


def test_what_does_not_fit_is_told_before_the_first_step(ser_kd) -> None:
    for words, told in (
        (["objective=ce"], "'cross_entropy' needs classes"),
        (["objective=ccc", "monitor=validation/ua"], "no metric of this run"),
        (["objective=ccc_teacher"], "needs a teacher"),
        (["objective=ccc", "datamodule.balance=class"], "balanced without classes"),
    ):
        code, _, errors = ser_kd(*WORDS, *SMALL_STUDENT, *words)
        assert code == 2, errors
        assert told in errors
    code, output, _ = ser_kd("check", "corpus=demo", *SMALL[:2], "protocol.targets=both")
    assert code == 0
    assert "arousal 0." in output
    assert "angry" in output
