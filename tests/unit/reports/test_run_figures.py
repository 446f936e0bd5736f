from __future__ import annotations

import pandas as pd
import pytest
from fake_runs import TRIO, change_record

from ser_kd.reports.ledger import find_runs, read_curves, read_predictions
from ser_kd.reports.run_figures import describe_group, draw_run_figures, find_confidence, write_run_figures


def distilled(runs_root):
    return next(run for run in find_runs(runs_root).runs if run.record.teachers)


def test_a_run_gets_its_figures(runs_root):
    run = distilled(runs_root)
    written = write_run_figures(run.folder, run.record)
    names = {path.name for path in written}
    assert names == {path.name for path in (run.folder / "figures").iterdir()}
    stems = {"confusion_test", "teacher_confusion_test", "learning_curves", "recalls_test", "reliability_test", "groups_test"}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}


def test_what_is_missing_is_left_out(runs_root):
    run = distilled(runs_root)
    assert set(draw_run_figures(run.record, None, None)) == {"confusion_test", "teacher_confusion_test", "recalls_test", "groups_test"}
    change_record(run.folder, confusion={}, teacher_confusion={}, metrics={})
    bare = distilled(runs_root).record
    assert set(draw_run_figures(bare, read_predictions(run.folder), read_curves(run.folder))) == {"learning_curves"}


def test_confidence_is_the_largest_probability():
    frame = pd.DataFrame(
        {"truth": ["a", "b", ""], "prediction": ["a", "a", "b"], "probability_a": [0.9, 0.6, 0.1], "probability_b": [0.1, 0.4, 0.9]}
    )
    confidence, correct = find_confidence(frame, ["a", "b"])
    assert confidence.tolist() == [0.9, 0.6]
    assert correct.tolist() == [True, False]
    assert find_confidence(frame, ["a", "c"]) is None
    assert find_confidence(frame[2:], ["a", "b"]) is None
    assert find_confidence(frame.assign(probability_a=float("nan"), probability_b=float("nan")), ["a", "b"]) is None


@pytest.mark.parametrize(("name", "told"), [("gender=female", "gender: female"), ("intensity=very_strong", "intensity: very strong")])
def test_group_names(name, told):
    assert describe_group(name) == told


def test_the_trio_has_one_distilled_run():
    assert [run.teacher is not None for run in TRIO] == [False, False, True]
