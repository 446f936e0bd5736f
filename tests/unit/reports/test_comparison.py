from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_runs import TRIO, change_record, write_run

from ser_kd.contracts.errors import DataError
from ser_kd.reports.answers import count_confusion, read_answers
from ser_kd.reports.comparison import compare_systems
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.ledger import find_runs

STUDENT, DISTILLED = TRIO[1], TRIO[2]
GRID = [(fold, seed) for fold in range(2) for seed in range(2)]


def voices(fold):
    return tuple(f"{sex}{fold}{number}" for number in range(2) for sex in "fm")


def write_grid(root, *runs, keys=GRID):
    return [write_run(root, replace(run, fold=fold, seed=seed, test_speakers=voices(fold))) for run in runs for fold, seed in keys]


def systems_of(root, *experiments):
    runs = find_runs(root).runs
    return [[entry for entry in runs if entry.record.experiment == name] for name in experiments]


def compare(root, *experiments, **options):
    reference, *candidates = systems_of(root, *(experiments or (STUDENT.experiment, DISTILLED.experiment)))
    return compare_systems(reference, candidates, resamples=200, **options)


@pytest.fixture(scope="module")
def grid_root(tmp_path_factory):
    """Three systems on two folds and two seeds; to be read, never changed."""
    root = tmp_path_factory.mktemp("grid")
    write_grid(root, STUDENT, DISTILLED, replace(STUDENT, experiment="wav_to_mfcc/other", skill=0.6))
    return root


def change_predictions(folder, change):
    path = folder / "predictions.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(frame).to_csv(path, index=False)


def test_a_comparison_holds_means_pooled_values_and_tests(grid_root):
    (item,) = compare(grid_root)
    assert (item.runs, item.folds, item.seeds) == (tuple(GRID), [0, 1], [0, 1])
    assert (item.clips, item.speakers) == (2 * 4 * 42, 8)
    for row in (item.reference, item.candidate):
        recorded = [entry.record.metrics["test/f1_macro"] for entry in row.runs]
        told = row.estimate("f1_macro")
        assert (told.mean, told.std) == (pytest.approx(np.mean(recorded)), pytest.approx(np.std(recorded, ddof=1)))
        # pooled: both folds of a seed as one test set, then the mean over seeds
        by_seed = []
        for seed in (0, 1):
            frames = [pd.read_csv(entry.folder / "predictions.csv", dtype=str) for entry in row.runs if entry.record.seed == seed]
            answers = read_answers(pd.concat(frames), item.protocol.classes)
            by_seed.append(float(METRICS["f1_macro"](count_confusion(answers))))
        assert told.interval.value == pytest.approx(np.mean(by_seed))
        assert (told.interval.unit, told.interval.units) == ("speakers", 8)
    difference = item.candidate.estimate("ua").interval.value - item.reference.estimate("ua").interval.value
    assert item.differences["ua"].value == pytest.approx(difference) == pytest.approx(item.permutation.difference)
    assert difference > 0
    assert set(item.differences) == set(METRICS)
    assert list(item.mcnemar) == [0, 1]
    assert (item.holm, item.mcnemar_holm, item.p_value) == (None, {}, item.permutation.p_value)
    assert item.notes == ()


def test_the_other_way_round(grid_root):
    (item,) = compare(grid_root)
    (back,) = compare(grid_root, DISTILLED.experiment, STUDENT.experiment)
    assert back.differences["ua"].value == pytest.approx(-item.differences["ua"].value)
    assert back.permutation.p_value == item.permutation.p_value
    assert [part.p_value for part in back.mcnemar.values()] == [part.p_value for part in item.mcnemar.values()]


def test_equal_systems(tmp_path):
    write_grid(tmp_path, STUDENT, replace(STUDENT, experiment="wav_to_mfcc/twin"))
    (item,) = compare(tmp_path, "wav_to_mfcc/student", "wav_to_mfcc/twin")
    assert (item.differences["ua"].value, item.permutation.p_value) == (0.0, 1.0)
    assert {part.p_value for part in item.mcnemar.values()} == {1.0}


def test_a_second_seed_of_the_same_answers_changes_no_p(tmp_path):
    write_grid(tmp_path, STUDENT, DISTILLED, keys=[(0, 0), (1, 0)])
    (once,) = compare(tmp_path)
    for folder in list(tmp_path.glob("**/seed=0")):
        copy = folder.with_name("seed=1")
        copy.mkdir()
        for name in ("record.json", "predictions.csv"):
            (copy / name).write_text((folder / name).read_text())
        change_record(copy, seed=1)
    (twice,) = compare(tmp_path)
    assert len(twice.runs) == 2 * len(once.runs)
    assert twice.clips == once.clips
    assert twice.permutation == once.permutation
    assert twice.effect == once.effect
    assert twice.differences["ua"] == once.differences["ua"]
    assert [part.p_value for part in twice.mcnemar.values()] == 2 * [once.mcnemar[0].p_value]


def test_several_are_corrected(grid_root):
    first, second = compare(grid_root, STUDENT.experiment, DISTILLED.experiment, "wav_to_mfcc/other")
    raw = [item.permutation.p_value for item in (first, second)]
    assert raw[0] < raw[1]
    assert (first.p_value, second.p_value) == (2 * raw[0], max(2 * raw[0], raw[1]))
    assert first.family == 2
    for seed in (0, 1):
        parts = [item.mcnemar[seed].p_value for item in (first, second)]
        assert parts[0] < parts[1]
        assert first.mcnemar_holm[seed] == 2 * parts[0]
        assert second.mcnemar_holm[seed] == max(2 * parts[0], parts[1])


def test_metric_and_split_are_those_asked_for(grid_root):
    (item,) = compare(grid_root, metric="f1_weighted", split="validation", folds=(0,))
    assert item.permutation.difference == pytest.approx(item.differences["f1_weighted"].value)
    assert (item.split, item.folds, item.clips) == ("validation", [0], 168)
    recorded = [entry.record.metrics["validation/ua"] for entry in item.candidate.runs]
    assert item.candidate.estimate("ua").mean == pytest.approx(np.mean(recorded))
    (test,) = compare(grid_root, folds=(0,))
    assert test.differences["ua"].value != item.differences["ua"].value


def test_means_are_of_the_common_runs_alone(tmp_path):
    write_grid(tmp_path, STUDENT, DISTILLED, keys=[(0, 0)])
    write_run(tmp_path, replace(STUDENT, fold=1, test_speakers=voices(1), skill=0.95))
    (item,) = compare(tmp_path)
    assert len(item.reference.runs) == 1
    assert item.reference.estimate("ua").std is None
    assert item.reference.estimate("ua").mean < 0.7
    assert item.notes == ("left out: fold 1, seed 0 (wav_to_mfcc/student@4f1c09ab finished, wav_to_mfcc/ce_kl@77e0d1f2 has none)",)


def test_overlapping_folds_are_refused(tmp_path):
    for run in (STUDENT, DISTILLED):
        for fold in (0, 1):
            write_run(tmp_path, replace(run, fold=fold, test_speakers=("f01", f"m0{fold}")))
    with pytest.raises(DataError, match=r"folds of wav_to_mfcc/student overlap") as caught:
        compare(tmp_path)
    assert "f01_neutral_00" in caught.value.got
    assert "37 more in folds 0, 1" in caught.value.got
    assert "folds=0" in caught.value.remedy
    assert compare(tmp_path, folds=(1,))[0].clips == 84


def test_a_clip_twice_in_a_fold_is_refused(tmp_path):
    folder = write_grid(tmp_path, STUDENT, DISTILLED, keys=[(0, 0)])[1]
    change_predictions(folder, lambda frame: pd.concat([frame, frame.tail(1)]))
    with pytest.raises(DataError, match="ce_kl has clips twice in fold 0"):
        compare(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.iloc[:-1],
        lambda frame: frame.assign(speaker=frame["speaker"].replace("f00", "f99")),
        lambda frame: frame.assign(truth=frame["truth"].replace("sad", "fear")),
    ],
)
def test_other_clips_speakers_and_labels_are_refused(tmp_path, change):
    folder = write_grid(tmp_path, STUDENT, DISTILLED, keys=[(0, 0)])[1]
    change_predictions(folder, change)
    with pytest.raises(DataError, match="only on the same clips") as caught:
        compare(tmp_path)
    assert "in fold 0, seed 0" in caught.value.got


def test_runs_without_predictions_are_refused(tmp_path):
    folder = write_grid(tmp_path, STUDENT, DISTILLED, keys=[(0, 0)])[0]
    (folder / "predictions.csv").unlink()
    with pytest.raises(DataError, match="wav_to_mfcc/student cannot be compared") as caught:
        compare(tmp_path)
    assert "left no predictions.csv" in caught.value.got


def test_a_record_that_tells_another_story_is_told(tmp_path):
    folder = write_grid(tmp_path, STUDENT, DISTILLED)[1]
    change_record(folder, metrics={"test/ua": 0.9})
    (item,) = compare(tmp_path)
    (note,) = item.notes
    assert "the record says UA 0.9000" in note
    assert note.startswith("wav_to_mfcc/student/4f1c09ab/fold=0/seed=1")


def test_other_protocols_are_refused(tmp_path):
    write_grid(tmp_path, STUDENT, replace(DISTILLED, fingerprint="0ther"), keys=[(0, 0)])
    with pytest.raises(DataError, match="never compared"):
        compare(tmp_path)
