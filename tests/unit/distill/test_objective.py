from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.objective import Objective
from ser_kd.distill.objective_checks import check_batch_size, check_targets, check_without_labels
from ser_kd.distill.schedules import CosineSchedule, LinearSchedule, WarmupCosine
from ser_kd.losses.concordance import Concordance
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.decoupled import Decoupled
from ser_kd.losses.dimension_error import DimensionError
from ser_kd.losses.relational import RelationalDistance
from ser_kd.losses.soft_targets import SoftTargets
from ser_kd.losses.supervised_contrastive import SupervisedContrastive


class Constant(nn.Module):
    def __init__(self, value: float, needs_teacher: bool = False, temperature: float | None = 1.0) -> None:
        super().__init__()
        self.value, self.needs_teacher, self.temperature = value, needs_teacher, temperature
        self.calls = 0

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        self.calls += 1
        assert student.logits is not None
        return self.value * student.logits.sum()


STUDENT = Outputs(logits=torch.ones(1, 1))
BATCH = SpeechBatch(["a"], ["s"], torch.zeros(1, 4), torch.tensor([4]), torch.tensor([0]))


def total(objective: Objective, progress: float = 0.0) -> float:
    return float(objective(STUDENT, BATCH, None, progress)[0])


def pair(alpha: float | None = 0.25, **options: object) -> Objective:
    terms = {"ce": {"loss": Constant(1.0), "weight": "alpha"}, "kl": {"loss": Constant(10.0, True), "weight": "1 - alpha"}}
    return Objective(terms, alpha=alpha, **options)  # type: ignore[arg-type]


def test_weights_are_plain_factors() -> None:
    objective = pair()
    loss, parts = objective(STUDENT, BATCH, None)
    assert float(loss) == pytest.approx(0.25 * 1 + 0.75 * 10)
    assert {name: float(v) for name, v in parts.items()} == {"ce": 1.0, "kl": 10.0}
    mixed = Objective({"a": {"loss": Constant(2.0), "weight": 3}, "b": {"loss": Constant(5.0), "weight": "beta"}}, beta=0.5)
    assert total(mixed) == pytest.approx(8.5)


def test_a_term_of_weight_zero_is_not_computed_and_its_teacher_not_asked() -> None:
    objective = pair(alpha=1.0)
    assert total(objective) == 1.0
    assert objective.losses["kl"].calls == 0
    assert not objective.listens_to_teacher(0.0)
    assert pair().listens_to_teacher(0.0)
    assert pair().terms_needing_teacher() == ["kl"]


def test_schedules_replace_numbers_and_temperature_reaches_terms_without_one() -> None:
    objective = pair(schedules={"alpha": LinearSchedule(1.0, 0.0)})
    assert [round(total(objective, p), 6) for p in (0.0, 0.5, 1.0)] == [1.0, 5.5, 10.0]
    warm, own = Constant(1.0, temperature=None), Constant(1.0, temperature=7.0)
    objective = Objective({"a": {"loss": warm}, "b": {"loss": own}}, temperature=4.0, schedules={"temperature": LinearSchedule(4.0, 2.0)})
    total(objective, 0.0)
    assert warm.temperature == 4.0
    total(objective, 1.0)
    assert (warm.temperature, own.temperature) == (2.0, 7.0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pair(alpha=None), "uses 'alpha'"),
        (lambda: pair(alpha=1.5), "weight of 'kl' is negative"),
        (lambda: Objective({"a": {"loss": Constant(1.0), "weight": "delta"}}), "uses 'delta'"),
        (lambda: Objective({"a": {"loss": Constant(1.0, temperature=None)}}), "has no temperature"),
        (lambda: Objective({"a": None}), "no term"),  # type: ignore[dict-item]
        (lambda: pair(temperature=0.0), "must be positive"),
        (lambda: pair(schedules={"apha": LinearSchedule(0, 1)}), "names nothing"),
        (lambda: total(Objective({"a": {"loss": Constant(1.0), "weight": 0}})), "weight 0"),
        (lambda: LinearSchedule(0, 1, until=0), "share of the training"),
    ],
)
def test_bad_input(make, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_batches_that_are_too_small_for_a_term_are_refused() -> None:
    triple = Constant(1.0)
    triple.minimum_batch = 3  # type: ignore[assignment]
    objective = Objective({"ce": {"loss": Constant(1.0)}, "angle": {"loss": triple}})
    check_batch_size(objective, 3)
    with pytest.raises(ConfigError, match=r"(?s)'angle'.*at least 3 clips.*datamodule.batch_size=2.*objective.terms.angle=null"):
        check_batch_size(objective, 2)
    check_batch_size(pair(), 1)


def test_terms_that_learn_from_labels_are_refused_where_there_are_none() -> None:
    alone = Objective(
        {"kl": {"loss": SoftTargets(2.0)}, "ccc": {"loss": Concordance("teacher")}, "error": {"loss": DimensionError("teacher")}}
    )
    check_without_labels(alone)
    for loss in (CrossEntropy(), Decoupled(2.0), SupervisedContrastive(), Concordance("labels"), DimensionError("labels")):
        with pytest.raises(ConfigError, match="No training clip has a label, and asks would learn") as fault:
            check_without_labels(Objective({"kl": {"loss": SoftTargets(2.0)}, "asks": {"loss": loss}}))
        assert fault.value.got == "objective.terms.asks"


def test_a_term_set_to_null_is_switched_off() -> None:
    assert total(Objective({"a": {"loss": Constant(2.0)}, "b": None})) == 2.0  # type: ignore[dict-item]


def test_shapes_of_schedules() -> None:
    assert [LinearSchedule(4, 1, until=0.5).value(p) for p in (0, 0.25, 0.5, 1)] == [4, 2.5, 1, 1]
    assert CosineSchedule(2, 0).value(0.5) == pytest.approx(1.0)
    warm = WarmupCosine(0.1, floor=0.2)
    assert warm.value(0.05) == pytest.approx(0.5)
    assert warm.value(0.1) == pytest.approx(1.0)
    assert warm.value(1.0) == pytest.approx(0.2)
    assert WarmupCosine(0.0).value(0.0) == 1.0


def test_a_weight_may_be_a_product_and_depend_on_where_the_term_stands() -> None:
    def place(**where: object) -> Objective:
        weights = {"inside": "alpha * beta", "outside": "beta"}
        return Objective({"ml": {"loss": Constant(1.0), "weight": weights, **where}}, alpha=0.7, beta=0.5)  # type: ignore[dict-item, typeddict-item]

    assert total(place(placement="inside")) == pytest.approx(0.35)
    assert total(place(placement="outside")) == pytest.approx(0.5)
    assert place(placement="outside").describe()["terms"] == {"ml": "beta"}
    for wrong in ({"placement": "above"}, {}):
        with pytest.raises(ConfigError, match=r"placement as one of inside, outside"):
            place(**wrong)
    with pytest.raises(ConfigError, match="one weight and no placement"):
        Objective({"ml": {"loss": Constant(1.0), "weight": 1.0, "placement": "inside"}})


def test_terms_and_targets_must_fit() -> None:
    classes, dimensions, neither = CrossEntropy(), Concordance(), RelationalDistance()
    both = Objective({"a": {"loss": classes}, "b": {"loss": dimensions}, "c": {"loss": neither}})
    check_targets(both, "both")
    with pytest.raises(ConfigError, match="'b' needs dimensions"):
        check_targets(both, "classes")
    with pytest.raises(ConfigError, match="'a' needs classes"):
        check_targets(both, "dimensions")
    assert not both.needs_dimensions_of_teacher()
    assert Objective({"b": {"loss": Concordance("teacher")}}).needs_dimensions_of_teacher()
