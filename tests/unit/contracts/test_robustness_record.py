import json

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.robustness_record import CLEAN, NoiseCondition, RobustnessRecord


def make_record() -> RobustnessRecord:
    conditions = [NoiseCondition(CLEAN, None, [0, 1, 1], {"ua": float("nan")}), NoiseCondition("babble", -5.0, [2, 2, 0], {"ua": 0.5})]
    return RobustnessRecord(
        "p/v", "i", 0, 0, "run", "fp32", "best", "", "", "demo", "p", "f", ["a", "b", "c"], [], False, {}, "s", "rms", 0,
        {"babble": "type"}, ["x 1", "y", "z"], ["s", "s", "t"], [0, 1, -1 + 2], conditions,
    )  # fmt: skip


def test_comes_back_as_it_was():
    record = make_record()
    text = record.to_json()
    back = RobustnessRecord.from_json(text)
    assert back.to_json() == text
    assert (back.ids, back.speakers, back.truth) == (record.ids, record.speakers, record.truth)
    assert [condition.answers for condition in back.conditions] == [[0, 1, 1], [2, 2, 0]]
    assert back.find("babble", -5.0).metrics == {"ua": 0.5}
    assert back.conditions[0].metrics["ua"] != back.conditions[0].metrics["ua"]
    assert back.find("babble", 5.0) is None


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("truth", "0 1", "of which there are 3"),
        ("truth", "0 x 1", "class indices"),
        ("ids", "x\ty", "as many ids"),
        ("conditions", None, "robustness"),
    ],
)
def test_a_damaged_one_is_refused(key, value, told):
    data = {**json.loads(make_record().to_json()), key: value}
    with pytest.raises(DataError, match=told):
        RobustnessRecord.from_json(json.dumps(data))


def test_clips_without_a_class_are_kept():
    record = make_record()
    record.truth = [0, -1, 2]
    assert RobustnessRecord.from_json(record.to_json()).truth == [0, -1, 2]
