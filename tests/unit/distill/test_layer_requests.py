from __future__ import annotations

import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import TeacherAnswers
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.adapters import LinearAdapter
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.layer_requests import connect_layers
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.frontends.waveform import Waveform
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.losses.multi_level import MultiLevel
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.speech_model import SpeechModel


def make(layers: int, width: int = 8) -> SpeechModel:
    return SpeechModel(SpectrogramTransformer(1, width=width, heads=2, layers=layers), Waveform(), MeanPooling()).eval()


def objective(loss: object) -> Objective:
    return Objective({"multi_level": {"loss": loss}})  # type: ignore[dict-item]


BATCH = SpeechBatch(["a", "b"], ["s", "s"], torch.randn(2, 32), torch.tensor([32, 20]), torch.tensor([0, 1]))


def test_what_terms_ask_for_is_handed_out_and_each_pair_is_told() -> None:
    terms, student, teacher = objective(MultiLevel()), make(2), make(4)
    assert terms.teacher_layers() == []
    connect_layers(terms, student, {"teacher": teacher})
    assert terms.teacher_layers() == [2, 4]
    answers = teacher(BATCH.model_input())
    assert answers.hidden_states.keys() == {2, 4}
    loss, parts = terms(student(BATCH.model_input()), BATCH, TeacherAnswers({"teacher": answers}, answers))
    assert parts.keys() == {"multi_level", "multi_level_1", "multi_level_2"}
    assert float(loss) == pytest.approx(float(parts["multi_level_1"] + parts["multi_level_2"]))


def test_the_layers_of_other_terms_are_handed_out_too() -> None:
    student, teacher = make(2), make(4)
    connect_layers(objective(AttentionTransfer(student_layer=1, teacher_layer=3)), student, {"teacher": teacher})
    assert (student.encoder.hidden_layers, teacher.encoder.hidden_layers) == ((1,), (3,))
    connect_layers(objective(AttentionTransfer()), student, {})  # no teacher, nothing to ask


def test_what_is_not_there_is_told_before_the_first_step() -> None:
    with pytest.raises(ConfigError, match=r"(?s)teacher has no such hidden layer.*among 0, 1, 2, 3, 4.*layer 9"):
        connect_layers(objective(MultiLevel({1: 9})), make(2), {"teacher": make(4)})
    with pytest.raises(ConfigError, match=r"(?s)student has no such hidden layer.*among 0, 1, 2.*layer 5"):
        connect_layers(objective(AttentionTransfer(student_layer=5)), make(2), {"teacher": make(4)})
    without = SpeechModel(Crnn(2, widths=(2,), hidden_width=2), Waveform(), MeanPooling())
    with pytest.raises(ConfigError, match=r"(?s)the student hands out none.*Crnn"):
        connect_layers(objective(MultiLevel()), without, {"teacher": make(4)})
    with pytest.raises(ConfigError, match=r"(?s)one teacher.*a, b"):
        connect_layers(objective(MultiLevel()), make(2), {"a": make(4), "b": make(4)})
    with pytest.raises(ConfigError, match=r"multi_level\.loss\.adapter"):
        connect_layers(objective(MultiLevel()), make(2), {"teacher": make(4, width=16)})


def test_adapters_belong_to_the_objective() -> None:
    terms, student = objective(MultiLevel(adapter=LinearAdapter)), make(2)
    before = list(student.state_dict())
    connect_layers(terms, student, {"teacher": make(4, width=16)})
    assert list(student.state_dict()) == before
    assert sum(parameter.numel() for parameter in terms.parameters()) == 2 * (8 * 16 + 16)


def test_other_frame_rates_are_told_when_a_few_clips_are_tried_and_not_where_an_adapter_stands() -> None:
    def try_terms(loss: MultiLevel) -> None:
        teacher = make(4)
        teacher.encoder = SpectrogramTransformer(1, width=8, heads=2, layers=4, patch_frames=2)
        terms, student = objective(loss), make(2).train()
        connect_layers(terms, student, {"teacher": teacher})
        ensemble = TeacherEnsemble([TeacherMember(teacher, TeacherRecord("teacher", None, None, None, [], 0))], ["x", "y"])
        module = DistillationModule(student, terms, ["x", "y"], teacher=ensemble)
        module.try_terms(BATCH)
        assert module.training

    try_terms(MultiLevel(adapter=LinearAdapter))
    with pytest.raises(ConfigError, match=r"(?s)different numbers of frames.*multi_level\.loss\.adapter"):
        try_terms(MultiLevel())
