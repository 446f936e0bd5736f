import dataclasses
import math

import numpy as np
import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.export_record import Gate
from ser_kd.deploy.onnx_model import OnnxModel
from ser_kd.deploy.parity import JudgedClips, compare_with_torch, judge_answers, make_gates
from tests.tiny_models import DIMENSIONAL, LABELS, write_tiny_model

CLASSES = ("a", "b", "c")


def make_clips(reference, classes, waveforms=(), names=CLASSES, dimensions=None):
    count = len(reference)
    labels = SpeechBatch(
        [str(n) for n in range(count)], ["s"] * count, torch.zeros(count, 0), torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, dtype=torch.int64), classes=classes, dimensions=dimensions,
        dimension_mask=None if dimensions is None else torch.ones_like(dimensions, dtype=torch.bool), class_names=names,
    )  # fmt: skip
    return JudgedClips(waveforms, labels, reference, names)


def test_judging_is_by_the_definitions():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    values = judge_answers(probabilities, make_clips(probabilities, torch.tensor([0, 1, 1, 2])))
    assert values["ua"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert values["wa"] == pytest.approx(0.75)
    assert values["log_loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.4]).mean(), abs=1e-6)


def test_dimensions_are_judged_by_concordance():
    truth = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    clips = make_clips(truth, None, names=(), dimensions=truth)
    values = judge_answers(truth, clips)
    assert values["ccc"] == pytest.approx(1.0)
    assert judge_answers(0.5 * truth, clips)["ccc_valence"] < 0.9


def test_a_file_that_answers_alike_differs_by_nothing(tmp_path):
    model = OnnxModel(write_tiny_model(tmp_path / "m.onnx"))
    waveforms = [np.full(length, level, dtype=np.float32) for length, level in ((100, 0.1), (300, 0.4), (80, 0.9), (400, 0.2))]
    answers = torch.from_numpy(np.stack([model.answer(waveform)[0] for waveform in waveforms]))
    clips = make_clips(answers, torch.zeros(4, dtype=torch.int64), waveforms, tuple(LABELS))
    metrics = compare_with_torch(model, clips, lambda waveform: torch.from_numpy(model.answer(waveform)[0]))
    assert metrics["max_difference"] == metrics["ragged_difference"] == metrics["shortest_difference"] == metrics["ua_change"] == 0.0
    assert metrics["argmax_agreement"] == 1.0
    turned = make_clips(answers.flip(1), clips.labels.classes, waveforms, tuple(LABELS))
    changed = compare_with_torch(model, turned, lambda waveform: torch.zeros(len(LABELS)))
    assert changed["argmax_agreement"] < 1.0
    assert changed["max_difference"] > 0.01
    assert changed["shortest_difference"] > 0.01
    assert changed["ua"] == metrics["ua"] != changed["ua_torch"]


BOUNDS = {"ua_change": 0.01, "argmax_agreement": 0.95}


def test_gates_look_at_both_directions_of_a_change():
    gates = {gate.name: gate for gate in make_gates({"ua_change": 0.03, "argmax_agreement": 0.9}, BOUNDS)}
    assert not gates["ua_change"].passed
    assert not gates["argmax_agreement"].passed
    assert not make_gates({"ua_change": -0.03}, BOUNDS)[0].passed
    assert all(gate.passed for gate in make_gates({"ua_change": -0.009, "argmax_agreement": 0.95}, BOUNDS))


def test_what_is_not_bounded_or_not_there_is_no_gate():
    assert make_gates({"ua_change": 0.5}, {"ua_change": None, "ccc_change": 0.01}) == []
    with pytest.raises(ConfigError, match="Unknown gate 'ua'"):
        make_gates({"ua": 0.5}, {"ua": 0.1})


@pytest.mark.parametrize("at_least", [False, True])
def test_nan_passes_no_gate(at_least):
    assert not Gate("max_difference", math.nan, 1.0, at_least).passed


def test_the_dimension_that_changed_most_counts(tmp_path):
    truth = torch.rand(30, 3, generator=torch.Generator().manual_seed(0))
    worse = truth.clone()
    worse[:, 2] = worse[:, 2].flip(0)  # valence alone is lost

    class File:
        metadata = DIMENSIONAL

        def answer_batch(self, waveforms):
            return np.stack([worse[int(waveform[0])].numpy() for waveform in waveforms]), None

    waveforms = [np.full(60 + number, number, dtype=np.float32) for number in range(30)]
    clips = make_clips(truth, None, waveforms, (), truth)
    metrics = compare_with_torch(File(), clips, lambda waveform: truth[0])
    assert metrics["ccc_change"] == metrics["ccc_valence_change"] < -0.5
    assert metrics["ccc_arousal_change"] == 0.0
    assert not make_gates(metrics, {"ccc_change": 0.01})[0].passed


def test_dimensions_that_were_never_learned_are_not_judged():
    truth = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    clips = dataclasses.replace(make_clips(truth[:, [2, 0]], None, names=(), dimensions=truth), dimensions=["valence", "arousal"])
    with pytest.warns(UserWarning, match="ccc_dominance: never learned"):
        values = judge_answers(torch.stack([0.5 * truth[:, 2], truth[:, 0]], dim=1), clips)
    assert values["ccc_arousal"] == pytest.approx(1.0)
    assert values["ccc_valence"] < 0.9
    assert math.isnan(values["ccc_dominance"])
    assert values["ccc"] == pytest.approx((values["ccc_arousal"] + values["ccc_valence"]) / 2)
