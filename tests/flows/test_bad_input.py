"""Every fault of a user's is one clear message and exit code 2, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import speech_like, write_ravdess
from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow


def refused(result: tuple[int, str, str], *wanted: str) -> None:
    code, _, errors = result
    assert code == 2, errors
    assert "Traceback" not in errors
    for text in (*wanted, "to do:"):
        assert text in errors


def write_csv(folder: Path, rows: list[str], name: str = "my.csv") -> Path:
    path = folder / name
    path.write_text("path,label,speaker\n" + "\n".join(rows) + "\n")
    return path


def test_typo_in_a_key(ser_kd) -> None:
    refused(ser_kd("train", "experiments=wav_to_mfcc/ce_kl", "objective.aplha=0.3"), "objective.aplha", "objective.alpha")


def test_wrong_value_and_all_faults_together(ser_kd) -> None:
    refused(
        ser_kd("train", "experiments=wav_to_mfcc/student", "trainer.max_epochs=many", "datamodule.padding=left"),
        "trainer.max_epochs", "datamodule.padding",
    )  # fmt: skip


def test_missing_corpus(ser_kd, tmp_path: Path) -> None:
    refused(ser_kd("train", "experiments=wav_to_mfcc/student"), "RAVDESS was not found", "Actor_01", "CC BY-NC-SA 4.0", "zenodo")
    refused(ser_kd("check", "corpus=ravdess", f"corpus.root={tmp_path}"), "RAVDESS was not found", str(tmp_path))
    refused(ser_kd("train", "corpus=manifest_csv"), "corpus.path")


def test_damaged_audio_is_named_and_counted_and_the_others_go_on(ser_kd, tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        soundfile.write(tmp_path / f"{number}.wav", speech_like(number), 16_000, subtype="FLOAT")
        rows.append(f"{number}.wav,{('sad', 'angry')[number % 2]},s{number // 4}")
    (tmp_path / "0.wav").write_bytes(b"")
    (tmp_path / "1.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "2.wav", np.array([0.0, np.nan], dtype=np.float32), 16_000, subtype="FLOAT")
    path = write_csv(tmp_path, rows)
    for verb in ("check", "prepare"):
        result = ser_kd(verb, "corpus=manifest_csv", f"corpus.path={path}")
        refused(result, "3 of 24 clips cannot be used", "0.wav", "1.wav", "2.wav", "NaN")
    words = [
        "corpus=manifest_csv",
        f"corpus.path={path}",
        "trainer.max_epochs=1",
        "logger=csv",
        "datamodule.batch_size=8",
        "experiment=damaged",
    ]
    code, output, errors = ser_kd("train", *words)
    assert code == 0, errors
    assert "3 clips cannot be used and are left out" in output + errors
    refused(ser_kd("train", *words, "datamodule.on_bad_audio=error"), "3 of 24 clips cannot be used")


def test_label_outside_the_set(ser_kd, manifest_csv: Path) -> None:
    refused(ser_kd("check", "corpus=manifest_csv", f"corpus.path={manifest_csv}", "corpus.labels=[angry,natural]"), "neutral", "natural")


def test_fold_out_of_range(ser_kd, manifest_csv: Path) -> None:
    refused(ser_kd("train", "corpus=manifest_csv", f"corpus.path={manifest_csv}", "fold=7"), "no fold 7", "from 0 to 4")


def test_a_term_without_its_teacher(ser_kd, manifest_csv: Path) -> None:
    words = ["corpus=manifest_csv", f"corpus.path={manifest_csv}", "logger=csv"]
    refused(ser_kd("train", *words, "objective=ce_kl"), "soft_targets", "needs a teacher")
    refused(ser_kd("train", *words, "objective=ce_kl", "teacher=finished_run"), "not named", "teacher.experiment")
    refused(
        ser_kd("train", *words, "objective=ce_kl", "teacher=finished_run", "teacher.experiment=nobody"),
        "No finished run of the teacher 'nobody'", "no experiment file of this name", "experiment=nobody fold=0",
    )  # fmt: skip


def test_relations_within_a_batch_of_two(ser_kd, manifest_csv: Path) -> None:
    words = ["corpus=manifest_csv", f"corpus.path={manifest_csv}", "logger=csv", "objective=ce_kl_rkd", "datamodule.batch_size=2"]
    refused(ser_kd("train", *words), "'relational_angle' compares", "at least 3 clips", "datamodule.batch_size=2")


def test_planted_shared_speaker(ser_kd, tmp_path: Path) -> None:
    write_ravdess(tmp_path, statements=(1,), seconds=0.02)
    refused(
        ser_kd(
            "check", "corpus=ravdess", f"corpus.root={tmp_path}", "protocol=listed_speakers",
            "protocol.test_folds=[[2,5,14],[5,3,6],[1,4,9]]",
        ),
        "leaks", "speaker 5 is in validation and test",
    )  # fmt: skip


def test_identical_audio_under_two_speakers(ser_kd, tmp_path: Path) -> None:
    write_ravdess(tmp_path, statements=(1,), seconds=0.02)
    source = tmp_path / "Actor_02" / "03-01-03-01-01-01-02.wav"
    (tmp_path / "Actor_03" / "03-01-03-01-01-01-03.wav").write_bytes(source.read_bytes())
    refused(ser_kd("check", "corpus=ravdess", f"corpus.root={tmp_path}"), "leaks", "03-01-03-01-01-01-02", "03-01-03-01-01-01-03")


def test_a_teacher_of_another_fold_is_refused(ser_kd, workplace: Path) -> None:
    words = ["corpus=demo", *SMALL, "trainer.max_epochs=1"]
    assert ser_kd("train", "experiments=demo/teacher", *words, "fold=1", "experiment=other_fold")[0] == 0
    (record,) = (workplace / "runs" / "other_fold").glob("*/fold=1/seed=0/record.json")
    refused(
        ser_kd("train", "experiments=demo/distilled", *words, "teacher.experiment=null", f"teacher.run={record.parent}", "fold=2"),
        "has seen test speakers", "fold=2",
    )  # fmt: skip


def test_a_damaged_checkpoint_is_named(ser_kd, workplace: Path) -> None:
    words = ["corpus=demo", *SMALL, "trainer.max_epochs=1"]
    assert ser_kd("train", "experiments=demo/student", *words, "experiment=damaged_weights")[0] == 0
    (record,) = (workplace / "runs" / "damaged_weights").glob("*/fold=0/seed=0/record.json")
    (record.parent / "checkpoints" / "best.ckpt").write_bytes(b"nothing")
    refused(ser_kd("evaluate", f"run={record.parent}"), "no file of tensors", "best.ckpt")
    refused(ser_kd("evaluate", f"run={workplace}"), "no finished run")


def test_a_users_csv_of_20_files_trains(ser_kd, manifest_csv: Path, workplace: Path) -> None:
    code, output, errors = ser_kd("train", "corpus=manifest_csv", f"corpus.path={manifest_csv}", "trainer.max_epochs=2", "logger=csv")
    assert code == 0, errors
    assert "speaker_folds5" in output
    assert list((workplace / "runs" / "own").glob("*/fold=0/seed=0/record.json"))


def test_unlabelled_clips_without_a_teacher(ser_kd, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", speech_like(0), 16_000, subtype="FLOAT")
    words = ["student=timnet_39", "corpus=demo", *SMALL, f"datamodule.unlabelled_root={tmp_path}"]
    refused(ser_kd("train", *words), "no teacher says what they are", "datamodule.unlabelled_root=null")
