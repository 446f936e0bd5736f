from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import TRIO, FakeRun, make_predictions, make_record

from ser_kd.contracts.errors import DataError
from ser_kd.reports.ledger import RunEntry
from ser_kd.reports.run_pairs import check_comparable, name_some, name_system, pair_runs

STUDENT, DISTILLED = TRIO[1], TRIO[2]


def entry(tmp_path, run: FakeRun, name="somewhere") -> RunEntry:
    return RunEntry(make_record(run, make_predictions(run)), tmp_path, name)


def entries(tmp_path, run: FakeRun, *keys, **changes) -> list[RunEntry]:
    return [entry(tmp_path, replace(run, fold=fold, seed=seed, **changes)) for fold, seed in keys]


def test_pairs_are_fold_and_seed_and_the_rest_is_told(tmp_path):
    reference = entries(tmp_path, STUDENT, (0, 0), (1, 0), (2, 0), (0, 1))
    candidate = entries(tmp_path, DISTILLED, (1, 0), (0, 0), (3, 0))
    candidate += entries(tmp_path, DISTILLED, (2, 0), status="failed") + entries(tmp_path, DISTILLED, (0, 1), status="running")
    pairs = pair_runs(reference, candidate)
    assert pairs.keys == ((0, 0), (1, 0))
    assert [run.record.experiment for run in pairs.reference] == ["wav_to_mfcc/student"] * 2
    assert [run.record.protocol.fold for run in pairs.candidate] == [0, 1]
    one, other = "wav_to_mfcc/student@4f1c09ab", "wav_to_mfcc/ce_kl@77e0d1f2"
    assert pairs.left_out == (
        f"left out: fold 0, seed 1 ({one} finished, {other} unfinished)",
        f"left out: fold 2, seed 0 ({one} finished, {other} failed)",
        f"left out: fold 3, seed 0 ({one} has none, {other} finished)",
    )


def test_a_restriction_is_told_too(tmp_path):
    keys = [(fold, seed) for fold in range(3) for seed in range(2)]
    sides = [entries(tmp_path, run, *keys) for run in (STUDENT, DISTILLED)]
    pairs = pair_runs(*sides, folds=(1, 0, 7), seeds=(1,))
    assert pairs.keys == ((0, 1), (1, 1))
    assert pairs.left_out == (
        "left out: 4 more pairs of runs by folds=0,1,7 seeds=1",
        "left out: fold 7 was asked for, and neither has it",
    )
    assert pair_runs(*sides).left_out == ()


def test_nothing_in_common(tmp_path):
    reference, candidate = entries(tmp_path, STUDENT, (0, 0), (1, 0)), entries(tmp_path, DISTILLED, (0, 1))
    with pytest.raises(DataError, match=r"no run in common") as caught:
        pair_runs(reference, candidate)
    assert caught.value.got == "wav_to_mfcc/student@4f1c09ab: fold 0, seed 0, fold 1, seed 0; wav_to_mfcc/ce_kl@77e0d1f2: fold 0, seed 1"
    with pytest.raises(DataError, match="within folds=4"):
        pair_runs(reference, reference, folds=(4,))


def test_a_copied_run_is_not_chosen_silently(tmp_path):
    twice = [entry(tmp_path, STUDENT, "here"), entry(tmp_path, STUDENT, "copy/here")]
    with pytest.raises(DataError, match="here and copy/here"):
        pair_runs(twice, entries(tmp_path, DISTILLED, (0, 0)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fingerprint": "0ther"}, "different protocols are never compared"),
        ({"selection": "test"}, "different rules of model selection are never compared"),
    ],
)
def test_other_rules_are_refused_with_both_names(tmp_path, changes, told):
    sides = [entries(tmp_path, STUDENT, (0, 0)), entries(tmp_path, DISTILLED, (0, 0), **changes)]
    with pytest.raises(DataError, match=told) as caught:
        check_comparable(sides)
    (changed,) = changes.values()
    for text in ("wav_to_mfcc/student@4f1c09ab", "wav_to_mfcc/ce_kl@77e0d1f2", changed):
        assert text in caught.value.got
    # what did not finish does not count
    check_comparable([sides[0], entries(tmp_path, DISTILLED, (0, 0)) + entries(tmp_path, DISTILLED, (1, 0), status="failed", **changes)])


def test_a_system_without_a_finished_run(tmp_path):
    runs = entries(tmp_path, DISTILLED, (0, 0), (1, 0), status="failed") + entries(tmp_path, DISTILLED, (2, 0), status="running")
    with pytest.raises(DataError, match="wav_to_mfcc/ce_kl has no finished run") as caught:
        check_comparable([entries(tmp_path, STUDENT, (0, 0)), runs])
    assert caught.value.got == "2 failed, 1 unfinished"


def test_names(tmp_path):
    assert name_system(entry(tmp_path, STUDENT)) == "wav_to_mfcc/student@4f1c09ab"
    assert name_some("abcab") == "a, b, c"
    assert name_some("abcdefg") == "a, b, c, d, e and 2 more"
