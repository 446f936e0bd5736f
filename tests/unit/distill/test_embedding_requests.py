from __future__ import annotations

import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import TeacherAnswers
from ser_kd.distill.embedding_requests import connect_embeddings
from ser_kd.distill.objective import Objective
from ser_kd.frontends.waveform import Waveform
from ser_kd.losses.embedding_cosine import EmbeddingCosine
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.heads import LinearHead, MlpHead
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.projected_heads import ProjectedHead
from ser_kd.models.speech_model import SpeechModel

BATCH = SpeechBatch(["a", "b"], ["s", "s"], torch.randn(2, 32), torch.tensor([32, 20]), torch.tensor([0, 1]))


def make(width: int, head: nn.Module) -> SpeechModel:
    return SpeechModel(SpectrogramTransformer(1, width=width, heads=2, layers=1), Waveform(), MeanPooling(), head=head).eval()


def make_teachers() -> dict[str, SpeechModel]:
    teachers = {"linguistic": make(16, LinearHead(16, 3)), "prosodic": make(12, MlpHead(12, 3, hidden_width=6))}
    return {name: model.requires_grad_(False) for name, model in teachers.items()}


def make_objective(beta: float = 1.0, heard: str = "linguistic", **options: object) -> Objective:
    terms = {
        "words": {"loss": EmbeddingCosine(heard, "linguistic", projection=nn.Linear, **options), "weight": "beta"},  # type: ignore[arg-type]
        "prosody": {"loss": EmbeddingCosine("prosodic", "prosodic", "hidden", nn.Linear), "weight": 1.0},
    }
    return Objective(terms, beta=beta)  # type: ignore[arg-type]


def ask(objective: Objective, student: SpeechModel, teachers: dict[str, SpeechModel]) -> torch.Tensor:
    members = {name: model(BATCH.model_input()) for name, model in teachers.items()}
    return objective(student(BATCH.model_input()), BATCH, TeacherAnswers(members, next(iter(members.values()))))[0]


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_projections_of_the_classifier_are_the_students_own() -> None:
    objective, student, teachers = make_objective(), make(8, ProjectedHead(8, 3, {"linguistic": 16, "prosodic": 6})), make_teachers()
    connect_embeddings(objective, student, teachers)
    assert size(objective) == 0
    ask(objective, student, teachers).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in student.head.projections.parameters())
    assert all(parameter.grad is None for model in teachers.values() for parameter in model.parameters())


def test_projections_of_the_loss_alone_belong_to_the_objective() -> None:
    student, teachers = make(8, ProjectedHead(8, 3, {"linguistic": "teacher", "prosodic": "teacher"}, "pooled")), make_teachers()
    before = list(student.state_dict())
    objective = make_objective()
    connect_embeddings(objective, student, teachers)
    assert size(objective) == 8 * 16 + 16 + 8 * 6 + 6
    assert list(student.state_dict()) == before
    assert size(student.head) == 8 * 3 + 3
    ask(objective, student, teachers).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in objective.parameters())


def test_a_term_that_is_switched_off_makes_nothing() -> None:
    objective = make_objective(beta=0.0)
    connect_embeddings(objective, make(8, LinearHead(8, 3)), make_teachers())
    assert size(objective) == 8 * 6 + 6
    connect_embeddings(make_objective(), make(8, LinearHead(8, 3)), {})  # no teacher, nothing to ask


def test_members_as_one_are_as_wide_as_all_of_them() -> None:
    objective = make_objective(heard="combined")
    connect_embeddings(objective, make(8, LinearHead(8, 3)), make_teachers())
    assert objective.losses["words"].projection.out_features == 16 + 12


def test_what_does_not_tell_its_embeddings_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'words' asks how wide the embeddings of the student are.*Identity"):
        connect_embeddings(make_objective(), nn.Identity(), make_teachers())
    with pytest.raises(ConfigError, match=r"(?s)embeddings of the teacher 'linguistic' are.*Linear"):
        connect_embeddings(make_objective(), make(8, LinearHead(8, 3)), {**make_teachers(), "linguistic": nn.Linear(1, 1)})  # type: ignore[dict-item]
