"""The commands that are told where a teacher has no finished run: they meet the student's clips."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ser_kd.contracts.emotions import LabelSet
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.runtime.composition import compose
from ser_kd.tasks.missing_teachers import advise_training
from ser_kd.tasks.teachers import WantedRun

FOLD = ProtocolFold("p", "print", 1, 2, "next_fold", LabelSet("x", ("a", "b")), (), (), ())
STUDENT = ["objective=ce_kl", "teacher=finished_run"]


def advise(root: Path, experiment: str, *words: str) -> str:
    command = shlex.join(["ser-kd", "train", *words])
    return advise_training(WantedRun("teacher", experiment, 0, False, FOLD), compose("train", words), command, root)


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ("emodistill/teacher_linguistic", ["experiments=emodistill/base", "corpus.root=/here", "scale=tiny"]),
        ("emodistill/teacher_prosodic", ["experiments=emodistill/base", "corpus=demo", "corpus.clips_per_emotion=2", "fold=1"]),
        ("wav2small/teacher_scratch", ["experiments=wav2small/distilled", "corpus=manifest_csv", "corpus.path=my file.csv"]),
        ("wav_to_mfcc/teacher_scratch", [*STUDENT, "corpus=msp_podcast", "corpus.root=/m", "corpus.release='1'", "protocol.targets=both"]),
        ("wav_to_mfcc/teacher_scratch", [*STUDENT, "corpus=manifest_csv", "corpus.path=a.csv", "corpus.labels=[sad,angry]",
                                         "+corpus.merges.joy=happy", "protocol=speaker_folds"]),
        ("wav_to_mfcc/teacher_scratch", [*STUDENT, "corpus=demo", "protocol=leave_one_speaker_out", "datamodule.withhold=1/3"]),
        ("emodistill/teacher_linguistic", [*STUDENT, "corpus=demo", "datamodule.transcripts=asr.csv", "datamodule.on_missing_text=skip"]),
    ],
)  # fmt: skip
def test_the_command_meets_the_same_clips(tmp_path: Path, experiment: str, words: list[str]) -> None:
    if "teacher=finished_run" in words:
        words = [*words, f"teacher.experiment={experiment}"]
    told = advise(tmp_path, experiment, *words)
    start, _, command = told.partition(": ")
    assert start == "train it first"
    assert command.startswith("ser-kd train ")
    student, teacher = compose("train", words), compose("train", shlex.split(command)[2:])
    assert teacher.experiment == experiment
    assert teacher.fold == 1
    for key in ("corpus", "protocol"):
        assert teacher[key] == student[key]
    assert teacher.scale.name == student.scale.name
    assert teacher.datamodule.withhold == student.datamodule.withhold
    assert teacher.datamodule.on_missing_text == student.datamodule.on_missing_text


def test_where_runs_are_looked_for_is_told(tmp_path: Path) -> None:
    words = [*STUDENT, "teacher.experiment=wav_to_mfcc/teacher_scratch", "corpus=demo", f"paths.runs={tmp_path}"]
    assert f"paths.runs={tmp_path}" in advise(tmp_path, "wav_to_mfcc/teacher_scratch", *words)


def test_a_teacher_that_is_taught_itself_comes_second(tmp_path: Path) -> None:
    told = advise(tmp_path, "wav_to_mfcc/ce_kl", *STUDENT, "teacher.experiment=wav_to_mfcc/ce_kl", "corpus=demo", "scale=tiny")
    first, second = told.partition("in this order: ")[2].split("; ")
    assert first == "ser-kd train experiments=wav_to_mfcc/teacher_scratch corpus=demo scale=tiny fold=1 seed=0"
    assert second == "ser-kd train experiments=wav_to_mfcc/ce_kl corpus=demo scale=tiny fold=1 seed=0"


def test_a_name_without_an_experiment_file(tmp_path: Path) -> None:
    (tmp_path / "paper" / "teacher" / "identity" / "fold=0").mkdir(parents=True)
    told = advise(tmp_path, "paper/teachr", *STUDENT, "teacher.experiment=paper/teachr", "corpus=demo")
    assert told.startswith("did you mean 'paper/teacher'? There is no experiment file of this name")
    assert "experiment=paper/teachr fold=1 seed=0" in told
    assert "ser-kd train" not in told
