from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.emotions import DimensionRange, LabelSet, canonical_emotion
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError, ParityError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.records import ProtocolRecord, RunRecord, TeacherRecord
from ser_kd.contracts.shapes import check_finite, check_rank, check_same_shape


def make_record() -> RunRecord:
    protocol = ProtocolRecord("p", "abc", 0, 5, "next_fold", "validation", "seven", ["a", "b"], {"test": 2}, {"test": ["s"]})
    teacher = TeacherRecord("t", "paper/teacher", "runs/x", "abc", ["s1"], 10, {"test/ua": math.nan})
    return RunRecord(
        "paper/variant", "id", "finished", 0, "demo", protocol, {"test/ua": 0.5, "test/recall_b": math.nan}, {"test/recall_b": "no clip"},
        teachers=[teacher],
    )  # fmt: skip


def test_a_record_survives_the_disk() -> None:
    text = make_record().to_json()
    assert "NaN" not in text
    back = RunRecord.from_json(text)
    assert math.isnan(back.metrics.pop("test/recall_b"))
    assert math.isnan(back.teachers[0].metrics.pop("test/ua"))
    expected = make_record()
    del expected.metrics["test/recall_b"], expected.teachers[0].metrics["test/ua"]
    assert asdict(back) == asdict(expected)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not a readable record"),
        ('{"schema_version": 99}', "another version"),
        ("[]", "another version"),
        ('{"schema_version": 1}', "does not hold"),
        (make_record().to_json().replace('"seed"', '"sead"'), "does not hold"),
    ],
)
def test_a_damaged_record_is_named(text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        RunRecord.from_json(text, source="here")


def make_evaluation() -> CrossCorpusRecord:
    return CrossCorpusRecord(
        "emodb", "paper/variant", "id", 0, 1, "demo", "emodb", "abc", "best", False, ["a", "b"], {"anger": "a"}, {"bored": 3}, ["b"], 2,
        [2, 0], 1, {"ua": 0.5, "recall_b": math.nan}, {"recall_b": "no clip"}, [[1, 1], [0, 0]],
    )  # fmt: skip


def test_an_evaluation_survives_the_disk() -> None:
    text = make_evaluation().to_json()
    assert "NaN" not in text
    back = CrossCorpusRecord.from_json(text)
    assert math.isnan(back.metrics["recall_b"])
    back.metrics["recall_b"] = 0.0
    assert back == replace(make_evaluation(), metrics={"ua": 0.5, "recall_b": 0.0})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not a readable record"),
        ("[]", "another version"),
        (make_evaluation().to_json().replace('"schema_version": 1', '"schema_version": 2'), "another version"),
        (make_evaluation().to_json().replace('"unmapped"', '"unmaped"'), "what an evaluation holds"),
        (make_evaluation().to_json().replace('"metrics": {', '"metrics": [], "metric": {'), "what an evaluation holds"),
    ],
)
def test_a_damaged_evaluation_is_named(text: str, match: str) -> None:
    with pytest.raises(DataError, match=match) as fault:
        CrossCorpusRecord.from_json(text, source="here")
    assert "ser-kd evaluate" in fault.value.remedy


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError, ValueError),
        (DataError, ValueError),
        (LeakageError, ValueError),
        (ShapeError, ValueError),
        (ParityError, ArithmeticError),
    ],
)
def test_errors_have_three_parts_and_are_the_matching_built_in(error: type[Exception], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        raise error("Wrong.", expected="right", got="wrong", remedy="mend it")
    assert str(caught.value).splitlines() == ["Wrong.", "  expected: right", "  got:      wrong", "  to do:    mend it"]


def test_labels_meet_by_name() -> None:
    labels = LabelSet("x", ("neutral", "happy"), merges={"calm": "neutral", "excited": "happy"}, dropped=frozenset({"sad"}))
    assert [labels.index_of(name) for name in ("Calm", "EXC", "hap", "sadness")] == [0, 1, 1, None]
    with pytest.raises(DataError, match="outside the label set") as fault:
        labels.index_of("hoppy")
    assert "did you mean 'happy'" in fault.value.remedy
    with pytest.raises(DataError, match="merges into classes"):
        LabelSet("x", ("a", "b"), merges={"c": "d"})
    with pytest.raises(DataError, match="two different"):
        LabelSet("x", ("a", "a"))
    assert canonical_emotion("Fearful") == "fear"


@pytest.mark.parametrize(
    ("emotion", "found"),
    [
        ("Anger", "angry"), ("happiness", "happy"), ("fearful", "fear"), ("surprised", "surprise"), ("calm", "neutral"),
        ("boredom", None), ("sadness", None),
    ],
)  # fmt: skip
def test_labels_of_another_corpus_are_found_or_not(emotion: str, found: str | None) -> None:
    labels = LabelSet(
        "x", ("angry", "happy", "fear", "surprise", "neutral"), merges={"calm": "neutral"}, dropped=frozenset({"sad"})
    )  # fmt: skip
    assert labels.find_class(emotion) == found


def test_dimension_range() -> None:
    assert DimensionRange(1, 5).scale(2) == 0.25
    with pytest.raises(DataError, match="outside its range"):
        DimensionRange(1, 5).scale(0.5)


def test_shapes_are_checked() -> None:
    check_rank(torch.zeros(2, 3), 2, "x", "(B, D)")
    check_finite(torch.zeros(2), "x")
    with pytest.raises(ShapeError, match="number of axes"):
        check_rank(torch.zeros(2), 2, "x", "(B, D)")
    with pytest.raises(ShapeError, match="differ in shape"):
        check_same_shape(torch.zeros(2), torch.zeros(3), "x", "y")
    with pytest.raises(ShapeError, match="not finite") as fault:
        check_finite(torch.tensor([1.0, math.nan, math.inf]), "x")
    assert "2 of 3" in fault.value.got


def test_a_batch_moves_whole_and_tells_models_no_label() -> None:
    batch = SpeechBatch(
        ["a"], ["s"], torch.zeros(1, 4), torch.tensor([4]), torch.tensor([1]), features={"x": (torch.zeros(1, 2, 3), torch.tensor([2]))},
        classes=torch.tensor([0]),
    )  # fmt: skip
    moved = batch.to("meta")
    assert moved.waveforms.device.type == moved.features["x"][1].device.type == "meta"
    assert moved.classes is not None
    assert moved.classes.device.type == "meta"
    assert not hasattr(batch.model_input(), "classes")
    assert len(batch) == 1


def test_teacher_answers_by_name() -> None:
    one = Outputs(logits=torch.zeros(1, 2), hidden_states={3: torch.ones(1, 2, 2)})
    answers = TeacherAnswers({"a": one}, Outputs())
    assert answers.listen_to("a") is one
    assert answers.listen_to("combined") is answers.combined
    doubled = one.map(lambda t: t * 2)
    assert doubled.hidden_states[3].sum() == 8
    assert doubled.embedding is None
