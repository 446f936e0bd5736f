from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.reports.answers import Answers, count_confusion, read_answers, read_seeds, read_test_sets
from ser_kd.reports.confusion_metrics import METRICS, class_recalls, f1_macro, f1_weighted, unweighted_accuracy, weighted_accuracy
from ser_kd.reports.significance import bootstrap_difference, bootstrap_metrics, pool_metric


def make_answers(truth, prediction, speakers=None, classes=3, ids=None) -> Answers:
    truth = np.asarray(truth, dtype=np.int64)
    speakers = np.zeros(len(truth), dtype=int) if speakers is None else np.asarray(speakers)
    ids = np.arange(len(truth)) if ids is None else np.asarray(ids)
    return Answers(truth, np.asarray(prediction, dtype=np.int64), speakers.astype(str), ids.astype(str), classes)


def draw_answers(seed: int, clips=120, classes=3, skill=0.6, speakers=8) -> Answers:
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=clips)
    prediction = np.where(random.random(clips) < skill, truth, random.integers(classes, size=clips))
    return make_answers(truth, prediction, random.integers(speakers, size=clips), classes)


def test_metrics_by_hand():
    confusion = np.array([[3, 1, 0], [2, 2, 0], [0, 1, 1]])
    assert class_recalls(confusion).tolist() == [0.75, 0.5, 0.5]
    assert unweighted_accuracy(confusion) == pytest.approx(1.75 / 3)
    assert weighted_accuracy(confusion) == pytest.approx(0.6)
    f1 = [6 / 9, 4 / 8, 2 / 3]
    assert f1_macro(confusion) == pytest.approx(sum(f1) / 3)
    assert f1_weighted(confusion) == pytest.approx((4 * f1[0] + 4 * f1[1] + 2 * f1[2]) / 10)


def test_a_class_without_clips_leaves_ua_and_not_macro_f1():
    confusion = np.array([[2, 0, 2], [0, 4, 0], [0, 0, 0]])
    assert unweighted_accuracy(confusion) == pytest.approx(0.75)
    assert f1_macro(confusion) == pytest.approx((4 / 6 + 1 + 0) / 3)


def test_no_clips_are_undefined_and_not_zero():
    assert all(math.isnan(metric(np.zeros((3, 3)))) for metric in METRICS.values())


def test_many_matrices_at_once_equal_one_by_one():
    matrices = np.random.default_rng(0).integers(0, 5, (20, 4, 4))
    matrices[3, 1] = 0
    for metric in METRICS.values():
        assert metric(matrices) == pytest.approx([float(metric(matrix)) for matrix in matrices])


def test_counts_stand_true_by_predicted():
    assert count_confusion(make_answers([0, 0, 1, 2], [0, 1, 1, 0])).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_interval_is_the_same_in_any_order_and_each_time():
    answers = draw_answers(1)
    order = np.random.default_rng(5).permutation(len(answers.truth))
    shuffled = Answers(answers.truth[order], answers.prediction[order], answers.speakers[order], answers.ids[order], answers.classes)
    assert bootstrap_metrics(answers) == bootstrap_metrics(answers) == bootstrap_metrics(shuffled)
    assert bootstrap_metrics(answers) != bootstrap_metrics(answers, seed=1)


@pytest.mark.parametrize(("speakers", "unit", "units"), [(5, "speakers", 5), (4, "utterances", 60)])
def test_unit_depends_on_the_number_of_speakers(speakers, unit, units):
    clips = np.arange(60)
    interval = bootstrap_metrics(make_answers(clips % 3, (clips + clips // 7) % 3, clips % speakers), resamples=50)["ua"]
    assert (interval.unit, interval.units) == (unit, units)
    assert interval.low <= interval.value <= interval.high


def test_stratified_interval_equals_plain_resampling_of_clips():
    # the second form: draw clip indices within each class, one resample at a time
    answers = draw_answers(2, clips=90, speakers=2)
    random = np.random.default_rng(3)
    plain = []
    for _ in range(3000):
        chosen = np.concatenate([random.choice(found := np.flatnonzero(answers.truth == c), len(found)) for c in range(3)])
        plain.append(float(unweighted_accuracy(count_confusion(make_answers(answers.truth[chosen], answers.prediction[chosen])))))
    interval = bootstrap_metrics(answers, resamples=6000)["ua"]
    assert [interval.low, interval.high] == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.012)


def test_utterances_are_drawn_within_their_class():
    # one class always right, one always wrong: with fixed class sizes nothing can vary
    interval = bootstrap_metrics(make_answers([0] * 30 + [1] * 10, [0] * 40, classes=2))["wa"]
    assert (interval.low, interval.value, interval.high) == (0.75, 0.75, 0.75)


def test_speaker_interval_equals_plain_resampling_of_speakers():
    answers = draw_answers(4, clips=200, speakers=9)
    random = np.random.default_rng(3)
    groups = [np.flatnonzero(answers.speakers == name) for name in np.unique(answers.speakers)]
    plain = []
    for _ in range(3000):
        chosen = np.concatenate([groups[g] for g in random.integers(len(groups), size=len(groups))])
        plain.append(float(weighted_accuracy(count_confusion(make_answers(answers.truth[chosen], answers.prediction[chosen])))))
    interval = bootstrap_metrics(answers, resamples=6000)["wa"]
    assert [interval.low, interval.high] == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.012)


def test_clips_of_one_voice_count_less_than_clips_of_many():
    # each speaker is either understood or not: 10 voices say no more than 10 clips would
    speakers = np.repeat(np.arange(10), 30)
    truth = np.tile([0, 1, 2], 100)
    prediction = np.where(speakers < 6, truth, (truth + 1) % 3)
    by_speaker = bootstrap_metrics(make_answers(truth, prediction, speakers))["ua"]
    by_clip = bootstrap_metrics(make_answers(truth, prediction))["ua"]
    assert by_speaker.high - by_speaker.low > 3 * (by_clip.high - by_clip.low)


def test_copies_of_clips_from_several_seeds_do_not_narrow_the_interval():
    once = draw_answers(6, clips=60, speakers=2)
    again = Answers(*(np.tile(part, 5) for part in (once.truth, once.prediction, once.speakers, once.ids)), once.classes)
    assert bootstrap_metrics(again)["ua"] == bootstrap_metrics(once)["ua"]


def test_coverage_of_the_interval():
    recalls = np.array([0.8, 0.5, 0.65])
    random = np.random.default_rng(8)
    held = 0
    for _ in range(200):
        truth = np.repeat(np.arange(3), 50)
        right = random.random(150) < recalls[truth]
        interval = bootstrap_metrics(make_answers(truth, np.where(right, truth, (truth + 1) % 3)), resamples=300)["ua"]
        held += interval.low <= recalls.mean() <= interval.high
    assert 0.89 <= held / 200 <= 0.99


def test_difference_of_a_system_with_itself_is_nothing():
    answers = draw_answers(1)
    interval = bootstrap_difference(answers, answers)
    assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("speakers", [2, 9])
def test_paired_difference_is_narrower_than_two_intervals(speakers):
    first = draw_answers(1, clips=300, speakers=speakers)
    better = first.prediction.copy()
    better[:30] = first.truth[:30]
    second = Answers(first.truth, better, first.speakers, first.ids, first.classes)
    told = bootstrap_difference(second, first)
    alone = bootstrap_metrics(first)["ua"]
    assert told.value == pytest.approx(float(unweighted_accuracy(count_confusion(second)) - unweighted_accuracy(count_confusion(first))))
    assert 0 < told.low < told.value < told.high
    assert told.high - told.low < alone.high - alone.low


def test_difference_wants_the_same_clips():
    with pytest.raises(DataError, match="same clips"):
        bootstrap_difference(draw_answers(1), draw_answers(1, clips=60))


def test_answers_from_a_table():
    frame = pd.DataFrame(
        {
            "split": ["test", "validation", "test", "test"],
            "id": list("abcd"),
            "speaker": ["1", "1", "2", "2"],
            "truth": ["x", "y", "y", ""],
            "prediction": ["y", "y", "y", "x"],
        }
    )
    answers = read_answers(frame, ["x", "y"])
    assert (answers.truth.tolist(), answers.prediction.tolist(), answers.ids.tolist()) == ([0, 1], [1, 1], ["a", "c"])
    with pytest.raises(DataError, match="do not fit"):
        read_answers(frame, ["x", "z"])
    with pytest.raises(DataError, match="no labelled clip"):
        read_answers(frame, ["x", "y"], split="train")


@pytest.mark.parametrize("speakers", [2, 9])
def test_copies_as_seeds_do_not_narrow_the_interval_either(speakers):
    once, other = draw_answers(6, clips=60, speakers=speakers), draw_answers(7, clips=60, speakers=speakers)
    other = Answers(once.truth, other.prediction, once.speakers, once.ids, once.classes)
    for name, told in bootstrap_metrics([once] * 4).items():
        plain = bootstrap_metrics(once)[name]
        assert (told.unit, told.units) == (plain.unit, plain.units)
        assert [told.value, told.low, told.high] == pytest.approx([plain.value, plain.low, plain.high])
    told, plain = bootstrap_difference([once] * 3, [other] * 2), bootstrap_difference(once, other)
    assert [told.value, told.low, told.high] == pytest.approx([plain.value, plain.low, plain.high])


def test_several_seeds_are_averaged_and_not_counted_together():
    first = draw_answers(6)
    second = Answers(first.truth, np.zeros_like(first.truth), first.speakers, first.ids, first.classes)
    for name, metric in METRICS.items():
        apart = [float(metric(count_confusion(answers))) for answers in (first, second)]
        assert pool_metric([first, second], name) == pytest.approx(np.mean(apart))
        assert bootstrap_metrics([first, second], resamples=50)[name].value == pool_metric([first, second], name)
    together = count_confusion(first) + count_confusion(second)
    assert pool_metric([first, second], "f1_macro") != pytest.approx(float(f1_macro(together)), abs=0.01)


def test_seeds_of_other_clips_are_resampled_by_the_clips_of_all():
    whole = draw_answers(8, clips=90, speakers=6)
    part = np.isin(whole.speakers, ["0", "1"])
    few = Answers(whole.truth[part], whole.prediction[part], whole.speakers[part], whole.ids[part], whole.classes)
    told = bootstrap_metrics([few, whole])["ua"]
    assert told == bootstrap_metrics([few, whole])["ua"]
    assert told.units == 6
    assert told.low <= told.value <= told.high


def test_seeds_are_told_apart_and_folds_are_not():
    frame = pd.DataFrame(
        {"split": "test", "id": list("abab"), "speaker": "1", "truth": "x", "prediction": list("xyxx"), "fold": [0, 1, 0, 1]}
    )
    first, second = read_seeds(frame.assign(seed=[3, 3, 0, 0]), ["x", "y"])
    assert (first.prediction.tolist(), second.prediction.tolist()) == ([0, 0], [0, 1])
    with pytest.raises(DataError, match="no labelled clip"):
        read_seeds(frame.assign(seed=0).iloc[:0], ["x"])


def test_test_sets_hold_every_fold():
    runs = [(0, 0), (0, 1), (0, 2), (1, 5), (2, 0), (2, 1)]
    frame = pd.concat(
        pd.DataFrame(
            {"split": "test", "id": [f"{fold}"], "speaker": "1", "truth": "x", "prediction": "xyz"[seed % 3], "fold": fold, "seed": seed}
        )
        for fold, seed in runs
    )
    sets = read_test_sets(frame, ["x", "y", "z"])
    assert len(sets) == 6
    assert all(answers.ids.tolist() == ["0", "1", "2"] for answers in sets)
    assert [answers.prediction.tolist() for answers in sets] == [[0, 2, 0], [1, 2, 1], [2, 2, 0], [0, 2, 1], [1, 2, 0], [2, 2, 1]]
    even = frame[(frame["fold"] != 1) & (frame["seed"] < 2)]
    assert [answers.prediction.tolist() for answers in read_test_sets(even, ["x", "y", "z"])] == [[0, 0], [1, 1]]


def test_thirty_thousand_clips_take_a_moment():
    answers = draw_answers(3, clips=30_000, classes=8, speakers=3)
    start = time.process_time()
    bootstrap_metrics(answers)
    assert time.process_time() - start < 5
