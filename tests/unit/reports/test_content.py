from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import TRIO, FakeRun, change_record, write_run

from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.content import choose_trios, gather_content, tell_result
from ser_kd.reports.gains import find_gains
from ser_kd.reports.leaderboard import name_systems
from ser_kd.reports.ledger import find_runs


def board_of(root):
    return build_boards(find_runs(root), resamples=50)[0]


def tell(board, gains=None):
    return tell_result(board, name_systems(board.rows), find_gains(board, resamples=200) if gains is None else gains)


def test_everything_is_gathered(trio_content):
    (section,) = trio_content.sections
    assert trio_content.title == "wav_to_mfcc"
    assert [len(part) for part in (trio_content.finished, trio_content.failed, trio_content.running, trio_content.faults)] == [3, 0, 0, 0]
    assert len(section.gains) == 1
    assert [figure.kind for figure in section.figures] == ["confusion"] * 3 + ["comparison"] * 3 + ["curves"] * 3
    names = [figure.name for figure in (section.intervals, *section.figures)]
    assert len(set(names)) == len(names) == 10


def test_headline_tells_a_certain_gain(trio_content):
    section = trio_content.sections[0]
    before, after = (f"{row.estimate('ua').mean:.3f}" for row in section.board.rows[1:])
    assert section.gains[0].is_certain
    assert section.headline == f"Distillation lifts the student from {before} to {after} UA."
    assert "84 utterances." in section.detail
    assert "guessing would give 0.143" in section.detail


@pytest.mark.parametrize(
    ("ends", "head", "rest"),
    [
        ((-0.02, -0.01), "takes the student down", "84 utterances."),
        ((-0.02, 0.03), "Distilled, the student reaches", "holds zero"),
        ((0.01, 0.03), "lifts", "84 utterances."),
    ],
)
def test_headline_never_promises_more_than_the_interval(trio_content, ends, head, rest):
    section = trio_content.sections[0]
    interval = replace(section.gains[0].interval, value=sum(ends) / 2, low=ends[0], high=ends[1])
    headline, detail = tell(section.board, [replace(section.gains[0], interval=interval)])
    assert head in headline
    assert rest in detail


def test_headline_over_common_folds_says_which(runs_root):
    write_run(runs_root, replace(TRIO[1], fold=1, skill=0.9))
    board = board_of(runs_root)
    headline, detail = tell(board)
    (gain,) = find_gains(board, resamples=100)
    assert f"{gain.before:.3f}" in headline
    assert "on fold 0, which both ran" in detail


def test_headline_of_the_gain_chosen_by_validation(runs_root):
    lucky = write_run(runs_root, replace(TRIO[2], experiment="wav_to_mfcc/lucky", skill=0.95))
    record = next(run.record for run in find_runs(runs_root).runs if run.folder == lucky)
    change_record(lucky, metrics=record.metrics | {"validation/ua": 0.01})
    headline, _ = tell(board_of(runs_root))
    assert f"{record.metrics['test/ua']:.3f}" not in headline


def test_headline_without_students(tmp_path):
    folder = write_run(tmp_path, FakeRun("mine"))
    board = board_of(tmp_path)
    assert tell(board) == (f"mine reaches {board.rows[0].estimate('ua').mean:.3f} UA.", "Guessing would give 0.143.")
    (folder / "predictions.csv").unlink()
    change_record(folder, metrics={})
    assert tell(board_of(tmp_path))[0] == "No system has a test UA yet."


def test_a_trio_is_chosen_by_validation(runs_root):
    write_run(runs_root, replace(TRIO[2], experiment="wav_to_mfcc/better", skill=0.9))
    trios = choose_trios(board_of(runs_root))
    assert [row.variant for row in trios["wav_to_mfcc"]] == ["teacher_scratch", "student", "better"]


def test_failed_running_and_unreadable_runs_are_kept(runs_root):
    write_run(runs_root, FakeRun("mine", status="failed", failure="NaN"))
    write_run(runs_root, FakeRun("other", status="running"))
    (write_run(runs_root, FakeRun("third")) / "record.json").write_text("{")
    next(runs_root.glob("wav_to_mfcc/student/**/metrics.csv")).write_text("broken")
    content = gather_content(find_runs(runs_root), resamples=50)
    assert [run.record.experiment for run in content.failed + content.running] == ["mine", "other"]
    assert [fault.path.split("/")[0] for fault in content.faults] == ["third", "wav_to_mfcc"]
    assert "curves_alone" not in " ".join(figure.name for figure in content.sections[0].figures)


def test_nothing_finished_is_an_empty_report(tmp_path):
    write_run(tmp_path, FakeRun("mine", status="failed"))
    content = gather_content(find_runs(tmp_path), resamples=50)
    assert content.sections == ()
    assert content.title == "All experiments"


def test_a_foreign_teacher_has_its_matrix_beside_the_student(tmp_path):
    write_run(tmp_path, TRIO[2])
    content = gather_content(find_runs(tmp_path), resamples=50)
    assert [figure.name for figure in content.sections[0].figures][:2] == ["1-1_confusion_teacher", "1-1_confusion_distilled"]
