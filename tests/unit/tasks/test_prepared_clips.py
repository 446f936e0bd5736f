"""Who is served which features, and what is told where it cannot be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import TeacherRecord
from ser_kd.data.clip_features import ClipFeatures
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.views import Views
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.normalize_lld import NormalizedLld
from ser_kd.frontends.precomputed import Precomputed
from ser_kd.models.encoders.prosodic_resnet import ProsodicResnet
from ser_kd.models.heads import LinearHead
from ser_kd.models.named_features import check_hears_waveform, list_heard_features
from ser_kd.models.speech_model import SpeechModel
from ser_kd.tasks.prepared_clips import add_teacher_features, check_heard, extract_features, list_notices
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.mixup import MixUp


class Descriptors:
    width, hop_s, notice = 25, 0.01, "a licence"

    def __init__(self, version: str = "1") -> None:
        self.identity = {"version": version}

    def extract(self, samples: Any, sample_rate_hz: int) -> Any:
        raise AssertionError("nothing is extracted here")


def prosodic() -> SpeechModel:
    encoder = ProsodicResnet(25, widths=(2, 2, 2, 2), embedding_width=3)
    return SpeechModel(encoder, NormalizedLld(Precomputed("lld", 25), "none"), head=LinearHead(3, 4, activation="relu"))


def acoustic() -> nn.Module:
    return nn.Sequential(Mfcc())


def member(model: nn.Module, rate: int | None = 16_000, **features: Any) -> TeacherMember:
    return TeacherMember(model, TeacherRecord("p", "e", "r", "f", [], 0, {}), None, features, rate)


def data(**features: Any) -> Any:
    return SimpleNamespace(features=ClipFeatures(features), sample_rate_hz=16_000)


def test_models_say_what_they_hear() -> None:
    assert list_heard_features(prosodic()) == ["lld"]
    assert list_heard_features(acoustic()) == []
    check_hears_waveform(acoustic(), "exported", "")


def test_a_teacher_is_served_what_its_own_run_computed() -> None:
    served = data()
    add_teacher_features(served, [member(acoustic()), member(prosodic(), lld=Descriptors())])
    assert served.features.describe(["lld"]) == {"lld": {"version": "1"}}
    assert list_notices(served) == ["a licence"]
    untouched = data()
    add_teacher_features(untouched, [member(acoustic(), lld=Descriptors())])
    assert not untouched.features


@pytest.mark.parametrize(
    ("served", "teacher", "match"),
    [
        (data(), member(prosodic()), r"The teacher 'p' hears the feature 'lld', and nothing says how"),
        (data(), member(prosodic(), 8_000, lld=Descriptors()), r"audio of another sample rate(.|\n)*sample_rate_hz=8000"),
        (data(lld=Descriptors("2")), member(prosodic(), lld=Descriptors()), r"'lld' is wanted in two forms"),
    ],
)
def test_a_teacher_that_cannot_be_served_is_told(served: Any, teacher: TeacherMember, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        add_teacher_features(served, [teacher])


def test_a_student_without_its_features_is_told() -> None:
    check_heard(data(lld=Descriptors()), prosodic(), [], Views())
    with pytest.raises(ConfigError, match=r"The student hears the feature 'lld'(.|\n)*datamodule.features=null"):
        check_heard(data(), prosodic(), [], Views())


@pytest.mark.parametrize(
    ("student", "teacher", "views", "remedy"),
    [
        (prosodic(), None, Views(both=Gain()), "views=clean; student.feature_transforms"),
        (prosodic(), None, Views(student=Gain()), "views=clean; student.feature_transforms"),
        (acoustic(), prosodic(), Views(both=Gain()), "views.both=null"),
        (acoustic(), prosodic(), Views(teacher=Gain()), "views.teacher=null"),
        (acoustic(), prosodic(), Views(student=MixUp()), "without mix-up"),
    ],
)
def test_a_view_that_would_not_be_heard_is_refused(student: nn.Module, teacher: nn.Module | None, views: Views, remedy: str) -> None:
    teachers = [] if teacher is None else [member(teacher)]
    with pytest.raises(ConfigError, match=r"named features are those of the clean clip") as fault:
        check_heard(data(lld=Descriptors()), student, teachers, views)
    assert remedy in fault.value.remedy


def test_a_waveform_student_is_augmented_beside_a_teacher_of_features() -> None:
    check_heard(data(lld=Descriptors()), acoustic(), [member(prosodic()), member(acoustic())], Views(student=Gain()))
    check_heard(data(), acoustic(), [member(acoustic())], Views(both=MixUp()))


def test_a_model_of_features_is_not_exported() -> None:
    with pytest.raises(ConfigError, match=r"computed outside of it cannot be exported(.|\n)*hears lld(.|\n)*student"):
        SpeechGraph(prosodic(), FittedClip())


def test_the_embedding_has_both_signs_and_the_head_rectifies_it() -> None:
    torch.manual_seed(0)
    head = LinearHead(3, 2, activation="relu").eval()
    embedding = torch.randn(4, 3)
    assert torch.equal(head(embedding).logits, head(embedding.relu()).logits)
    assert not torch.equal(head(embedding).logits, LinearHead(3, 2)(embedding).logits)
    with pytest.raises(ConfigError, match="Unknown activation"):
        LinearHead(3, 2, activation="gelu")  # type: ignore[arg-type]


def test_a_licence_that_the_teacher_brought_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    served = data(lld=Descriptors())
    served.extract_features = lambda *arguments: 0
    extract_features(served, told=["teacher p: e/r; licence: a licence"])
    assert "a licence" not in capfd.readouterr().out
    extract_features(served)
    assert capfd.readouterr().out.count("a licence") == 1
