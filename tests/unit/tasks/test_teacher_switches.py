"""Which terms and projections a dropped member takes along, who is asked, and how wide projections become."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.tasks.teacher_switches import drop_members, fill_projection_widths, keep_heard_members


class Wide(nn.Module):
    """Says how wide its embeddings are, and nothing else."""

    def __init__(self, **widths: int) -> None:
        super().__init__()
        self.embedding_widths = {name if name != "pooled" else None: width for name, width in widths.items()}


def make_config(*words: str, student: str = "emodistill_hubert_base", objective: str = "emodistill") -> DictConfig:
    members = "teacher.members={linguistic: {experiment: a/b}, prosodic: {experiment: a/c}}"
    base = ["corpus=demo", "scale=tiny", f"student={student}", "teacher=ensemble", members, f"objective={objective}"]
    return compose("train", [*base, *words])


def make_teacher(**models: nn.Module) -> TeacherEnsemble:
    chosen = models or {"linguistic": Wide(pooled=24), "prosodic": Wide(pooled=12, hidden=5)}
    members = [TeacherMember(model, TeacherRecord(name, None, None, None, [], 1)) for name, model in chosen.items()]
    return TeacherEnsemble(members, ["x", "y"])


def list_terms(config: DictConfig) -> list[str]:
    return [name for name, term in config.objective.terms.items() if term is not None]


def test_a_dropped_member_takes_its_terms_and_projection_along_and_it_is_told() -> None:
    config = make_config()
    config.teacher.members.prosodic = None
    lines = drop_members(config, build(config.teacher))
    assert list_terms(config) == ["cross_entropy", "soft_targets_linguistic", "embedding_linguistic"]
    assert dict(config.student.head.projections) == {"linguistic": "teacher", "prosodic": None}
    assert lines == [
        "the teacher prosodic is dropped, and with it objective.terms.soft_targets_prosodic, objective.terms.embedding_prosodic, "
        "student.head.projections.prosodic"
    ]


def test_without_any_member_terms_of_all_of_them_go_too() -> None:
    config = make_config(objective="ce_kl")
    for name in ("linguistic", "prosodic"):
        config.teacher.members[name] = None
    lines = drop_members(config, build(config.teacher))
    assert list_terms(config) == ["cross_entropy"]
    assert lines[-1] == "no teacher is left, and with it objective.terms.soft_targets"
    one = make_config(objective="ce_kl")
    one.teacher.members.prosodic = None
    drop_members(one, build(one.teacher))
    assert list_terms(one) == ["cross_entropy", "soft_targets"]


def test_a_member_nobody_hears_is_loaded_and_not_asked() -> None:
    config = make_config("objective.alpha=0", "objective.terms.embedding_prosodic=null")
    asked, lines = keep_heard_members(config, build(config.objective), make_teacher())
    assert asked is not None
    assert [member.name for member in asked.members] == ["linguistic"]
    assert lines == ["no term that counts listens to the teacher prosodic: it is not run"]
    nobody = make_config("objective.alpha=0", "objective.beta=0")
    assert keep_heard_members(nobody, build(nobody.objective), make_teacher())[0] is None
    started = compose("train", ["corpus=demo", "student=distil_wav2vec2", "student.init_from=teacher", "objective=ce"])
    assert keep_heard_members(started, build(started.objective), make_teacher())[0] is not None  # compared with what it began as


def test_projections_become_as_wide_as_what_they_follow() -> None:
    config = make_config("objective.terms.embedding_prosodic.loss.teacher_embedding=hidden")
    fill_projection_widths(config, build(config.objective), make_teacher())
    assert dict(config.student.head.projections) == {"linguistic": 24, "prosodic": 5}
    pooled = make_config("student.head.projections.linguistic=7")
    fill_projection_widths(pooled, build(pooled.objective), make_teacher())
    assert dict(pooled.student.head.projections) == {"linguistic": 7, "prosodic": 12}
    other = make_config(student="timnet_60", objective="ce")
    fill_projection_widths(other, build(other.objective), make_teacher())


def test_what_a_projection_cannot_follow_is_told() -> None:
    config = make_config("+student.head.projections.prosody=teacher")
    with pytest.raises(ConfigError, match=r"(?s)'prosody' follows a teacher that is not there.*projections.prosody=teacher") as fault:
        fill_projection_widths(config, build(config.objective), make_teacher())
    assert "did you mean 'prosodic'?" in fault.value.remedy
    config = make_config()
    with pytest.raises(ConfigError, match=r"(?s)'student.head.projections.linguistic' asks how wide.*Linear"):
        fill_projection_widths(config, build(config.objective), make_teacher(linguistic=nn.Linear(1, 1), prosodic=Wide(pooled=1)))
