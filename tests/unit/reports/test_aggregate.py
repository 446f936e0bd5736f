from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import EMOTIONS, TRIO, FakeRun, change_record, make_predictions, make_record, write_run

from ser_kd.reports.aggregate import build_boards, guess_chance, name_role, summarise_system
from ser_kd.reports.answers import count_confusion, read_answers
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.gains import find_teacher
from ser_kd.reports.ledger import find_runs


def boards_of(root):
    return build_boards(find_runs(root), resamples=100)


def find_row(board, experiment):
    return next(row for row in board.rows if row.experiment == experiment)


def test_rows_stand_by_role_with_value_and_interval(runs_root):
    (board,) = boards_of(runs_root)
    assert [(row.variant, row.role) for row in board.rows] == [("teacher_scratch", "teacher"), ("student", "alone"), ("ce_kl", "distilled")]
    row = board.rows[1]
    recorded = row.runs[0].record.metrics["test/ua"]
    told = row.estimate("ua")
    assert (told.mean, told.std, told.runs) == (recorded, None, 1)
    assert told.interval.value == pytest.approx(recorded)
    assert told.interval.low < recorded < told.interval.high
    assert told.interval.unit == "utterances"
    assert row.confusion.sum() == 84
    assert set(row.predictions["split"]) == {"test"}
    assert row.parameters == {"trainable": 241_395, "total": 245_235}


def test_several_runs_become_mean_and_deviation_and_a_pooled_interval(tmp_path):
    for fold in range(3):
        write_run(tmp_path, FakeRun(fold=fold, test_speakers=(f"a{fold}", f"b{fold}")))
    (board,) = boards_of(tmp_path)
    (row,) = board.rows
    values = [run.record.metrics["test/ua"] for run in row.runs]
    told = row.estimate("ua")
    assert len(set(values)) == 3
    assert told.mean == pytest.approx(np.mean(values))
    assert told.std == pytest.approx(np.std(values, ddof=1))
    assert (told.interval.unit, told.interval.units) == ("speakers", 6)
    assert row.confusion.sum() == 3 * 84
    assert row.folds == [0, 1, 2]
    assert [protocol.fold for protocol in board.protocols] == [0, 1, 2]


def test_other_protocols_and_identities_are_never_averaged(runs_root):
    write_run(runs_root, replace(TRIO[1], fold=1, fingerprint="0ther"))
    write_run(runs_root, replace(TRIO[1], fold=1, identity="0123abcd"))
    boards = boards_of(runs_root)
    assert [board.protocol.fingerprint for board in boards] == ["d3m0a71c", "0ther"]
    assert [(row.variant, row.identity, len(row.runs)) for row in boards[0].rows if row.role == "alone"] == [
        ("student", "0123abcd", 1),
        ("student", "4f1c09ab", 1),
    ]
    assert all(row.estimate("ua").std is None for board in boards for row in board.rows)


def test_only_finished_runs_count(runs_root):
    write_run(runs_root, replace(TRIO[1], seed=1, status="failed"))
    write_run(runs_root, replace(TRIO[1], seed=2, status="running"))
    assert len(find_row(boards_of(runs_root)[0], "wav_to_mfcc/student").runs) == 1


def test_roles():
    def role(run, taught=()):
        return name_role(make_record(run, make_predictions(run)), frozenset(taught))

    assert role(FakeRun("mine")) == "alone"
    assert role(FakeRun("mine"), ["mine"]) == "teacher"
    assert role(FakeRun("paper/teacher_scratch")) == "teacher"
    assert role(FakeRun("paper/teacher_scratch", teacher="paper/other"), ["paper/teacher_scratch"]) == "distilled"


def test_a_teacher_without_a_run_is_told_from_its_students(tmp_path):
    folder = write_run(tmp_path, TRIO[2])
    (board,) = boards_of(tmp_path)
    row = find_row(board, "wav_to_mfcc/teacher_scratch")
    assert (row.role, row.runs, row.parameters) == ("teacher", (), {"total": 11_182_031})
    assert row.estimate("ua").mean == 0.74
    assert row.confusion.sum() == 84
    assert row.estimate("wa").mean == pytest.approx(np.trace(row.confusion) / 84)
    assert "students' records" in row.notes[0]
    teacher = {"name": "hub", "experiment": None, "run": None, "protocol_fingerprint": None, "trained_on": ["unknown"]}
    change_record(folder, teachers=[{**teacher, "parameters": 5, "metrics": {"test/ua": None}}], teacher_confusion={})
    (board,) = boards_of(tmp_path)
    row = find_row(board, "wav_to_mfcc/hub")
    assert math.isnan(row.estimate("ua").mean)
    assert "which speakers its teacher hub was trained on is unknown" in find_row(board, "wav_to_mfcc/ce_kl").notes


def test_a_teacher_of_another_protocol_is_told(tmp_path):
    folder = write_run(tmp_path, TRIO[2])
    teacher = {"name": "t", "experiment": "x/t", "run": None, "protocol_fingerprint": "abc", "trained_on": ["f02"], "parameters": 5}
    change_record(folder, teachers=[{**teacher, "metrics": {}}])
    (board,) = boards_of(tmp_path)
    assert "another protocol (abc)" in find_row(board, "wav_to_mfcc/ce_kl").notes[0]


def test_record_and_predictions_that_disagree_have_no_interval(runs_root):
    folder = find_runs(runs_root).runs[0].folder
    change_record(folder, metrics={"test/ua": 0.1, "test/wa": float(find_runs(runs_root).runs[0].record.metrics["test/wa"])})
    row = find_row(boards_of(runs_root)[0], "wav_to_mfcc/ce_kl")
    assert row.estimate("ua").interval is None
    assert row.estimate("wa").interval is not None
    assert "the record says 0.1000" in row.notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "left no predictions"),
        ("split\ntest\n", "is damaged"),
        ("split,id,speaker,truth,prediction\ntest,1,s,sad,bored\n", "do not fit"),
    ],
)
def test_without_predictions_the_value_stands_alone(runs_root, text, told):
    path = find_runs(runs_root).runs[0].folder / "predictions.csv"
    path.unlink() if text is None else path.write_text(text)
    row = find_row(boards_of(runs_root)[0], "wav_to_mfcc/ce_kl")
    assert row.estimate("ua").interval is None
    assert row.estimate("ua").mean > 0
    assert any(told in note for note in row.notes)


def test_undefined_keeps_its_reason(runs_root):
    folder = find_runs(runs_root).runs[0].folder
    change_record(folder, metrics={"test/ua": None}, undefined={"test/ua": "no clip with a class"})
    told = find_row(boards_of(runs_root)[0], "wav_to_mfcc/ce_kl").estimate("ua")
    assert math.isnan(told.mean)
    assert told.reason == "no clip with a class"


def test_chance_is_one_over_classes_and_the_largest_share():
    run = FakeRun()
    protocol = make_record(run, make_predictions(run)).protocol
    protocol.class_counts = {"test": [6, 3, 1, 0, 0, 0, 0]}
    assert guess_chance(protocol, None) == {"ua": pytest.approx(1 / 7), "wa": pytest.approx(0.6)}
    protocol.class_counts = {}
    assert guess_chance(protocol, np.array([[1, 1], [0, 2]]))["wa"] == pytest.approx(0.5)
    assert "wa" not in guess_chance(protocol, None)


def test_rows_of_different_folds_are_told(runs_root):
    write_run(runs_root, replace(TRIO[1], fold=1))
    (board,) = boards_of(runs_root)
    assert "same folds" in board.notes[0]


def test_an_experiment_without_paper_has_a_name_all_the_same(tmp_path):
    write_run(tmp_path, FakeRun("mine", classes=EMOTIONS[:2]))
    (board,) = boards_of(tmp_path)
    assert (board.rows[0].paper, board.rows[0].variant) == ("", "mine")
    assert board.chance["ua"] == 0.5


def test_an_ensemble_stands_beside_its_members_as_one_teacher(tmp_path):
    folder = write_run(tmp_path, TRIO[2])
    record = json.loads((folder / "record.json").read_text())
    members = [{**record["teachers"][0], "name": name, "parameters": size, "weight": 0.5} for name, size in (("one", 5), ("two", 7))]
    told = {"test/teacher_ua": 0.8, "validation/teacher_ua": 0.7, "test/teacher_agreement": 0.6}
    teaching = {"weights": "per_class", "combine": "probabilities", "calibrate": True, "answers": "all"}
    change_record(folder, teachers=members, teaching=teaching, metrics=record["metrics"] | told)
    (board,) = build_boards(find_runs(tmp_path), resamples=100)
    row = next(row for row in board.rows if "ensemble" in row.experiment)
    assert row.experiment == "wav_to_mfcc/ensemble of one, two (per class, calibrate)"
    assert (row.role, row.estimate("ua").mean, row.validation_score, row.parameters) == ("teacher", 0.8, 0.7, {"total": 12})
    assert "agreement" not in row.estimates
    assert row.confusion.tolist() == record["teacher_confusion"]["test"]
    assert find_teacher(board, next(other for other in board.rows if other.role == "distilled")) is row


def test_an_ensemble_that_several_students_met_counts_once(tmp_path):
    for number, (experiment, fold, seed, score) in enumerate(
        [("a", 0, 0, 0.8), ("a", 0, 1, 0.8), ("b", 0, 0, 0.8), ("a", 1, 0, 0.6), ("b", 2, 0, 0.4)]
    ):
        folder = write_run(
            tmp_path, FakeRun(f"paper/{experiment}", fold=fold, seed=seed, teacher="paper/t", test_speakers=(f"s{number}", "z"))
        )
        record = json.loads((folder / "record.json").read_text())
        members = [{**record["teachers"][0], "name": f"m{seed}", "run": f"t/fold={fold}/seed={seed}"} for seed in range(9)]
        change_record(folder, teachers=members, metrics=record["metrics"] | {"test/teacher_ua": score})
    (board,) = build_boards(find_runs(tmp_path), resamples=100)
    (row,) = [row for row in board.rows if "ensemble" in row.experiment]
    assert row.variant == "ensemble of 9 teachers"
    assert row.estimate("ua").mean == pytest.approx(0.6)
    assert row.estimate("ua").std == pytest.approx(0.2)


def test_a_teacher_with_speakers_withheld_says_so(tmp_path):
    folder = write_run(tmp_path, TRIO[0])
    protocol = json.loads((folder / "record.json").read_text())["protocol"]
    change_record(folder, protocol=protocol | {"withheld": ["f03", "m03"]})
    (board,) = build_boards(find_runs(tmp_path), resamples=100)
    assert "trained without speakers f03, m03, to answer for them unseen" in board.rows[0].notes


def test_one_summary_for_a_board_and_for_whoever_asks(tmp_path):
    for fold in range(2):
        for seed in range(2):
            write_run(tmp_path, FakeRun(fold=fold, seed=seed, test_speakers=(f"a{fold}", f"b{fold}")))
    ledger = find_runs(tmp_path)
    row = summarise_system(ledger.runs, resamples=100)
    assert row.estimates == build_boards(ledger, resamples=100)[0].rows[0].estimates
    told = row.estimate("f1_macro")
    by_seed = [row.predictions[row.predictions["seed"] == seed] for seed in (0, 1)]
    pooled = [float(METRICS["f1_macro"](count_confusion(read_answers(part, EMOTIONS)))) for part in by_seed]
    assert told.interval.value == pytest.approx(np.mean(pooled))
    assert row.notes == ()
    validation = summarise_system(ledger.runs, split="validation", resamples=100)
    assert set(validation.predictions["split"]) == {"validation"}
    assert validation.estimate("ua").mean == pytest.approx(row.validation_score)


def test_folds_count_alike_however_many_seeds_they_have(tmp_path):
    for fold, seed in ((0, 0), (1, 0), (0, 1), (0, 2)):
        write_run(tmp_path, FakeRun(fold=fold, seed=seed, test_speakers=(f"a{fold}", f"b{fold}")))
    ledger = find_runs(tmp_path)
    row = summarise_system(ledger.runs, resamples=100)
    told = {(run.record.protocol.fold, run.record.seed): run.record.metrics["test/ua"] for run in ledger.runs}
    folds = [np.mean([told[0, 0], told[0, 1], told[0, 2]]), told[1, 0]]
    assert row.estimate("ua").mean == pytest.approx(np.mean(folds))
    assert row.estimate("ua").std == pytest.approx(np.std(folds, ddof=1))
    frame = row.predictions
    sets = [frame[(frame["fold"] == 1) | (frame["seed"] == seed)] for seed in range(3)]
    pooled = [float(METRICS["ua"](count_confusion(read_answers(part, EMOTIONS)))) for part in sets]
    assert row.estimate("ua").interval.value == pytest.approx(np.mean(pooled))
    assert row.notes == ("its folds do not have the same seeds: the seeds of a fold are averaged first, so that folds count alike",)
