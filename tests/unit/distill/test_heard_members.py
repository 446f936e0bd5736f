from __future__ import annotations

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.heard_members import check_members_exist, check_weights_heard, list_heard_members
from ser_kd.distill.objective import Objective
from ser_kd.distill.objective_checks import check_without_labels
from ser_kd.distill.schedules import LinearSchedule
from ser_kd.distill.teacher_ensemble import Weights
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.embedding_cosine import EmbeddingCosine
from ser_kd.losses.soft_targets import SoftTargets

MEMBERS = ["linguistic", "prosodic"]


def make(alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0, **options: object) -> Objective:
    terms = {
        "labels": {"loss": CrossEntropy(), "weight": "gamma"},
        "words": {"loss": SoftTargets(4.0, teacher="linguistic"), "weight": "alpha"},
        "prosody": {"loss": EmbeddingCosine("prosodic"), "weight": "beta"},
    }
    return Objective(terms, alpha=alpha, beta=beta, gamma=gamma, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "heard"),
    [
        ({}, MEMBERS),
        ({"alpha": 0.0}, ["prosodic"]),
        ({"beta": 0.0}, ["linguistic"]),
        ({"alpha": 0.0, "beta": 0.0}, []),
        ({"alpha": 0.0, "schedules": {"alpha": LinearSchedule(0.0, 1.0)}}, MEMBERS),  # it begins at 0 and is heard later
    ],
)
def test_only_terms_with_a_weight_listen(numbers: dict, heard: list[str]) -> None:
    assert list_heard_members(make(**numbers), MEMBERS) == heard


def test_a_term_of_the_combined_answer_listens_to_all() -> None:
    objective = Objective({"kl": {"loss": SoftTargets(2.0)}, "words": {"loss": SoftTargets(4.0, teacher="linguistic")}})
    assert list_heard_members(objective, ["third", *MEMBERS]) == ["third", *MEMBERS]


def test_a_weight_of_zero_is_a_term_switched_off() -> None:
    parts = {"a": {"loss": CrossEntropy(), "weight": "1 - alpha"}, "b": {"loss": SoftTargets(2.0), "weight": "alpha * beta"}}
    assert Objective(parts, alpha=1.0, beta=0.5).is_switched_off("a")  # type: ignore[arg-type]
    assert not Objective(parts, alpha=0.5, beta=0.5).is_switched_off("a")  # type: ignore[arg-type]
    falling = Objective(parts, alpha=1.0, beta=0.5, schedules={"alpha": LinearSchedule(1.0, 0.5)})  # type: ignore[arg-type]
    assert not falling.is_switched_off("a")
    assert Objective(parts, alpha=0.5, beta=0.0).is_switched_off("b")  # type: ignore[arg-type]
    assert Objective({"a": {"loss": CrossEntropy(), "weight": 0}}).is_switched_off("a")
    assert make(alpha=0.0).terms_needing_teacher() == ["prosody"]
    check_without_labels(make(gamma=0.0))  # labels nobody asks for need not be there


def test_a_name_that_never_was_is_told() -> None:
    check_members_exist(make(), MEMBERS)
    with pytest.raises(ConfigError, match=r"(?s)'words' listens to a teacher that is not there.*combined, linguistics, prosodic") as fault:
        check_members_exist(make(alpha=0.0), ["linguistics", "prosodic"])
    assert "did you mean 'linguistics'?" in fault.value.remedy
    with pytest.raises(ConfigError) as fault:
        check_members_exist(make(), ["teacher"])  # a single one, beside whom no member can be named
    named = ",".join(f"{name}:{{experiment:NAME}}" for name in MEMBERS)
    assert f"teacher=ensemble 'teacher.members={{{named}}}' without teacher.experiment" in fault.value.remedy


def test_members_are_weighed_by_their_shares() -> None:
    objective = make(weigh_members=True)
    weights = {name: objective.weight_of(name, 0.0) for name in objective.losses}
    objective.set_member_shares({"linguistic": 0.5, "prosodic": 0.5})
    assert {name: objective.weight_of(name, 0.0) for name in objective.losses} == weights  # uniform changes nothing
    objective.set_member_shares({"linguistic": 0.8, "prosodic": 0.2})
    assert [objective.weight_of(name, 0.0) for name in objective.losses] == pytest.approx([1.0, 1.6, 0.4])
    assert objective.describe()["weigh_members"]
    plain = make()
    plain.set_member_shares({"linguistic": 0.8, "prosodic": 0.2})
    assert plain.weight_of("words", 0.0) == 1.0
    assert "weigh_members" not in plain.describe()


def test_weights_that_no_term_hears_are_refused() -> None:
    def weigh(weights: Weights, *names: str) -> TeacherSpec:
        return TeacherSpec(members={name: {"run": name} for name in names or MEMBERS}, weights=weights)

    for weights in ("validation_confidence", "per_class", {"linguistic": 2.0, "prosodic": 1.0}):
        with pytest.raises(ConfigError, match="no term hears of it") as fault:
            check_weights_heard(make(), weigh(weights))  # type: ignore[arg-type]
        assert "listen to linguistic, prosodic alone" in fault.value.got
        check_weights_heard(make(weigh_members=True), weigh(weights))  # type: ignore[arg-type]
    check_weights_heard(make(), weigh("uniform"))
    check_weights_heard(make(), weigh("validation_confidence", "linguistic"))  # nobody to be weighed against
    combined = Objective({"all": {"loss": SoftTargets(2.0)}})
    check_weights_heard(combined, weigh("validation_confidence"))
