import importlib.util
import json
import math
import os
import subprocess
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Outputs
from ser_kd.metrics.panel import MetricPanel

WORKER = Path(__file__).with_name("panel_worker.py")
_spec = importlib.util.spec_from_file_location("panel_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

CLASSES = ("neutral", "angry")


def make_batch(classes, groups=None):
    count = len(classes)
    return SpeechBatch(
        ids=[str(i) for i in range(count)],
        speakers=["a"] * count,
        waveforms=torch.zeros(count, 4),
        lengths=torch.full((count,), 4),
        keys=torch.arange(count),
        classes=torch.tensor(classes),
        groups=groups or {},
    )


def says(predicted):
    return Outputs(torch.eye(2)[predicted] * 3)


def whole_split(panel):
    batch, student, teacher = worker.make_split()
    panel.update(student, batch, teacher)
    return panel.compute()


def test_by_hand_with_teacher_and_groups():
    panel = MetricPanel(CLASSES, {"gender": ["female", "male"]})
    batch = make_batch([0, 0, 0, 1, -1], {"gender": ["female", "female", "male", "male", ""]})
    panel.update(says([0, 1, 0, 1, 0]), batch, says([0, 0, 0, 0, 0]))
    result = panel.compute()
    assert result.confusion == [[2, 1], [0, 1]]
    assert result.teacher_confusion == [[3, 0], [1, 0]]
    expected = {
        "ua": (2 / 3 + 1) / 2,
        "wa": 3 / 4,
        "recall_neutral": 2 / 3,
        "recall_angry": 1.0,
        "teacher_ua": 0.5,
        "teacher_wa": 0.75,
        "teacher_agreement": 3 / 5,
        "ua_gender=female": 0.5,
        "wa_gender=female": 0.5,
        "ua_gender=male": 1.0,
        "wa_gender=male": 1.0,
    }
    assert {name: result.values[name] for name in expected} == pytest.approx(expected)
    assert result.values["calibration_error"] == pytest.approx(abs(1 / (1 + math.exp(-3.0)) - 0.75), abs=1e-6)
    assert result.undefined == {}


def test_without_a_teacher_there_is_nothing_about_it():
    panel = MetricPanel(CLASSES)
    panel.update(says([0, 1]), make_batch([0, 1]))
    result = panel.compute()
    assert not [name for name in result.values if "teacher" in name]
    assert result.teacher_confusion == []


def test_batches_give_what_the_whole_split_gives():
    panel, split = worker.make_panel(), worker.make_split()
    for part in (slice(0, 2), slice(2, 20), slice(20, 23)):
        batch, student, teacher = worker.cut(part, *split)
        panel.update(student, batch, teacher)
    with pytest.warns(UserWarning, match="intensity"):
        found = panel.compute()
    with pytest.warns(UserWarning, match="intensity"):
        expected = whole_split(worker.make_panel())
    assert found.values == pytest.approx(expected.values, nan_ok=True)
    assert found.confusion == expected.confusion
    assert sum(map(sum, found.confusion)) == worker.CLIPS - 1


def test_undefined_is_nan_with_a_reason_and_one_warning():
    panel = MetricPanel((*CLASSES, "sad"), {"gender": ["female", "male"]})
    three = Outputs(torch.eye(3)[[0, 1]])
    for epoch in range(2):
        panel.reset()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                panel.update(three, make_batch([0, 1], {"gender": ["female", "female"]}))
            result = panel.compute()
        assert len(caught) == (1 if epoch == 0 else 0)
        assert math.isnan(result.values["recall_sad"])
        assert result.values["ua"] == 1.0
        assert result.undefined["recall_sad"] == "no clip of class 'sad'"
        assert result.undefined["ua_gender=male"] == "no clip with a class and gender 'male'"
        assert set(result.undefined) == {name for name, value in result.values.items() if math.isnan(value)}
    assert "recall_sad" in str(result.undefined)


def test_of_clips_without_labels_agreement_is_known_and_nothing_is_warned_of():
    panel = MetricPanel(CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel.update(says([0, 1]), make_batch([-1, -1]), says([0, 0]))
        result = panel.compute()
    assert result.values["teacher_agreement"] == 0.5
    assert math.isnan(result.values["ua"])
    assert result.undefined["ua"] == "no clip with a class"


def test_dimensions_alone():
    panel = MetricPanel((), dimensions=True)
    batch = replace(make_batch([-1, -1]), dimensions=torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]))
    panel.update(Outputs(dimensions=torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]])), batch)
    with pytest.warns(UserWarning, match="ccc_dominance"):
        result = panel.compute()
    assert result.values["ccc_arousal"] == 1.0
    assert set(result.undefined) == {"ccc_dominance", "pearson_dominance"}
    assert "ua" not in result.values


def test_dimensions_of_student_teacher_and_groups_by_hand():
    truth = torch.tensor([[0.1, 0.5, 0.3], [0.4, 0.5, torch.nan], [0.9, 0.5, 0.6], [0.2, 0.5, 0.9]])
    batch = replace(make_batch([-1] * 4, {"gender": ["f", "f", "m", "m"]}), dimensions=truth, classes=None)
    panel = MetricPanel((), {"gender": ("f", "m")}, dimensions=True)
    said = truth.nan_to_num(0.5)
    panel.update(Outputs(dimensions=said * 0.5), batch, Outputs(dimensions=said))
    silent = replace(make_batch([-1] * 2, {"gender": ["f", "m"]}), classes=None)  # a batch without any annotation
    panel.update(Outputs(dimensions=torch.rand(2, 3)), silent, Outputs(dimensions=torch.rand(2, 3)))
    with pytest.warns(UserWarning, match="constant annotations"):
        result = panel.compute()
    values = result.values
    assert values["teacher_ccc_arousal"] == values["teacher_ccc_valence"] == values["teacher_ccc_mean"] == 1.0
    assert values["ccc_mean"] == pytest.approx((values["ccc_arousal"] + values["ccc_valence"]) / 2)
    assert result.undefined["ccc_dominance"] == "constant annotations"
    assert "teacher_agreement_ccc_mean" in values
    assert {"ccc_mean_gender=f", "ccc_mean_gender=m"} <= set(values)
    assert set(panel.list_names(has_teacher=True)) == set(values)
    assert set(panel.list_names()) == {name for name in values if not name.startswith("teacher")}


def test_reset_forgets_and_the_checkpoint_holds_nothing():
    panel = MetricPanel(CLASSES)
    panel.update(says([1, 1]), make_batch([0, 1]))
    assert panel.state_dict() == {}
    panel.reset()
    panel.update(says([0]), make_batch([0]))
    with pytest.warns(UserWarning, match="recall_angry"):
        assert panel.compute().confusion == [[1, 0], [0, 0]]


def test_inputs_are_checked():
    with pytest.raises(ConfigError, match="nothing to judge"):
        MetricPanel(())
    with pytest.raises(ConfigError, match="class logits of the model"):
        MetricPanel(CLASSES).update(Outputs(), make_batch([0]))
    with pytest.raises(ConfigError, match="class labels in the batch"):
        MetricPanel(CLASSES).update(says([0]), replace(make_batch([0]), classes=None))
    with pytest.raises(ConfigError, match="dimensions of the model"):
        MetricPanel((), dimensions=True).update(says([0]), make_batch([0]))
    with pytest.raises(DataError, match="other"):
        MetricPanel(CLASSES, {"gender": ["female", "male"]}).update(says([0]), make_batch([0], {"gender": ["other"]}))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_processes_give_what_one_gives(tmp_path):
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, str(WORKER), str(rank), str(tmp_path)], env=environment) for rank in range(2)]
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]
    with pytest.warns(UserWarning, match="intensity"):
        expected = asdict(whole_split(worker.make_panel()))
    for name in (f"{share}{rank}.json" for share in worker.SHARES for rank in range(2)):
        found = json.loads((tmp_path / name).read_text())
        assert found["values"] == pytest.approx(expected["values"], nan_ok=True)
        assert {key: found[key] for key in found if key != "values"} == {key: expected[key] for key in found if key != "values"}
