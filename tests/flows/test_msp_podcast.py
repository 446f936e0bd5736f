"""A folder in MSP-Podcast's format: check, training, both test sets, a submission, IEMOCAP; then its model teaches on audio alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.flows.conftest import only_run
from tests.iemocap_folder import write_iemocap
from tests.msp_podcast_folder import HIDDEN, write_msp_podcast

pytestmark = pytest.mark.slow

QUICK = [
    "student=timnet_39", "student.encoder.filters=6", "scale=tiny", "trainer.accelerator=cpu", "trainer.max_epochs=1", "logger=csv",
    "datamodule.batch_size=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def release(workplace: Path) -> Path:
    return write_msp_podcast(workplace / "MSP-PODCAST-Publish-1.11", seconds=0.3)


def test_from_the_folder_to_both_test_sets_a_submission_and_another_corpus(ser_kd, release: Path, workplace: Path) -> None:
    corpus = ["corpus=msp_podcast", f"corpus.root={release}", "corpus.release=1.11"]
    code, output, errors = ser_kd("check", *corpus, "protocol.targets=both", "protocol.test_set=test2")
    assert code == 0, errors
    assert "test 20 clips of 31, 32" in output
    assert "MSP-Podcast release 1.11: figures of another release do not compare" in errors
    code, output, errors = ser_kd("train", "experiment=msp", *corpus, "protocol.targets=both", "objective=ccc", *QUICK)
    assert code == 0, errors
    run = only_run(workplace, "msp")
    record = json.loads((run / "record.json").read_text())
    assert record["protocol"]["counts"] == {"train": 40, "validation": 20, "test": 30}
    assert "release 1.11" in record["protocol"]["warnings"][0]
    code, output, errors = ser_kd("evaluate", f"run={run}", f"corpus.root={release}")
    assert code == 0, errors
    assert f"{record['metrics']['test/ccc_mean']:.4f}   (record: {record['metrics']['test/ccc_mean']:.4f})" in output
    code, output, errors = ser_kd("evaluate", f"run={run}", *corpus, "corpus.part=test2")
    assert code == 0, errors
    assert "20 clips of 2 speakers" in output
    code, output, errors = ser_kd("evaluate", f"run={run}", *corpus, "corpus.part=test3")
    assert code == 0, errors
    with (run / "evaluations" / "msp_podcast_test3_submission.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == HIDDEN
    assert all(1 <= float(row[column]) <= 7 for row in rows for column in ("EmoAct", "EmoVal", "EmoDom"))
    other = write_iemocap(workplace / "IEMOCAP_small", seconds=0.1)
    code, output, errors = ser_kd("evaluate", f"run={run}", "corpus=iemocap", f"corpus.root={other}")
    assert code == 0, errors
    found = json.loads((run / "evaluations" / "iemocap.json").read_text())
    assert found["targets"] == "both"
    assert found["dimension_counts"]["dominance"]["clips"] == found["clips"] == 110 * 2


def test_its_model_teaches_on_audio_without_labels(ser_kd, release: Path, workplace: Path) -> None:
    run = only_run(workplace, "msp")
    words = ["experiment=follows", "corpus=audio_folder", f"corpus.root={release / 'Audios'}", "corpus.speaker=file", *QUICK]
    teacher = ["protocol.targets=dimensions", "teacher=finished_run", f"teacher.run={run}"]
    crops = ["datamodule.clip_samples=3200", "datamodule.padding=tile", "datamodule.evaluation_clips=whole"]
    code, output, errors = ser_kd("train", *words, *teacher, "objective=ccc_teacher", *crops)
    assert code == 0, errors
    assert "figures are agreement with the teacher" in output
    assert "UserWarning" not in errors
    record = json.loads((only_run(workplace, "follows") / "record.json").read_text())
    assert record["protocol"]["counts"]["validation"] == record["protocol"]["counts"]["test"] == 11
    assert record["metrics"]["test/teacher_agreement_ccc_mean"] is not None
    assert record["metrics"]["test/ccc_mean"] is None
