"""A run trained on the demo corpus is judged on EmoDB: labels by name, the unmapped listed, everything written beside the run."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import soundfile
import torch

from ser_kd.__main__ import main
from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.records import RunRecord
from ser_kd.storage.audio_files import read_audio
from ser_kd.tasks.finished_runs import load_student
from tests.conftest import write_emodb
from tests.flows.conftest import SMALL, only_run, small_demo_corpus
from tests.flows.test_bad_input import refused, write_csv

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_folder(workplace: Path) -> Path:
    """A run of one epoch on the demo corpus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.setenv("SER_KD_RUNS", str(workplace / "runs"))
        patch.setenv("SER_KD_CACHE", str(workplace / "cache"))
        words = ["experiments=demo/student", "corpus=demo", *SMALL, "trainer.max_epochs=1", "experiment=cross_corpus"]
        words.append("datamodule.withhold=1/2")  # which must not reach the other corpus
        assert main(["train", *words]) == 0
    return only_run(workplace, "cross_corpus")


@pytest.fixture(scope="module")
def emodb(workplace: Path) -> Path:
    return write_emodb(workplace / "emodb", seconds=0.3, most=1)


def read_rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "evaluations" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_labels_meet_by_name_and_the_rest_is_listed(ser_kd, run_folder: Path, emodb: Path) -> None:
    before = (run_folder / "record.json").read_bytes()
    code, output, errors = ser_kd("evaluate", f"run={run_folder}", "corpus=emodb", f"corpus.root={emodb}")
    assert code == 0, errors
    assert "60 clips of 10 speakers" in output
    assert "bored 10 clips: left out" in output
    assert "surprise: such an answer counts as an error" in output
    assert "true | predicted  neutral  happy  sad  angry  fear  disgust  surprise" in output
    assert "gender=female" in output
    assert "UserWarning" not in errors
    record = CrossCorpusRecord.from_json((run_folder / "evaluations" / "emodb.json").read_text())
    assert (record.trained_on, record.corpus, record.unmapped, record.absent) == ("demo", "emodb", {"bored": 10}, ["surprise"])
    assert f"{record.metrics['ua']:.4f}" in output
    assert record.command.startswith("ser-kd evaluate")
    rows = read_rows(run_folder, "emodb")
    clips = Counter(row["truth"] for row in rows)
    right = Counter(row["truth"] for row in rows if row["truth"] == row["prediction"])
    assert clips == dict.fromkeys(("neutral", "happy", "sad", "angry", "fear", "disgust"), 10)
    assert record.metrics["ua"] == pytest.approx(sum(right[name] / clips[name] for name in clips) / len(clips))
    assert (run_folder / "record.json").read_bytes() == before


def test_each_clip_is_answered_as_by_the_model_alone(ser_kd, run_folder: Path, emodb: Path) -> None:
    code, _, errors = ser_kd("evaluate", f"run={run_folder}", "corpus=emodb", f"corpus.root={emodb}", "checkpoint=last")
    assert code == 0, errors
    model, run, _ = load_student(run_folder, "last")
    for row in read_rows(run_folder, "emodb_last")[::20]:
        wave = torch.from_numpy(read_audio(emodb / "wav" / f"{row['id']}.wav", 16_000))[None]
        with torch.no_grad():
            (expected,) = model(ModelInput(wave, torch.tensor([wave.shape[1]]))).logits.softmax(dim=1)
        written = [float(row[f"probability_{name}"]) for name in run.protocol.classes]
        torch.testing.assert_close(torch.tensor(written), expected, atol=2e-5, rtol=0)


def test_restricted_to_the_classes_of_the_corpus(ser_kd, run_folder: Path, emodb: Path) -> None:
    code, output, errors = ser_kd("evaluate", f"run={run_folder}", "corpus=emodb", f"corpus.root={emodb}", "restrict=true")
    assert code == 0, errors
    assert "surprise: the model was not allowed to answer so" in output
    rows = read_rows(run_folder, "emodb_restricted")
    assert {row["probability_surprise"] for row in rows} == {"0.000000"}
    assert "surprise" not in {row["prediction"] for row in rows}


def test_a_manifest_may_be_the_other_corpus(ser_kd, run_folder: Path, manifest_csv: Path) -> None:
    code, output, errors = ser_kd("evaluate", f"run={run_folder}", "corpus=manifest_csv", f"corpus.path={manifest_csv}")
    assert code == 0, errors
    assert "20 clips of 5 speakers" in output
    assert (run_folder / "evaluations" / "manifest_csv_my.json").is_file()


def test_the_same_sound_under_another_name_is_no_other_corpus(ser_kd, run_folder: Path, workplace: Path, tmp_path: Path) -> None:
    with (run_folder / "predictions.csv").open() as file:
        clips = list(csv.DictReader(file))
    demo = small_demo_corpus(workplace)

    def write_copies(name: str, split: str) -> Path:
        lines = []
        for number, row in enumerate(row for row in clips if row["split"] == split):
            wave, rate = soundfile.read(demo / row["id"].partition("_")[0] / f"{row['id']}.wav", dtype="int16")
            soundfile.write(tmp_path / f"{name}{number}.flac", wave, rate)  # other bytes, the same samples
            lines.append(f"{name}{number}.flac,{row['truth']},somebody{number % 5}")
        return write_csv(tmp_path, lines, f"{name}.csv")

    heard, unheard = write_copies("heard", "validation"), write_copies("unheard", "test")
    words = ["evaluate", f"run={run_folder}", "corpus=manifest_csv"]
    refused(ser_kd(*words, f"corpus.path={heard}"), "audio that the run was trained or selected with", "heard0.flac")
    code, _, errors = ser_kd(*words, f"corpus.path={unheard}")
    assert code == 0, errors
    words = ["train", "corpus=manifest_csv", "student=timnet_39", *SMALL[2:], "trainer.max_epochs=1", "experiment=heard_by_teacher"]
    taught = [*words, "objective=ce_kl", "teacher=finished_run", f"teacher.run={run_folder}"]
    refused(ser_kd(*taught, f"corpus.path={heard}"), "trained or selected with audio of the test split", "under the same protocol")
    heard_audio = run_folder / "heard_audio.txt"
    text = heard_audio.read_text()
    assert text.splitlines()[0] == "# decoded at 16000 Hz"
    heard_audio.unlink()  # a run of an earlier version
    try:
        code, output, errors = ser_kd("evaluate", f"run={run_folder}", "corpus=manifest_csv", f"corpus.path={heard}")
        assert code == 0, errors
        assert "audio was not compared with that of training" in output + errors
    finally:
        heard_audio.write_text(text)


def test_the_runs_own_corpus_is_judged_as_before(ser_kd, run_folder: Path) -> None:
    recorded = RunRecord.from_json((run_folder / "record.json").read_text()).metrics["test/ua"]
    for own in ([], ["corpus=demo", "corpus.speakers=6", "corpus.clips_per_emotion=2"]):
        code, output, errors = ser_kd("evaluate", f"run={run_folder}", *own)
        assert code == 0, errors
        assert f"(record: {recorded:.4f})" in output
    other = ["corpus=demo", "corpus.speakers=6", "corpus.clips_per_emotion=1"]
    refused(ser_kd("evaluate", f"run={run_folder}", *other), "not the one this run was trained on")
    refused(ser_kd("evaluate", f"run={run_folder}", "split=all"), "trained on clips of this corpus")


def test_wishes_that_cannot_be_met(ser_kd, run_folder: Path, emodb: Path, tmp_path: Path) -> None:
    words = ["evaluate", f"run={run_folder}"]
    refused(ser_kd(*words, "corpus=emodb"), "EmoDB was not found", "03a01Fa", "emodb.bilderbar.info", "licence")
    refused(ser_kd(*words, "corpus=crema_d", f"corpus.root={tmp_path}"), "CREMA-D was not found", "ODbL", str(tmp_path))
    refused(ser_kd(*words, "corpus=emodb", f"corpus.root={emodb}", "split=test"), "no test split of emodb")
    strange = write_csv(tmp_path, ["a.wav,bored,x", "b.wav,contempt,y"])
    refused(ser_kd(*words, "corpus=manifest_csv", f"corpus.path={strange}"), "no label in common", "bored, contemptuous")
    missing = write_csv(tmp_path, ["a.wav,angry,x", "b.wav,sad,y"], "missing.csv")
    refused(ser_kd(*words, "corpus=manifest_csv", f"corpus.path={missing}"), "no usable utterance")
