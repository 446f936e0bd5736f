from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import TRIO, FakeRun, change_record, write_run

from ser_kd.contracts.errors import DataError
from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.ledger import find_runs
from ser_kd.reports.published import compare_published, find_published, read_published

HEAD = "model,variant,metric,value,unit,source,note"


def write(root, *lines, paper="wav_to_mfcc", head=HEAD):
    folder = root / paper
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "published.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def compare(runs_root, experiments):
    figures, faults = find_published([experiments])
    assert faults == []
    table = compare_published(figures, build_boards(find_runs(runs_root), resamples=50))["wav_to_mfcc"]
    return [dict(zip([column.name for column in table.columns], row, strict=True)) for row in table.rows]


def test_ours_stands_beside_in_the_published_unit(runs_root, tmp_path):
    write(
        tmp_path / "e",
        "Student,student,wa,78.67,%,slides,fold 0",
        "Student,student,parameters/total,245235,count,slides,",
        "Student,student,test/f1_macro,0.80,share,slides,",
        "Student,student,multiply_accumulates,0.0442,G,slides,",
        "Student,student,timings/fit_s,60000,ms,slides,",
        "Student,student,epochs/run,500,count,slides,",
    )
    record = next(run.record for run in find_runs(runs_root).runs if run.record.experiment.endswith("/student"))
    accuracy, parameters, f1, macs, timing, epochs = compare(runs_root, tmp_path / "e")
    assert accuracy["published"] == "78.67 %"
    assert accuracy["ours"] == f"{100 * record.metrics['test/wa']:.2f} %"
    assert accuracy["difference"] == f"{100 * record.metrics['test/wa'] - 78.67:+.2f} points".replace("-", "−")
    assert accuracy["ours measured on"] == "demo_sessions5, fold 0"
    assert (parameters["published"], parameters["ours"], parameters["difference"]) == ("245,235", "245,235", "+0")
    assert f1["ours"] == f"{record.metrics['test/f1_macro']:.2f}"
    assert macs["ours"] == "0.0413 G"
    assert timing["ours"] == "61,400 ms"
    assert epochs["difference"] == "−470"


def test_unknown_stays_empty_and_never_becomes_a_number(runs_root, tmp_path):
    write(
        tmp_path / "e",
        "Student,student,ua,,%,,not published",
        "Teacher,,wa,84.00,%,slides,",
        "Student,gone,wa,1,%,,",
        "Student,student,latency/cpu,2,ms,,",
    )
    unknown, teacher, gone, latency = compare(runs_root, tmp_path / "e")
    assert unknown["published"] == unknown["difference"] == ""
    assert unknown["ours"].endswith(" %")
    assert teacher["ours"] == teacher["difference"] == teacher["ours measured on"] == ""
    assert gone["ours"] == ""
    assert latency["ours"] == latency["difference"] == latency["ours measured on"] == ""


def test_a_figure_with_a_corpus_meets_only_runs_on_it(runs_root, tmp_path):
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,,ravdess", head=HEAD + ",corpus")
    assert [row["ours"] for row in compare(runs_root, tmp_path / "e")] == [""]
    write_run(runs_root, replace(TRIO[1], identity="0f", corpus="ravdess", protocol="ravdess_actors5", fingerprint="9c"))
    (row,) = compare(runs_root, tmp_path / "e")
    assert row["ours measured on"] == "ravdess_actors5, fold 0"


def test_each_protocol_has_its_own_row(runs_root, tmp_path):
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,")
    write_run(runs_root, replace(TRIO[1], identity="0f", corpus="mine", fingerprint="9c"))
    assert [row["ours measured on"] for row in compare(runs_root, tmp_path / "e")] == [
        "demo_sessions5, fold 0",
        "mine, demo_sessions5, fold 0",
    ]


def test_several_folds_show_their_spread(tmp_path):
    for fold in range(2):
        write_run(tmp_path / "r", FakeRun(fold=fold))
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,")
    (row,) = compare(tmp_path / "r", tmp_path / "e")
    assert " ± " in row["ours"]
    assert row["ours measured on"].endswith("2 (folds 0, 1)")


def test_only_papers_with_a_run_are_shown(runs_root, tmp_path):
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,")
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,", paper="wav2small")
    figures, _ = find_published([tmp_path / "e"])
    assert {figure.paper for figure in figures} == {"wav_to_mfcc", "wav2small"}
    assert list(compare_published(figures, build_boards(find_runs(runs_root), resamples=50))) == ["wav_to_mfcc"]


def test_the_first_root_counts(tmp_path):
    write(tmp_path / "mine", "Mine,student,wa,1,%,,")
    write(tmp_path / "shipped", "Shipped,student,wa,1,%,,")
    figures, _ = find_published([tmp_path / "mine", tmp_path / "shipped"])
    assert [figure.model for figure in figures] == ["Mine"]


@pytest.mark.parametrize(
    ("lines", "head", "told"),
    [
        (["Student,student,wa"], "model,variant,metric", "no value, unit, source, note"),
        (["Student,student,wa,much,%,slides,"], HEAD, "'much' in row 1"),
        (["Student,student,wa,1,%,slides,a,b"], HEAD, "row 1"),
        (["Student,student,wa,1"], HEAD, "row 1"),
    ],
)
def test_a_broken_file_is_told_and_the_others_are_read(tmp_path, lines, head, told):
    folder = write(tmp_path, *lines, head=head)
    with pytest.raises(DataError, match=r"published\.csv"):
        read_published(folder)
    write(tmp_path, "Other,x,wa,1,%,,", paper="zz")
    figures, faults = find_published([tmp_path])
    assert [figure.model for figure in figures] == ["Other"]
    assert faults[0].path == "wav_to_mfcc/published.csv"
    assert told in faults[0].problem


def test_a_folder_without_figures_is_nothing_special(tmp_path):
    assert read_published(tmp_path) == []


def test_an_undefined_metric_of_ours_stays_empty(runs_root, tmp_path):
    write(tmp_path / "e", "Student,student,wa,78.67,%,slides,")
    change_record(next(runs_root.glob("wav_to_mfcc/student/**/record.json")).parent, metrics={"test/wa": None})
    (row,) = compare(runs_root, tmp_path / "e")
    assert row["ours"] == row["difference"] == ""
