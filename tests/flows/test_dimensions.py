"""Arousal, dominance and valence through the verbs: two teachers, one student on their answers alone, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run, small_demo_corpus

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


def test_a_dimension_nobody_annotated_is_never_answered(ser_kd, workplace: Path) -> None:
    code, _, errors = ser_kd("prepare", "corpus=demo", *SMALL[:2])
    assert code == 0, errors
    source = small_demo_corpus(workplace) / "manifest.csv"
    manifest = workplace / "manifest.csv"

    def write_manifest(*dimensions: str) -> None:
        with source.open() as file, manifest.open("w", newline="") as part:
            table = csv.DictWriter(part, ["path", "label", "speaker", *dimensions], extrasaction="ignore")
            table.writeheader()
            table.writerows({**row, "path": source.parent / row["path"]} for row in csv.DictReader(file))

    words = ["train", "corpus=manifest_csv", f"corpus.path={manifest}", *SMALL[2:], *WORDS[-2:], *SMALL_STUDENT]
    write_manifest("arousal", "valence")
    code, _, errors = ser_kd(*words, "objective=ccc", "experiment=dimensions/two")
    assert code == 0, errors
    assert "dominance is not learned (annotated in 0 training clips" in errors
    folder = only_run(workplace, "dimensions/two")
    assert RunRecord.from_json((folder / "record.json").read_text()).unlearned_dimensions == ["dominance"]
    with (folder / "predictions.csv").open() as file:
        assert {row["prediction_dominance"] for row in csv.DictReader(file)} == {""}
    code, output, errors = ser_kd("export", f"run={folder}")
    assert code == 0, errors
    clip = next(source.parent.glob("*/*.wav"))
    code, output, errors = ser_kd("predict", str(folder / "export" / "model_fp32.onnx"), str(clip), "format=csv")
    assert code == 0, errors
    assert output.splitlines()[0] == "file,start_s,end_s,arousal,valence,notes"
    write_manifest(*DIMENSIONS)
    taught = [*words, "objective=ccc_teacher", "teacher=finished_run", f"teacher.run={folder}", "experiment=dimensions/pupil"]
    code, _, errors = ser_kd(*taught, "monitor=validation/ccc_dominance")
    assert code == 2
    assert "undefined (NaN) in every epoch" in errors
    code, _, errors = ser_kd(*taught)
    assert code == 0, errors
    record = RunRecord.from_json((only_run(workplace, "dimensions/pupil") / "record.json").read_text())
    assert record.unlearned_dimensions == ["dominance"]  # it is annotated, and nobody taught it
    assert record.undefined["test/ccc_dominance"] == "never learned"
    assert record.metrics["test/ccc_mean"] == pytest.approx((record.metrics["test/ccc_arousal"] + record.metrics["test/ccc_valence"]) / 2)
