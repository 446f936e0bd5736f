from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.reports.answers import Answers
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.paired_tests import correct_holm, measure_effect, permute_speakers, run_mcnemar


def make_answers(truth, prediction, speakers=None, classes=3) -> Answers:
    truth = np.asarray(truth, dtype=np.int64)
    speakers = np.arange(len(truth)) % 4 if speakers is None else np.asarray(speakers)
    ids = np.array([f"clip{number:05d}" for number in range(len(truth))])
    return Answers(truth, np.asarray(prediction, dtype=np.int64), speakers.astype(str), ids, classes)


def draw_pair(seed: int, clips=120, speakers=6, skills=(0.8, 0.5)) -> tuple[Answers, Answers]:
    random = np.random.default_rng(seed)
    truth, voices = random.integers(3, size=clips), random.integers(speakers, size=clips)
    answers = [np.where(random.random(clips) < skill, truth, random.integers(3, size=clips)) for skill in skills]
    return make_answers(truth, answers[0], voices), make_answers(truth, answers[1], voices)


@pytest.mark.parametrize("speakers", [6, 20])
def test_a_system_against_itself_is_no_difference(speakers):
    answers, _ = draw_pair(0, speakers=speakers)
    told = permute_speakers(answers, answers)
    assert (told.difference, told.p_value, told.movable) == (0.0, 1.0, 0)
    assert told.smallest_p == 1.0
    mcnemar = run_mcnemar(answers, answers)
    assert (mcnemar.only_first, mcnemar.only_second, mcnemar.p_value) == (0, 0, 1.0)
    effect = measure_effect(answers, answers)
    assert math.isnan(effect.value)
    assert "same for every speaker" in effect.reason


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("speakers", [6, 20])
def test_who_is_first_changes_the_sign_and_not_p(metric, speakers):
    first, second = draw_pair(1, speakers=speakers, skills=(0.7, 0.6))
    one, other = permute_speakers(first, second, metric=metric), permute_speakers(second, first, metric=metric)
    assert 0 < one.difference == pytest.approx(-other.difference)
    assert 0 < one.p_value == other.p_value < 1
    assert measure_effect(first, second, metric=metric).value == pytest.approx(-measure_effect(second, first, metric=metric).value)
    there, back = run_mcnemar(first, second), run_mcnemar(second, first)
    assert there.p_value == back.p_value
    assert there.odds_ratio == pytest.approx(1 / back.odds_ratio)


def test_five_speakers_cannot_give_less_than_a_sixteenth():
    truth = np.arange(60) % 3
    told = permute_speakers(make_answers(truth, truth, np.arange(60) % 5), make_answers(truth, (truth + 1) % 3, np.arange(60) % 5))
    assert (told.difference, told.permutations, told.exact) == (1.0, 32, True)
    assert told.p_value == told.smallest_p == 0.0625


def test_a_speaker_answered_alike_raises_the_smallest_p():
    truth, speakers = np.arange(60) % 3, np.arange(60) % 5
    worse = np.where(speakers == 0, truth, (truth + 1) % 3)
    told = permute_speakers(make_answers(truth, truth, speakers), make_answers(truth, worse, speakers))
    assert (told.speakers, told.movable) == (5, 4)
    assert told.p_value == told.smallest_p == 0.125


def test_one_speaker_decides_nothing():
    truth = np.arange(30) % 3
    first, second = make_answers(truth, truth, np.zeros(30)), make_answers(truth, (truth + 1) % 3, np.zeros(30))
    assert permute_speakers(first, second).p_value == 1.0
    effect = measure_effect(first, second)
    assert math.isnan(effect.value)
    assert "one speaker" in effect.reason


def test_many_speakers_are_drawn_and_p_is_never_zero():
    first, second = draw_pair(2, clips=1500, speakers=24, skills=(0.95, 0.3))
    told = permute_speakers(first, second)
    assert (told.exact, told.permutations, told.speakers) == (False, 10_000, 24)
    assert told.p_value == told.smallest_p == 1 / 10_001
    assert permute_speakers(first, second) == told
    assert replace(told, speakers=5000, movable=5000).smallest_p == 1 / 10_001
    assert replace(told, movable=3).smallest_p == 0.25


def test_random_ways_come_near_all_ways(monkeypatch):
    first, second = draw_pair(3, speakers=10, skills=(0.66, 0.55))
    exact = permute_speakers(first, second).p_value
    monkeypatch.setattr("ser_kd.reports.paired_tests.MOST_EXACT_SPEAKERS", 4)
    assert 0.01 < exact < 0.9
    assert permute_speakers(first, second).p_value == pytest.approx(exact, abs=0.02)


def test_a_clip_under_three_seeds_is_not_three_clips():
    first, second = draw_pair(4, skills=(0.66, 0.58))
    once, thrice = permute_speakers(first, second), permute_speakers([first] * 3, [second] * 3)
    assert thrice == once
    assert measure_effect([first] * 3, [second] * 3) == measure_effect(first, second)
    # the trap: copies laid end to end would make McNemar surer and surer
    copies = [
        Answers(*(np.tile(part, 3) for part in (item.truth, item.prediction, item.speakers, item.ids)), item.classes)
        for item in (first, second)
    ]
    with pytest.raises(DataError, match="360 answers to 120 clips"):
        run_mcnemar(*copies)


def test_seeds_are_averaged():
    truth = np.arange(12) % 3
    right, wrong = make_answers(truth, truth), make_answers(truth, (truth + 1) % 3)
    assert permute_speakers([right, right], [right, wrong]).difference == pytest.approx(0.5)
    # speaker by speaker: d = (0 + 1) / 2 for each, so there is no spread
    assert measure_effect([right, right], [right, wrong]).reason


def test_order_of_clips_does_not_matter():
    first, second = draw_pair(5)
    order = np.random.default_rng(0).permutation(len(first.truth))
    mixed = Answers(*(part[order] for part in (second.truth, second.prediction, second.speakers, second.ids)), second.classes)
    assert permute_speakers(first, mixed) == permute_speakers(first, second)
    assert run_mcnemar(first, mixed) == run_mcnemar(first, second)


def test_mcnemar_by_hand():
    truth = np.zeros(12)
    told = run_mcnemar(make_answers(truth, [0] * 8 + [1] * 4), make_answers(truth, [0] * 3 + [1] * 5 + [0] + [1] * 3))
    # 5 against 1: 2 (1 + 6) / 64
    assert (told.only_first, told.only_second, told.odds_ratio) == (5, 1, 5.0)
    assert told.p_value == pytest.approx(14 / 64)
    alone = run_mcnemar(make_answers(truth, np.zeros(12)), make_answers(truth, np.ones(12)))
    assert (alone.odds_ratio, alone.reason) == (math.inf, "")


def test_effect_by_hand():
    truth, speakers = np.zeros(12), np.repeat([0, 1, 2], 4)
    second = make_answers(truth, np.ones(12), speakers)
    first = make_answers(truth, [0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1], speakers)
    # differences 0.25, 0.5, 0.75: mean 0.5, deviation 0.25
    assert measure_effect(first, second).value == pytest.approx(2.0)


def test_holm_by_hand():
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.5, 0.9]) == [1.0, 1.0]
    assert correct_holm([0.2]) == [0.2]
    assert correct_holm([]) == []


def test_only_the_same_clips_and_seeds_are_paired():
    first, second = draw_pair(6)
    shorter, _ = draw_pair(6, clips=60)
    for test in (permute_speakers, measure_effect, run_mcnemar):
        with pytest.raises(DataError, match="same clips"):
            test(first, shorter)
    with pytest.raises(DataError, match="seed by seed"):
        permute_speakers([first, first], [second])


def test_seven_thousand_clips_and_five_seeds_take_a_moment():
    pairs = [draw_pair(seed, clips=7000, speakers=14) for seed in range(5)]
    truth, speakers = pairs[0][0].truth, pairs[0][0].speakers
    seeds = [[Answers(truth, item.prediction, speakers, item.ids, 3) for item in side] for side in zip(*pairs, strict=True)]
    start = time.process_time()
    permute_speakers(*seeds)
    assert time.process_time() - start < 2
