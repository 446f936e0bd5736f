"""A teacher that reads teaches a student that hears; transcripts, errors in them, and what a model of text cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

CORPUS = ["corpus.speakers=6", "corpus.clips_per_emotion=6", *SMALL[2:]]
TEACHER = ["experiments=emodistill/teacher_linguistic", *CORPUS, "datamodule.batch_size=16"]
STUDENT = [
    "corpus=demo", *CORPUS, "student=timnet_39", "student.encoder.filters=8", "objective=ce_kl", "teacher=finished_run",
    "teacher.experiment=emodistill/teacher_linguistic", "trainer.max_epochs=1", "datamodule.batch_size=16",
]  # fmt: skip


def read(workplace: Path, experiment: str) -> RunRecord:
    return RunRecord.from_json((only_run(workplace, experiment) / "record.json").read_text())


@pytest.fixture(scope="module")
def teacher(request: pytest.FixtureRequest, workplace: Path) -> Path:
    """The run folder of the teacher of all tests here."""
    import os

    from ser_kd.__main__ import main

    before = {name: os.environ.get(name) for name in ("SER_KD_RUNS", "SER_KD_CACHE")}
    os.environ |= {"SER_KD_RUNS": str(workplace / "runs"), "SER_KD_CACHE": str(workplace / "cache")}
    try:
        assert main(["train", *TEACHER, "trainer.max_epochs=14"]) == 0
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return only_run(workplace, "emodistill/teacher_linguistic")


def test_a_teacher_that_reads_is_far_above_chance(ser_kd, teacher: Path, workplace: Path) -> None:
    record = read(workplace, "emodistill/teacher_linguistic")
    assert record.metrics["test/ua"] > 0.4  # chance is 1/7; every other sentence says nothing: at most 0.57 on average
    code, output, errors = ser_kd("evaluate", f"run={teacher}")
    assert code == 0, errors
    assert f"{record.metrics['test/ua']:.4f}   (record: {record.metrics['test/ua']:.4f})" in output


def test_it_teaches_a_student_that_needs_no_text(ser_kd, teacher: Path, workplace: Path) -> None:
    code, _, errors = ser_kd("train", *STUDENT, "teacher.cache=auto", "experiment=taught")
    assert code == 0, errors
    record = read(workplace, "taught")
    assert record.metrics["test/teacher_ua"] == pytest.approx(read(workplace, "emodistill/teacher_linguistic").metrics["test/ua"])
    assert any("came from the cache" in note for note in record.notes)
    folder = only_run(workplace, "taught")
    code, _, errors = ser_kd("export", f"run={folder}")
    assert code == 0, errors
    (clip, *_) = sorted((workplace / "cache" / "demo_corpus").glob("*/spk01/*.wav"))
    code, output, errors = ser_kd("predict", str(folder / "export" / "model_fp32.onnx"), str(clip), "format=csv")
    assert code == 0, errors
    assert clip.name in output


def test_errors_of_transcription_cost_the_teacher_that_answers(ser_kd, teacher: Path, workplace: Path) -> None:
    code, _, errors = ser_kd("train", *STUDENT, "datamodule.word_error_rate=0.6", "experiment=misheard")
    assert code == 0, errors
    record = read(workplace, "misheard")
    assert record.metrics["test/teacher_ua"] < read(workplace, "emodistill/teacher_linguistic").metrics["test/ua"] - 0.05
    assert any("word-error rate of 0.6; measured: train 0." in note for note in record.notes)
    assert record.identity != read(workplace, "taught").identity
    code, output, errors = ser_kd("evaluate", f"run={teacher}", "word_error_rate=0.6")
    assert code == 0, errors
    assert f"{record.metrics['test/teacher_ua']:.4f}   (record: " in output  # the same errors, asked for by itself
    code, _, errors = ser_kd("train", *STUDENT, "views=word_errors", "teacher.cache=auto", "cache.views=1", "experiment=drawn_errors")
    assert code == 0, errors
    assert any("view 1 drawn" in note for note in read(workplace, "drawn_errors").notes)


def test_a_file_of_transcripts_is_read_and_what_it_lacks_is_told(ser_kd, teacher: Path, workplace: Path, tmp_path: Path) -> None:
    names = {path.stem for path in (workplace / "cache" / "demo_corpus").glob("*/*/*.wav")} - {"spk01_happy_00"}
    (tmp_path / "asr.csv").write_text("id,text\n" + "".join(f"{name},some words\n" for name in sorted(names)))
    words = [*TEACHER, f"datamodule.transcripts={tmp_path / 'asr.csv'}", "experiment=recognised"]
    code, _, errors = ser_kd("train", *words)
    assert code == 2
    assert "clips have no transcript, and a model reads them" in errors
    assert not (workplace / "runs" / "recognised").exists()
    code, _, errors = ser_kd("train", *words, "datamodule.on_missing_text=blank", "trainer.max_epochs=1")
    assert code == 0, errors
    assert any("texts are those of asr.csv" in note for note in read(workplace, "recognised").notes)
    code, output, errors = ser_kd("evaluate", f"run={teacher}", f"transcripts={tmp_path / 'asr.csv'}", "on_missing_text=skip")
    assert code == 0, errors
    assert "texts are those of asr.csv" in output + errors
    recorded = read(workplace, "emodistill/teacher_linguistic").metrics["test/ua"]
    assert f"{recorded:.4f}   (record: {recorded:.4f})" not in output  # the same words for all


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export", "run={run}"], "hears nothing cannot be exported"),
        (["robustness", "run={run}"], "hears nothing cannot be judged in noise"),
        (["benchmark", "{run}"], "hears nothing cannot be benchmarked"),
        (["evaluate", "run={run}", "word_error_rate=2"], "no word-error rate"),
        (["evaluate", "run={run}", "word_error_rate=0.2", "corpus=audio_folder", "corpus.root=."], "own corpus only"),
        (["train", *TEACHER, "views=mixup"], "transcripts cannot be"),
        (["train", *TEACHER, "datamodule.transcripts=nowhere.csv"], "was not found"),
    ],
)
def test_what_a_model_of_text_cannot_do_is_told(ser_kd, teacher: Path, words: list[str], told: str) -> None:
    code, _, errors = ser_kd(*(word.replace("{run}", str(teacher)) for word in words))
    assert code == 2
    assert told in errors
    assert "Traceback" not in errors
