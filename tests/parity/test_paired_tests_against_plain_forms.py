"""The paired tests against the forms one would write down: every way of swapping, every term of the binomial sum."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from ser_kd.reports.answers import Answers
from ser_kd.reports.paired_tests import permute_speakers, run_mcnemar

PLAIN = {"ua": balanced_accuracy_score, "f1_macro": lambda truth, prediction: f1_score(truth, prediction, average="macro")}


def draw_seeds(seed: int, speakers: int, seeds: int, clips: int = 40) -> tuple[list[Answers], list[Answers]]:
    random = np.random.default_rng(seed)
    truth, voices = random.integers(3, size=clips), np.arange(clips) % speakers
    ids = np.arange(clips).astype(str)
    sides = []
    for skill in (0.65, 0.5):
        drawn = [np.where(random.random(clips) < skill, truth, random.integers(3, size=clips)) for _ in range(seeds)]
        sides.append([Answers(truth, prediction, voices.astype(str), ids, 3) for prediction in drawn])
    return sides[0], sides[1]


@pytest.mark.parametrize(
    ("seed", "speakers", "seeds", "metric"), [(0, 5, 1, "ua"), (1, 4, 3, "ua"), (2, 4, 2, "f1_macro"), (3, 2, 1, "ua")]
)
def test_permutation_equals_every_way_one_by_one(seed, speakers, seeds, metric):
    first, second = draw_seeds(seed, speakers, seeds)
    names = sorted(set(first[0].speakers))
    told = []
    for ways in itertools.product([False, True], repeat=speakers):
        swapped = np.isin(first[0].speakers, [name for name, way in zip(names, ways, strict=True) if way])
        differences = []
        for one, other in zip(first, second, strict=True):
            ours = np.where(swapped, other.prediction, one.prediction)
            theirs = np.where(swapped, one.prediction, other.prediction)
            differences.append(PLAIN[metric](one.truth, ours) - PLAIN[metric](one.truth, theirs))
        told.append(float(np.mean(differences)))
    test = permute_speakers(first, second, metric=metric)
    assert test.difference == pytest.approx(told[0])
    assert test.p_value == sum(abs(value) >= abs(told[0]) - 1e-9 for value in told) / 2**speakers
    assert test.p_value >= test.smallest_p


@pytest.mark.parametrize("seed", range(8))
def test_mcnemar_equals_the_binomial_sum(seed):
    (first,), (second,) = draw_seeds(seed, 4, 1, clips=25 + 10 * seed)
    only_first = only_second = 0
    for truth, one, other in zip(first.truth, first.prediction, second.prediction, strict=True):
        only_first += one == truth != other
        only_second += other == truth != one
    count = only_first + only_second
    tail = sum(math.comb(count, number) for number in range(min(only_first, only_second) + 1)) / 2**count
    told = run_mcnemar(first, second)
    assert (told.only_first, told.only_second) == (only_first, only_second)
    assert told.p_value == pytest.approx(min(1.0, 2 * tail))
