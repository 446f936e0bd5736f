from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from fake_runs import TRIO, FakeRun, change_record, write_run

from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.gains import find_gains
from ser_kd.reports.leaderboard import (
    describe_folds,
    format_estimate,
    gain_table,
    leaderboard,
    leaderboard_numbers,
    leaderboards,
    name_systems,
)
from ser_kd.reports.ledger import find_runs
from ser_kd.reports.tables import render_csv


def cells(table, row):
    return dict(zip([column.name for column in table.columns], table.rows[row], strict=True))


def test_the_demo_table(runs_root):
    (table,) = leaderboards(find_runs(runs_root))
    row = cells(table, 2)
    record = find_runs(runs_root).runs[0].record
    assert row["model"] == "ce_kl"
    assert row["role"] == "student distilled"
    assert row["UA"].startswith(f"{record.metrics['test/ua']:.3f} [0.")
    assert row["UA"].endswith("]")
    assert row["chance"] == "0.143"
    assert row["WA"] == f"{record.metrics['test/wa']:.3f}"
    assert row["F1 weighted"] == f"{record.metrics['test/f1_weighted']:.3f}"
    assert (row["trainable"], row["parameters"]) == ("241,395", "245,235")
    assert (row["agreement"], row["epochs"]) == ("0.710", "30")
    assert cells(table, 0)["agreement"] == "—"
    assert any("2000 resamples of 84 utterances within each class" in note for note in table.notes)
    assert leaderboards(find_runs(runs_root)) == [table]


def test_experiments_are_chosen_by_pattern(runs_root):
    (table,) = leaderboards(find_runs(runs_root), ["*/student"])
    assert [row[0] for row in table.rows] == ["student"]


def test_several_runs_show_their_spread_and_the_pooled_value(tmp_path):
    for fold in range(3):
        for seed in range(2):
            write_run(tmp_path, FakeRun(fold=fold, seed=seed, test_speakers=(f"a{fold}", f"b{fold}")))
    (table,) = leaderboards(find_runs(tmp_path))
    row = cells(table, 0)
    assert " ± 0.0" in row["UA"]
    assert row["runs"] == "6 (folds 0–2, 2 seeds)"
    assert "[0." in row["UA pooled"]
    assert any("6 speakers; with so few" in note for note in table.notes)


def test_other_protocols_have_their_own_table(runs_root):
    write_run(runs_root, replace(TRIO[1], identity="0f", fingerprint="0ther"))
    tables = leaderboards(find_runs(runs_root))
    assert [len(table.rows) for table in tables] == [3, 1]
    assert "0ther" in tables[1].title


def test_selected_on_test_is_loud(tmp_path):
    write_run(tmp_path, FakeRun(selection="test"))
    (table,) = leaderboards(find_runs(tmp_path))
    assert table.rows[0][0] == "student (selected on test)"
    assert table.notes[0].startswith("SELECTED ON TEST")


def test_refit_is_told(tmp_path):
    write_run(tmp_path, FakeRun(selection="refit"))
    (table,) = leaderboards(find_runs(tmp_path))
    assert table.rows[0][0] == "student (refit)"
    assert any(note.startswith("Refit") for note in table.notes)


def test_units_are_told_apart_and_warnings_shown(runs_root):
    path = next(runs_root.glob("wav_to_mfcc/student/**/predictions.csv"))
    path.unlink()
    change_record(path.parent, undefined={"test/ccc": "no dimension"}, metrics={"test/ua": 0.5, "test/ccc": None})
    (table,) = leaderboards(find_runs(runs_root))
    assert cells(table, 1)["UA"] == "0.500"
    assert any("student: no interval" in note for note in table.notes)
    assert "student: ccc is undefined: no dimension." in table.notes


def test_protocol_warnings_stand_below_the_table(tmp_path):
    write_run(tmp_path, FakeRun(warnings=("one pair is identical",)))
    assert "one pair is identical" in leaderboards(find_runs(tmp_path))[0].notes


def test_names_are_brief_and_never_equal(runs_root):
    write_run(runs_root, replace(TRIO[1], identity="99ffaa00"))
    rows = build_boards(find_runs(runs_root), resamples=50)[0].rows
    assert name_systems(rows) == ["teacher_scratch", "student 4f1c09", "student 99ffaa", "ce_kl"]
    assert name_systems([*rows[:1], replace(rows[3], experiment="other/ce_kl")]) == ["wav_to_mfcc/teacher_scratch", "other/ce_kl"]


def test_numbers_for_programs_are_exact(runs_root):
    boards = build_boards(find_runs(runs_root), resamples=50)
    rows = list(csv.DictReader(render_csv(leaderboard_numbers(boards)).splitlines()))
    record = find_runs(runs_root).runs[0].record
    assert float(rows[2]["ua"]) == record.metrics["test/ua"]
    assert float(rows[2]["ua_low"]) == boards[0].rows[2].estimate("ua").interval.low
    assert (rows[2]["fingerprint"], rows[2]["resampled"], rows[2]["ua_std"], rows[0]["teacher_agreement"]) == (
        "d3m0a71c",
        "84 utterances",
        "",
        "",
    )


def test_gain_table(runs_root):
    gains = find_gains(build_boards(find_runs(runs_root), resamples=50)[0], resamples=200)
    table = gain_table(gains)
    assert table.rows[0][:2] == ("wav_to_mfcc/ce_kl", "wav_to_mfcc/student")
    assert table.rows[0][2] == f"{100 * gains[0].interval.value:+.1f}"
    assert "84 utterances" in table.notes[0]


@pytest.mark.parametrize(
    ("folds", "told"), [((0,), "fold 0"), ((0, 1), "2 (folds 0, 1)"), ((0, 1, 2), "3 (folds 0–2)"), ((0, 2, 3), "3 (folds 0, 2, 3)")]
)
def test_folds(tmp_path, folds, told):
    for fold in folds:
        write_run(tmp_path, FakeRun(fold=fold))
    assert describe_folds(build_boards(find_runs(tmp_path), resamples=50)[0].rows[0]) == told


def test_an_estimate_in_brief_leaves_the_interval_out(runs_root):
    told = build_boards(find_runs(runs_root), resamples=50)[0].rows[0].estimate("ua")
    assert format_estimate(told, brief=True) == f"{told.mean:.3f}"
    assert format_estimate(told).startswith(f"{told.mean:.3f} [")


def test_a_board_renders_without_epochs_or_parameters(tmp_path):
    folder = write_run(tmp_path, FakeRun())
    change_record(folder, epochs={}, parameters={})
    (table,) = [leaderboard(board) for board in build_boards(find_runs(tmp_path), resamples=50)]
    assert cells(table, 0)["epochs"] == cells(table, 0)["parameters"] == "—"
