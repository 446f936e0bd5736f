from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_runs import TRIO, FakeRun, change_record, write_run

from ser_kd.contracts.errors import DataError
from ser_kd.reports.ledger import find_probability_columns, find_runs, read_curves, read_predictions


def test_runs_are_found_and_sorted_whatever_their_status(runs_root):
    write_run(runs_root, replace(TRIO[1], seed=2, status="failed", failure="NaN"))
    write_run(runs_root, replace(TRIO[1], seed=1, status="running"))
    ledger = find_runs(runs_root)
    assert [(run.record.experiment, run.record.seed) for run in ledger.runs] == [
        ("wav_to_mfcc/ce_kl", 0),
        ("wav_to_mfcc/student", 0),
        ("wav_to_mfcc/student", 1),
        ("wav_to_mfcc/student", 2),
        ("wav_to_mfcc/teacher_scratch", 0),
    ]
    assert [len(ledger.with_status(status)) for status in ("finished", "failed", "running")] == [3, 1, 1]
    assert ledger.runs[0].name == "wav_to_mfcc/ce_kl/77e0d1f2/fold=0/seed=0"
    assert ledger.faults == ()


def test_an_experiment_without_a_paper_is_found(tmp_path):
    write_run(tmp_path, FakeRun("mine"))
    assert find_runs(tmp_path).experiments() == ["mine"]


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="ser-kd demo"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"schema_version"',
        b"[1, 2]",
        b'{"schema_version": 99}',
        b'{"schema_version": 1, "metrics": {}}',
        b'{"schema_version": 1, "metrics": []}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_record_is_a_fault_and_the_others_stay(runs_root, text):
    folder = write_run(runs_root, FakeRun("wav_to_mfcc/rkd"))
    (folder / "record.json").write_bytes(text)
    ledger = find_runs(runs_root)
    assert len(ledger.runs) == 3
    assert [fault.path for fault in ledger.faults] == ["wav_to_mfcc/rkd/4f1c09ab/fold=0/seed=0/record.json"]
    assert ledger.faults[0].problem
    assert "\n" not in ledger.faults[0].problem


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metrics": {"test/ua": "high"}}, "test/ua is no number"),
        ({"metrics": {"test/ua": 61.2}}, "outside"),
        ({"confusion": {"test": [[1, 2], [3, 4]]}}, "7 x 7"),
        ({"confusion": {"test": [[0.5] * 7] * 7}}, "7 x 7"),
        ({"experiment": 3}, "experiment"),
        ({"seed": "one"}, "seed"),
    ],
)
def test_values_of_the_wrong_kind_are_a_fault(runs_root, changes, told):
    change_record(write_run(runs_root, FakeRun("wav_to_mfcc/rkd")), **changes)
    ledger = find_runs(runs_root)
    assert len(ledger.runs) == 3
    assert told in ledger.faults[0].problem


def test_undefined_metrics_are_no_fault(runs_root):
    folder = write_run(runs_root, FakeRun("wav_to_mfcc/rkd"))
    change_record(folder, metrics={"test/ua": None}, undefined={"test/ua": "no clip"})
    assert len(find_runs(runs_root).runs) == 4


def test_a_run_stopped_before_its_record_is_listed(runs_root):
    folder = runs_root / "wav_to_mfcc/late/abc/fold=0/seed=0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("fold: 0\n")
    assert find_runs(runs_root).faults[0].path == "wav_to_mfcc/late/abc/fold=0/seed=0"


def test_records_inside_a_run_are_not_runs(runs_root):
    folder = next(runs_root.rglob("record.json")).parent
    (folder / "wandb" / "copy").mkdir(parents=True)
    (folder / "wandb" / "copy" / "record.json").write_text((folder / "record.json").read_text())
    assert len(find_runs(runs_root).runs) == 3


def test_selection_by_pattern(runs_root):
    write_run(runs_root, FakeRun("mine"))
    ledger = find_runs(runs_root)
    assert ledger.select(["wav_to_mfcc/*"]).experiments() == ["wav_to_mfcc/ce_kl", "wav_to_mfcc/student", "wav_to_mfcc/teacher_scratch"]
    assert ledger.select(["mine", "*/ce_kl"]).experiments() == ["mine", "wav_to_mfcc/ce_kl"]
    assert ledger.select([]) is ledger


def test_names_in_predictions_stay_text(tmp_path):
    (tmp_path / "predictions.csv").write_text(
        "split,id,speaker,truth,prediction,probability_none,probability_2\ntest,001,01,none,2,0.25,0.75\ntest,NA,01,,none,,\n"
    )
    frame = read_predictions(tmp_path)
    assert frame[["id", "speaker", "truth", "prediction"]].to_numpy().tolist() == [["001", "01", "none", "2"], ["NA", "01", "", "none"]]
    assert frame["probability_2"].iloc[0] == 0.75
    assert find_probability_columns(frame, ["2", "none"]) == ["probability_2", "probability_none"]
    assert find_probability_columns(frame, ["2", "happy"]) is None


def test_predictions_missing_or_damaged(tmp_path):
    assert read_predictions(tmp_path) is None
    (tmp_path / "predictions.csv").write_text("split,id\ntest,1\n")
    with pytest.raises(DataError, match="no column speaker, truth, prediction"):
        read_predictions(tmp_path)
    (tmp_path / "predictions.csv").write_text("split,id,speaker,truth,prediction,probability_a\ntest,1,s,a,a,high\n")
    with pytest.raises(DataError, match=r"predictions\.csv"):
        read_predictions(tmp_path)


def test_sparse_rows_become_one_row_per_epoch(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text(
        "epoch,learning_rate,step,test/ua,train/loss,validation/ua\n"
        "0,0.1,0,,4.0,\n0,,1,,,0.2\n0,,1,,2.0,\n"
        "1,0.05,2,,1.0,\n1,,3,,,0.3\n"
        # the best checkpoint judged after training: no epoch of its own
        "2,,4,,,0.9\n2,,4,0.5,,\n"
    )
    curves = read_curves(tmp_path)
    assert curves.index.tolist() == [1, 2]
    assert curves["train/loss"].tolist() == [3.0, 1.0]
    assert curves["validation/ua"].tolist() == [0.2, 0.3]
    assert "test/ua" not in curves


def test_curves_missing_empty_or_damaged(tmp_path):
    assert read_curves(tmp_path) is None
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "metrics.csv"
    for text in ("", "epoch,step\n", "epoch,step,train/loss\n"):
        path.write_text(text)
        assert read_curves(tmp_path) is None
    path.write_text("step,train/loss\n0,1.0\n")
    with pytest.raises(DataError, match="no column epoch"):
        read_curves(tmp_path)
    path.write_text("epoch,train/loss\n0,much\n")
    with pytest.raises(DataError, match=r"metrics\.csv"):
        read_curves(tmp_path)


def test_records_survive_the_round_trip(runs_root):
    record = find_runs(runs_root).runs[0].record
    assert json.loads(record.to_json())["experiment"] == "wav_to_mfcc/ce_kl"
