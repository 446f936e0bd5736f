import math

import pytest
import torch

from ser_kd.contracts.errors import ShapeError
from ser_kd.metrics.agreement import TeacherAgreement

STUDENT = torch.tensor([[0.0, math.log(3.0)], [2.0, 0.0], [0.0, 1.0]])
TEACHER = torch.tensor([[0.1, 0.0], [2.0, 0.0], [0.0, 1.0]])


def test_by_hand():
    metric = TeacherAgreement()
    metric.update(torch.tensor([[0.0, math.log(3.0)], [5.0, 5.5]]), torch.tensor([[0.0, 0.0], [5.0, 5.5]]))
    found = metric.compute()
    assert found["divergence"].item() == pytest.approx((0.5 * math.log(2.0) + 0.5 * math.log(2 / 3)) / 2, abs=1e-6)
    assert found["agreement"].item() == 0.5
    assert found["count"].item() == 2


def test_batches_and_states_add_up():
    whole, first, second = TeacherAgreement(), TeacherAgreement(), TeacherAgreement()
    whole.update(STUDENT, TEACHER)
    first.update(STUDENT[:1], TEACHER[:1])
    second.update(STUDENT[1:], TEACHER[1:])
    first.merge_state(second)
    for name, value in whole.compute().items():
        torch.testing.assert_close(first.compute()[name], value)
    assert whole.compute()["agreement"].item() == pytest.approx(2 / 3)


def test_nothing_is_nan():
    metric = TeacherAgreement()
    metric.update(STUDENT[:0], TEACHER[:0])
    assert metric.compute()["agreement"].isnan()
    assert metric.compute()["divergence"].isnan()


def test_what_does_not_fit_is_told():
    with pytest.raises(ShapeError, match="differ in shape"):
        TeacherAgreement().update(STUDENT, TEACHER[:2])
    with pytest.raises(ShapeError, match="not finite"):
        TeacherAgreement().update(STUDENT * torch.nan, TEACHER)
