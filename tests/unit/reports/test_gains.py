from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import TRIO, change_record, write_run

from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.gains import choose_by_validation, find_gains, find_teacher
from ser_kd.reports.ledger import find_runs


def board_of(root):
    return build_boards(find_runs(root), resamples=100)[0]


def test_gain_is_the_paired_difference(runs_root):
    board = board_of(runs_root)
    (gain,) = find_gains(board, resamples=500)
    assert (gain.distilled.variant, gain.alone.variant, gain.teacher.variant) == ("ce_kl", "student", "teacher_scratch")
    difference = gain.distilled.estimate("ua").mean - gain.alone.estimate("ua").mean
    assert gain.interval.value == pytest.approx(difference)
    assert gain.after - gain.before == pytest.approx(difference)
    assert gain.is_certain == (gain.interval.low > 0)


def test_only_common_folds_count(runs_root):
    write_run(runs_root, replace(TRIO[1], fold=1, skill=0.9))
    board = board_of(runs_root)
    (gain,) = find_gains(board, resamples=100)
    assert gain.folds == (0,)
    assert gain.interval.units == 84
    assert gain.before < gain.alone.estimate("ua").mean


def test_the_sister_has_the_same_parameters_and_the_best_validation(runs_root):
    write_run(
        runs_root, replace(TRIO[1], experiment="wav_to_mfcc/larger", identity="1a", skill=0.9, parameters=(("trainable", 9), ("total", 9)))
    )
    weak = write_run(runs_root, replace(TRIO[1], identity="99", skill=0.3))
    (gain,) = find_gains(board_of(runs_root), resamples=100)
    assert gain.alone.identity == "4f1c09ab"
    change_record(weak, metrics={"test/ua": 0.3, "validation/ua": 0.99})
    (gain,) = find_gains(board_of(runs_root), resamples=100)
    assert gain.alone.identity == "99"


def test_no_sister_no_gain(runs_root):
    for path in runs_root.glob("wav_to_mfcc/student/**/predictions.csv"):
        path.unlink()
    assert find_gains(board_of(runs_root)) == []
    for path in runs_root.glob("wav_to_mfcc/student/**/record.json"):
        path.unlink()
    assert find_gains(board_of(runs_root)) == []


def test_other_clips_no_gain(runs_root):
    path = next(runs_root.glob("wav_to_mfcc/student/**/predictions.csv"))
    path.write_text(path.read_text().replace("_00", "_77"))
    assert find_gains(board_of(runs_root)) == []


def test_the_teacher_is_the_training_that_the_record_points_at(runs_root):
    other = write_run(runs_root, replace(TRIO[0], identity="b2b2", skill=0.6))
    student = next(runs_root.glob("wav_to_mfcc/ce_kl/**/record.json")).parent
    board = board_of(runs_root)
    distilled = next(row for row in board.rows if row.role == "distilled")
    assert find_teacher(board, distilled).identity == "a1b2c3d4"
    teacher = {"name": "t", "experiment": "wav_to_mfcc/teacher_scratch", "run": other.relative_to(runs_root).as_posix()}
    change_record(student, teachers=[{**teacher, "protocol_fingerprint": None, "trained_on": [], "parameters": 1, "metrics": {}}])
    board = board_of(runs_root)
    distilled = next(row for row in board.rows if row.role == "distilled")
    assert find_teacher(board, distilled).identity == "b2b2"
    assert find_teacher(board, next(row for row in board.rows if row.role == "alone")) is None


def test_choice_is_by_validation_and_never_by_test(runs_root):
    board = board_of(runs_root)
    first, second = (replace(row, validation_score=value) for row, value in zip(board.rows[:2], (0.2, 0.6), strict=True))
    assert first.estimate("ua").mean > second.estimate("ua").mean
    assert choose_by_validation([first, second]) is second
    unknown = replace(first, validation_score=float("nan"))
    assert choose_by_validation([unknown, second]) is second
    assert choose_by_validation([]) is None
