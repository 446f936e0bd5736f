"""Terms that compare hidden layers are told which there are, and the models are told which to hand out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import LayeredEncoder
from ser_kd.distill.objective import Objective
from ser_kd.losses.slots import check_layers_exist


def connect_layers(objective: Objective, student: nn.Module, teachers: Mapping[str, nn.Module]) -> None:
    """Connect the terms of an objective that listen to hidden layers, before the first step.

    Nobody has to list layers twice: what the terms ask for is handed out, by the student and by the teachers, whose finished runs
    handed out none. Adapters are made here.

    Args:
        objective: Its terms.
        student: A ``SpeechModel``.
        teachers: Member name -> a ``SpeechModel``; empty without a teacher.

    Raises:
        ConfigError: If a model has no such layers, or a term cannot bring its layers together.
    """
    for name, loss in objective.losses.items():
        if not getattr(loss, "needs_teacher_frames", False) or not teachers:
            continue
        heard = str(getattr(loss, "teacher", "combined"))
        connect = getattr(loss, "connect", None)
        if callable(connect):
            model = _choose_teacher(teachers, heard, name)
            connect(_encoder_of(student, "student", name).layer_widths, _encoder_of(model, "teacher", name).layer_widths)
        _request(student, getattr(loss, "student_layers", ()), "student", name)
        for member in teachers if heard == "combined" else [heard] if heard in teachers else []:
            _request(teachers[member], getattr(loss, "teacher_layers", ()), "teacher", name)


def _choose_teacher(teachers: Mapping[str, nn.Module], heard: str, term: str) -> nn.Module:
    if heard == "combined" and len(teachers) == 1:
        return next(iter(teachers.values()))
    if heard not in teachers:
        raise ConfigError(
            f"'{term}' listens to the layers of one teacher.",
            expected=", ".join(teachers),
            got=heard,
            remedy=f"set objective.terms.{term}.loss.teacher to one of them",
        )
    return teachers[heard]


def _encoder_of(model: nn.Module, who: str, term: str) -> LayeredEncoder:
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, LayeredEncoder):
        raise ConfigError(
            f"'{term}' compares hidden layers, and the {who} hands out none.",
            expected="wav2vec 2.0, HuBERT, WavLM, data2vec, Whisper, spectrogram_resnet, spectrogram_transformer or ecapa_tdnn",
            got=type(encoder).__name__,
            remedy=f"choose such an encoder, or set objective.terms.{term}=null",
        )
    return encoder


def _request(model: nn.Module, layers: Iterable[int | None], who: str, term: str) -> None:
    wanted: Sequence[int] = [layer for layer in layers if layer is not None]
    if not wanted:
        return
    encoder = _encoder_of(model, who, term)
    check_layers_exist(who, wanted, encoder.layer_widths, f"the layers of objective.terms.{term}.loss")
    encoder.hidden_layers = tuple(sorted({*encoder.hidden_layers, *wanted}))
