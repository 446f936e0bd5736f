"""A folder with IEMOCAP's published counts goes through check, train, a cross-validation of all ten speakers, and noise."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ser_kd.data.corpora.iemocap import Iemocap
from tests.iemocap_folder import CLASSES, published_turns, write_iemocap, write_superb_metadata

pytestmark = pytest.mark.slow

QUICK = [
    "scale=tiny", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=csv", "datamodule.batch_size=256",
]  # fmt: skip


@pytest.fixture(scope="module")
def release(workplace: Path) -> Path:
    """All 10,039 turns, a twentieth of a second each."""
    return write_iemocap(workplace / "IEMOCAP_full_release", published_turns(), seconds=0.05)


@pytest.fixture
def corpus(release: Path, workplace: Path) -> list[str]:
    """Words that choose it and keep its runs apart from those of other flows."""
    return ["corpus=iemocap", f"corpus.root={release}", f"paths.runs={workplace / 'iemocap_runs'}"]


def test_check_proves_ten_speakers_and_counts_what_is_not_used(ser_kd, corpus: list[str]) -> None:
    code, output, errors = ser_kd("check", *corpus[:2])
    assert code == 0, errors
    assert "fold 0: train 4446 clips of Ses02F, Ses02M" in output
    assert "validation 557 clips of Ses01M; test 528 clips of Ses01F" in output
    assert "no label 2507, frustrated 1849, surprise 107, fear 40, other 3, disgust 2" in output
    assert "no speaker, file or identical audio crosses a split of the 10 folds" in output
    assert "not the full release" not in output + errors


def test_superb_is_refused_without_its_metadata_and_says_what_it_shares(ser_kd, corpus: list[str], release: Path, workplace: Path) -> None:
    code, _, errors = ser_kd("check", *corpus[:2], "protocol=superb5")
    assert code == 2
    assert "protocol.superb_metadata" in errors
    labels = {u.id: u.emotion for u in Iemocap(release).read_manifest().utterances}
    codes = {"neutral": "neu", "happy": "hap", "excited": "exc", "angry": "ang", "sad": "sad"}
    turns = {name: codes[label] for name, label in labels.items() if label in codes}
    assert set(turns.values()) == set(CLASSES)
    metadata = write_superb_metadata(workplace / "meta_data", turns)
    code, output, errors = ser_kd("check", *corpus[:2], "protocol=superb5", f"protocol.superb_metadata={metadata}")
    assert code == 0, errors
    assert "all validation speakers are training speakers" in output + errors
    assert "no test speaker, file or identical audio crosses a split of the 5 folds; validation shares speakers" in output
    words = [*corpus, *QUICK, "protocol=superb5", f"protocol.superb_metadata={metadata}", "experiment=superb", "fold=4"]
    code, output, errors = ser_kd("train", "experiments=demo/student", *words)
    assert code == 0, errors
    assert "all validation speakers are training speakers" in output + errors
    (path,) = (workplace / "iemocap_runs" / "superb").glob("*/fold=4/seed=0/record.json")
    protocol = json.loads(path.read_text())["protocol"]
    assert protocol["counts"] == {"train": 3432, "validation": 858, "test": 1241}
    assert "all validation speakers are training speakers" in protocol["warnings"][0]
    code, output, errors = ser_kd("report", f"runs={workplace / 'iemocap_runs'}", f"out={workplace / 'iemocap_report'}")
    assert code == 0, errors
    assert all("validation speakers are training speakers" in page.read_text() for page in (workplace / "iemocap_report").glob("*.html"))


def test_all_ten_speakers_are_tested_in_turn(ser_kd, corpus: list[str], workplace: Path) -> None:
    code, output, errors = ser_kd("cross-validate", "experiments=demo/student", *corpus, *QUICK, "folds=all", "workers=2")
    assert code == 0, output + errors
    assert "10/10 finished" in output
    records = [json.loads(path.read_text()) for path in (workplace / "iemocap_runs" / "demo").glob("student/*/fold=*/seed=0/record.json")]
    assert sorted(record["protocol"]["counts"]["test"] for record in records) == [481, 503, 522, 528, 528, 542, 557, 590, 629, 651]
    assert {record["status"] for record in records} == {"finished"}
    assert {tuple(record["protocol"]["classes"]) for record in records} == {("neutral", "happy", "angry", "sad")}


def test_two_of_the_ten_are_judged_in_noise(ser_kd, corpus: list[str], workplace: Path) -> None:
    runs = [str(*(workplace / "iemocap_runs" / "demo" / "student").glob(f"*/fold={fold}/seed=0")) for fold in (0, 9)]
    words = [f"runs=[{','.join(runs)}]", "noise.types=[babble]", "noise.duration_s=20", "snrs_db=[0]", "clean=false", "resamples=200"]
    code, output, errors = ser_kd("robustness", *words, f"out={workplace / 'iemocap_noise'}")
    assert code == 0, output + errors
    rows = pd.read_csv(workplace / "iemocap_noise" / "robustness.csv").astype(str)
    assert dict(zip(rows["fold"], rows["clips"], strict=True)) == {"all": "1179", "0": "528", "9": "651"}
