"""CCC, Pearson and RMSE from sums against the tensor form that training uses, and what a report makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import DataError
from ser_kd.metrics.dimensional import Dimensional
from ser_kd.reports.answers import DimensionalAnswers, add_up, read_answers
from ser_kd.reports.dimension_metrics import DIMENSION_METRICS
from ser_kd.reports.paired_tests import measure_effect, permute_speakers
from ser_kd.reports.significance import bootstrap_difference, bootstrap_metrics, pool_metric


def make_answers(noise: float = 0.2, speakers: int = 6, seed: int = 0) -> DimensionalAnswers:
    random = np.random.default_rng(5)
    truth = random.random((90, 3))
    truth[::7, 1] = np.nan
    said = np.nan_to_num(truth, nan=0.3) + np.random.default_rng(seed).normal(0, noise, (90, 3))
    ids = np.array([f"clip{n:02d}" for n in range(90)])
    return DimensionalAnswers(truth, said, np.array([f"s{n % speakers}" for n in range(90)]), ids, 0)


def test_sums_give_what_tensors_give():
    answers = make_answers()
    metric = Dimensional()
    metric.update(torch.tensor(answers.prediction), torch.tensor(answers.truth))
    expected, sums = metric.compute(), add_up(answers)
    for name, score in DIMENSION_METRICS.items():
        assert float(score(sums)) == pytest.approx(float(expected[name]), abs=1e-6), name


def test_constant_annotations_and_empty_dimensions_are_nan():
    answers = make_answers()
    answers.truth[:, 0], answers.truth[:, 2] = 0.4, np.nan
    found = {name: float(score(add_up(answers))) for name, score in DIMENSION_METRICS.items()}
    assert np.isnan([found["ccc_arousal"], found["pearson_arousal"], found["ccc_valence"], found["rmse_valence"]]).all()
    assert found["rmse_arousal"] > 0
    assert found["ccc_mean"] == found["ccc_dominance"]


def test_intervals_by_speaker_hold_the_value_and_pair_what_is_compared():
    good, bad = make_answers(0.1, seed=1), make_answers(0.4, seed=2)
    intervals = bootstrap_metrics(good, resamples=300)
    assert set(intervals) == set(DIMENSION_METRICS)
    told = intervals["ccc_mean"]
    assert (told.unit, told.units) == ("speakers", 6)
    assert told.low < told.value < told.high
    assert told.value == pytest.approx(pool_metric(good, "ccc_mean"))
    gain = bootstrap_difference(good, bad, metric="ccc_mean", resamples=300)
    assert gain.low > 0
    test = permute_speakers(good, bad, metric="ccc_mean")
    assert (test.exact, test.p_value) == (True, 2 / 2**6)
    assert measure_effect(good, bad, metric="ccc_arousal").value > 1
    few = bootstrap_metrics(make_answers(speakers=2), resamples=50)["ccc_mean"]
    assert few.unit == "utterances"


def test_answers_are_read_from_predictions_and_unannotated_clips_are_left_out():
    frame = pd.DataFrame({"split": ["test"] * 3, "id": list("abc"), "speaker": ["s"] * 3})
    for place, name in enumerate(DIMENSIONS):
        frame[f"truth_{name}"] = [0.1 * place, np.nan, 0.5]
        frame[f"prediction_{name}"] = [0.2, 0.3, 0.4]
    answers = read_answers(frame, [])
    assert list(answers.ids) == ["a", "c"]
    assert answers.truth[:, 2].tolist() == [0.2, 0.5]
    with pytest.raises(DataError, match="no arousal, dominance or valence"):
        read_answers(frame.assign(split="train"), [])


def test_a_dimension_that_was_never_learned_is_nan_and_the_others_stay():
    answers = make_answers()
    whole = {name: float(score(add_up(answers))) for name, score in DIMENSION_METRICS.items()}
    answers.prediction[:, 0] = np.nan
    found = {name: float(score(add_up(answers))) for name, score in DIMENSION_METRICS.items()}
    assert np.isnan([found["ccc_arousal"], found["pearson_arousal"], found["rmse_arousal"]]).all()
    assert found["ccc_mean"] == pytest.approx((whole["ccc_dominance"] + whole["ccc_valence"]) / 2)
