from __future__ import annotations

import json
import math

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.sweep_record import SweepRecord, SweepTrial, SweptParameter, find_best_trial, name_sweep_file


def trial(number: int, value: float, state: str = "finished", **parameters: object) -> SweepTrial:
    return SweepTrial(number, parameters, state, value)


RECORD = SweepRecord(
    "a/b", "demo/distilled", "grid", "validation/ua", True, [SweptParameter("x", [1, 2])], 2,
    [trial(0, 0.5, x=1), trial(1, math.nan, "stopped early", x=2)], best=0,
)  # fmt: skip


def test_it_is_written_and_read_back() -> None:
    text = RECORD.to_json()
    assert json.loads(text)["trials"][1]["value"] is None
    again = SweepRecord.from_json(text)
    assert math.isnan(again.trials[1].value)
    again.trials[1].value = RECORD.trials[1].value
    assert again == RECORD
    assert name_sweep_file(again.name) == "a-b"


def test_what_is_no_sweep_is_told() -> None:
    for text in ("{", "[]", '{"schema_version": 9}', '{"schema_version": 1}'):
        with pytest.raises(DataError):
            SweepRecord.from_json(text)


def test_the_best_is_the_first_with_the_best_value() -> None:
    trials = [trial(0, 0.1, x=1), trial(1, 0.9, x=2), trial(2, 0.9, x=3), trial(3, math.nan, "failed", x=4), trial(4, 0.05, x=5)]
    best, worst = find_best_trial(trials, True), find_best_trial(trials, False)
    assert best is not None
    assert worst is not None
    assert (best.number, worst.number) == (1, 4)
    assert find_best_trial(trials[3:4], True) is None


def test_a_lucky_seed_is_no_better_point() -> None:
    values = {1: (0.2, 0.9, 0.1), 2: (0.5, 0.5, 0.6), 3: (0.99,)}
    numbered = [(x, seed, value) for x, each in values.items() for seed, value in enumerate(each)]
    trials = [trial(number, value, x=x, seed=seed) for number, (x, seed, value) in enumerate(numbered)]
    best = find_best_trial(trials, True)
    assert best is not None
    assert best.parameters == {"x": 2, "seed": 0}  # x = 3 was trained with one seed alone


def test_sweeps_of_one_name_in_several_storages_have_files_of_their_own() -> None:
    names = {name_sweep_file(name, storage) for name in ("a/b", "a-b") for storage in ("x.db", "y.db")}
    assert len(names | {name_sweep_file("a/b")}) == 5
    assert all(name.startswith("a-b") for name in names)


@pytest.mark.parametrize(
    "change",
    [
        {"trials": [{"number": 0, "parameters": {}, "state": "finished", "value": 0.5}]},
        {"trials": [{"number": 0, "parameters": {"x": 1}, "state": "finished", "value": "0.5"}]},
        {"best": 7},
    ],
)
def test_a_damaged_trial_is_told(change: dict) -> None:
    text = json.dumps({**json.loads(RECORD.to_json()), **change})
    with pytest.raises(DataError, match="does not hold what a sweep holds"):
        SweepRecord.from_json(text)
