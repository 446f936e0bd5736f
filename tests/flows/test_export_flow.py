"""From a trained student to files that ship: export, sign-off, card, prediction without torch, benchmark."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.contracts.export_record import ExportRecord
from ser_kd.deploy.predictor import Predictor
from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow

TRAIN = ["train", "experiments=demo/student", "trainer.max_epochs=4", *SMALL]
LOOSE = "gates.int8.ua_change=0.2"  # of a few test clips each counts several points


@pytest.fixture
def run(ser_kd, workplace):
    """A finished run; one for all tests."""
    if not list((workplace / "runs" / "demo" / "student").glob("*/fold=0/seed=0/record.json")):
        assert ser_kd(*TRAIN)[0] == 0
    return next((workplace / "runs" / "demo" / "student").glob("*/fold=0/seed=0/record.json")).parent


@pytest.fixture
def shipped(ser_kd, workplace, run):
    """The same run with its files, which were pushed to a folder."""
    if not (run / "export" / "model_int8.onnx").is_file():
        (workplace / "hub").mkdir(exist_ok=True)
        code, out, err = ser_kd("export", f"run={run}", "precision=[fp32,int8]", LOOSE, f"push_to_hub={workplace / 'hub'}")
        assert code == 0, err
        assert "signed off" in out
    return run


def test_files_are_made_signed_off_and_pushed(workplace, shipped):
    run = shipped
    record = ExportRecord.from_json((run / "export" / "sign_off.json").read_text())
    fp32, int8 = record.files
    assert fp32.metrics["argmax_agreement"] == 1.0
    assert fp32.metrics["max_difference"] < 1e-5
    assert any(node.startswith("no smaller than fp32") for node in int8.notes) == (int8.bytes >= fp32.bytes)
    recorded = json.loads((run / "record.json").read_text())
    assert fp32.metrics["ua_torch"] == pytest.approx(recorded["metrics"]["test/ua"], abs=1e-9)
    # calibrated on training speakers alone
    assert set(int8.calibration_speakers) <= set(recorded["protocol"]["speakers"]["train"])
    assert record.metadata["labels"] == recorded["protocol"]["classes"]
    assert record.metrics["validation/log_loss"] <= record.metrics["validation/log_loss_before"]
    assert sorted(path.name for path in (workplace / "hub").iterdir()) == [
        "README.md", "model_fp32.onnx", "model_int8.onnx", "sign_off.json", "sign_off.md",
    ]  # fmt: skip
    assert str(workplace) not in (workplace / "hub" / "README.md").read_text()


def test_a_gate_that_fails_is_exit_code_one_and_nothing_is_pushed(ser_kd, workplace, run):
    target = workplace / "other"
    target.mkdir(exist_ok=True)
    words = ["gates.fp32.max_difference=1e-12", f"out={workplace / 'failed'}", f"push_to_hub={target}"]
    code, out, _ = ser_kd("export", f"run={run}", *words)
    assert code == 1
    assert "NOT SIGNED OFF  model_fp32.onnx: max_difference" in out
    assert not list(target.iterdir())


def test_a_file_predicts_what_the_run_predicted(ser_kd, workplace, shipped):
    run = shipped
    predictor = Predictor(run / "export" / "model_fp32.onnx")
    rows = [line.split(",") for line in (run / "predictions.csv").read_text().splitlines()]
    head, rows = rows[0], rows[1:]
    clips = {path.stem: path for path in (workplace / "cache").rglob("*.wav")} | {
        path.stem: path for path in (workplace / "cache").rglob("*.flac")
    }
    judged = [row for row in rows if row[head.index("split")] == "test" and row[head.index("id")].rpartition("/")[2] in clips]
    assert len(judged) > 10
    for row in judged:
        found = predictor(clips[row[head.index("id")].rpartition("/")[2]])
        assert found.label == row[head.index("prediction")]


def test_predict_reads_what_export_wrote(ser_kd, workplace, shipped):
    run = shipped
    sounds = workplace / "sounds"
    sounds.mkdir(exist_ok=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal((44_100, 2))
    soundfile.write(sounds / "a.flac", noise, 44_100)
    (sounds / "b.wav").write_text("no sound")
    code, out, err = ser_kd("predict", str(run / "export" / "model_int8.onnx"), str(sounds), "format=jsonl")
    assert code == 2
    (line,) = [json.loads(text) for text in out.splitlines()]
    assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)
    assert "b.wav" in err


def test_the_benchmark_measures_run_and_files(ser_kd, workplace, shipped):
    run = shipped
    words = ["engines=eager,onnx_fp32,onnx_int8", "seconds=1", "threads=1", "rounds=5", f"out={workplace / 'measured'}"]
    code, _, err = ser_kd("benchmark", str(run), "teacher=demo/teacher", "scale=tiny", *words)
    assert code == 0, err
    record = BenchmarkRecord.from_json((workplace / "measured" / "benchmark.json").read_text())
    cells = {(cell.system, cell.engine, cell.part) for cell in record.latency}
    assert {("demo/student", "onnx_fp32", part) for part in ("whole", "frontend", "network")} <= cells
    assert any(ratio.what == "latency" for ratio in record.ratios)
    assert (workplace / "measured" / "benchmark.png").is_file()
    card = (run / "export" / "README.md").read_text()
    assert "Not measured yet" not in card
    assert "| demo/student | onnx_int8 | 1 | 1 |" in card


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["precision=[fp31]"], "Unknown precision 'fp31'"),
        (["method=statik"], "Unknown method"),
        (["gates.fp32.ua=0.1"], "Unknown key 'gates.fp32.ua'"),
        (["calibration_clips=0"], "must be positive"),
        (["precison=[fp32]"], "precision"),
        (["push_to_hub=nowhere"], "nowhere to push"),
        (["licences=CC-BY"], "'licences' is a list"),
        (["precision=[]"], "No precision is chosen"),
        (["minimum_s=1000"], "longer than the model's window"),
    ],
)
def test_bad_words_are_told_before_anything_is_written(ser_kd, run, tmp_path, words, told):
    code, _, err = ser_kd("export", f"run={run}", f"out={tmp_path / 'none'}", *words)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "none").exists()


def test_a_new_export_leaves_nothing_of_the_old_one(ser_kd, workplace, shipped, tmp_path):
    run = shipped
    place = tmp_path / "again"
    shutil.copytree(run / "export", place)
    (place / "benchmark.json").write_text("of the old files")
    (place / "mine.txt").write_text("mine")
    code, _, err = ser_kd("export", f"run={run}", f"out={place}", "calibrate=false")
    assert code == 0, err
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "mine.txt", "model_fp32.onnx", "sign_off.json", "sign_off.md"]
    record = ExportRecord.from_json((place / "sign_off.json").read_text())
    assert record.metadata["calibration_temperature"] == 1.0
    assert "fitted on validation" not in (place / "sign_off.md").read_text()
    (tmp_path / "file").write_text("")
    code, _, err = ser_kd("export", f"run={run}", f"out={tmp_path / 'file'}")
    assert code == 2
    assert "cannot be written" in err


def test_a_run_that_trained_on_its_validation_clips_fits_no_temperature(ser_kd, workplace):
    words = [word for word in TRAIN if not word.startswith("trainer.max_epochs")]
    assert ser_kd(*words, "trainer.max_epochs=1", "refit=true", "seed=5")[0] == 0
    (record,) = (workplace / "runs").glob("demo/student/*/fold=0/seed=5/record.json")
    code, _, err = ser_kd("export", f"run={record.parent}")
    assert code == 0, err
    found = ExportRecord.from_json((record.parent / "export" / "sign_off.json").read_text())
    assert found.metadata["calibration_temperature"] == 1.0
    assert "no temperature was fitted" in found.notes[0]
    assert ser_kd("evaluate", f"run={record.parent}", "split=validation")[0] == 2


def test_a_run_that_is_none_or_whose_corpus_changed_is_told(ser_kd, run, tmp_path):
    code, _, err = ser_kd("export", f"run={tmp_path}")
    assert code == 2
    assert "no finished run" in err
    other = tmp_path / "fold=0" / "seed=0"
    shutil.copytree(run, other)
    text = (other / "record.json").read_text()
    fingerprint = json.loads(text)["protocol"]["fingerprint"]
    (other / "record.json").write_text(text.replace(fingerprint, "0" * 12))
    code, _, err = ser_kd("export", f"run={other}")
    assert code == 2
    assert "not the one this run was trained on" in err
