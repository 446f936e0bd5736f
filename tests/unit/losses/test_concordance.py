import numpy as np
import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.concordance import SMALLEST_DEVIATION, Concordance
from ser_kd.losses.dimension_error import DimensionError

GENERATOR = torch.Generator().manual_seed(1)
SAID, TRUE = torch.rand(12, 3, generator=GENERATOR), torch.rand(12, 3, generator=GENERATOR)


@pytest.fixture
def annotated(make_batch):
    """A batch with these annotations; NaN where missing."""

    def make(truth):
        batch = make_batch(classes=[-1] * len(truth))
        batch.dimensions, batch.dimension_mask = truth, ~truth.isnan()
        return batch

    return make


def teacher_says(dimensions):
    outputs = Outputs(dimensions=dimensions)
    return TeacherAnswers({"teacher": outputs}, outputs)


def plain_concordance(x, y):
    """Lin's formula as it stands, with numpy's moments (divided by n)."""
    return 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_it_is_one_less_the_plain_concordance_weighted_and_masked(annotated):
    truth = TRUE.clone()
    truth[9:, 1] = torch.nan
    scores = [plain_concordance(SAID[:n, d].double().numpy(), TRUE[:n, d].double().numpy()) for d, n in enumerate((12, 9, 12))]
    found = Concordance()(Outputs(dimensions=SAID), annotated(truth), None)
    assert found.item() == pytest.approx(1 - np.mean(scores), abs=1e-5)
    weighted = Concordance(weights=[2, 0, 1])(Outputs(dimensions=SAID), annotated(truth), None)
    assert weighted.item() == pytest.approx(1 - (2 * scores[0] + scores[2]) / 3, abs=1e-5)


def test_right_answers_cost_nothing_and_mirrored_ones_most(annotated):
    assert Concordance()(Outputs(dimensions=TRUE), annotated(TRUE), None).item() == pytest.approx(0.0, abs=1e-6)
    mirrored = 2 * TRUE.mean(dim=0) - TRUE
    assert Concordance()(Outputs(dimensions=mirrored), annotated(TRUE), None).item() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize(
    "truth",
    [
        torch.full((4, 3), 0.5),  # constant
        torch.full((4, 3), torch.nan),  # nothing annotated
        torch.rand(1, 3),  # one clip
        0.5 + 0.1 * SMALLEST_DEVIATION * torch.randn(4, 3, generator=GENERATOR),  # constant but for rounding
        0.5 + 1e-22 * torch.arange(12.0).reshape(4, 3),
    ],
)
def test_batches_that_say_nothing_give_zero_and_no_gradient(annotated, truth):
    said = torch.rand(len(truth), 3, generator=GENERATOR).requires_grad_()
    loss = Concordance()(Outputs(dimensions=said), annotated(truth), None)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(said.grad, torch.zeros_like(said))


def test_a_constant_dimension_leaves_its_weight_to_the_others(annotated):
    truth = TRUE.clone()
    truth[:, 2] = 0.25
    found = Concordance()(Outputs(dimensions=SAID), annotated(truth), None)
    others = Concordance(weights=[1, 1, 0])(Outputs(dimensions=SAID), annotated(TRUE), None)
    assert found.item() == pytest.approx(others.item(), abs=1e-6)


def test_constant_predictions_learn_and_slopes_are_bounded(annotated):
    said = torch.full((12, 3), 0.5, requires_grad=True)
    Concordance()(Outputs(dimensions=said), annotated(TRUE), None).backward()
    assert (said.grad.abs().sum(dim=0) > 0).all()
    steep = 0.5 + 1.01 * SMALLEST_DEVIATION * torch.tensor([1.0, -1.0] * 6)[:, None].expand(12, 3)
    near = (steep + 1e-5 * torch.randn(12, 3, generator=GENERATOR)).requires_grad_()
    Concordance()(Outputs(dimensions=near), annotated(steep), None).backward()
    assert near.grad.abs().max() <= 4 / (12**0.5 * SMALLEST_DEVIATION)


@pytest.mark.parametrize("loss", [Concordance("teacher"), DimensionError("teacher")])
def test_what_the_teacher_never_learned_teaches_nothing(make_batch, loss):
    said, told = SAID.clone().requires_grad_(), TRUE.clone()
    told[:, 1] = torch.nan
    value = loss(Outputs(dimensions=said), make_batch(classes=[-1] * 12), teacher_says(told))
    value.backward()
    assert value.isfinite()
    assert not said.grad[:, 1].any()
    assert (said.grad[:, [0, 2]].abs().sum(dim=0) > 0).all()
    told[3, 0] = torch.nan  # one answer among others is a fault, not a dimension that is not there
    assert DimensionError("teacher")(Outputs(dimensions=said), make_batch(classes=[-1] * 12), teacher_says(told)).isnan()


@pytest.mark.parametrize("loss", [Concordance("teacher"), DimensionError("teacher")])
def test_the_teacher_is_followed_without_labels_and_gets_no_gradient(make_batch, loss):
    said, told = SAID.clone().requires_grad_(), TRUE.clone().requires_grad_()
    loss(Outputs(dimensions=said), make_batch(classes=[-1] * 12), teacher_says(told)).backward()
    assert loss.needs_teacher
    assert said.grad.abs().sum() > 0
    assert told.grad is None


def test_the_squared_error_by_hand(annotated):
    truth = torch.tensor([[0.0, torch.nan, 1.0], [0.5, 0.5, torch.nan]])
    said = torch.tensor([[0.1, 9.0, 0.8], [0.5, 0.1, 9.0]], requires_grad=True)
    loss = DimensionError(weights=[1, 1, 2])(Outputs(dimensions=said), annotated(truth), None)
    loss.backward()
    assert loss.item() == pytest.approx((0.01 + 0.0 + 0.16 + 2 * 0.04) / 5)
    assert said.grad[0, 1] == said.grad[1, 2] == 0
    silent = said.detach().requires_grad_()
    nothing = DimensionError()(Outputs(dimensions=silent), annotated(torch.full((2, 3), torch.nan)), None)
    nothing.backward()
    assert nothing.item() == 0.0
    assert torch.equal(silent.grad, torch.zeros_like(silent))


@pytest.mark.parametrize("kind", [Concordance, DimensionError])
def test_what_does_not_fit_is_told(make_batch, kind):
    batch = make_batch(classes=[0, 1])
    with pytest.raises(ConfigError, match="does not answer with arousal"):
        kind("teacher")(Outputs(dimensions=SAID[:2]), batch, teacher_says(None))
    with pytest.raises(ConfigError, match="needs a teacher"):
        kind("teacher")(Outputs(dimensions=SAID[:2]), batch, None)
    with pytest.raises(ConfigError, match="needs a student that answers"):
        kind()(Outputs(logits=SAID[:2]), batch, None)
    with pytest.raises(ShapeError, match="differ in shape"):
        kind("teacher")(Outputs(dimensions=SAID[:2]), batch, teacher_says(SAID))
    with pytest.raises(ConfigError, match="whom to follow"):
        kind("both")
    for weights in ([1, 1], [0, 0, 0], [1, -1, 1]):
        with pytest.raises(ConfigError, match="weights of"):
            kind(weights=weights)
