from __future__ import annotations

import pytest
import torch
from torch import nn

from ser_kd.models.layers import shared_statistics
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.shared_statistics import keeps_own_statistics, pool_moments, share_statistics


def test_moments_of_shares_make_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(20, 3, dtype=torch.float64) * 3 + 5
    shares = [values[:7], values[7:]]
    moments = torch.stack(
        [torch.cat([torch.tensor([float(len(s))], dtype=torch.float64), s.mean(dim=0), s.var(dim=0, unbiased=False)]) for s in shares]
    )
    monkeypatch.setattr(shared_statistics._GatheredMoments, "apply", lambda own: moments)
    count, mean, variance = pool_moments(*moments[0].split([1, 3, 3]))
    assert float(count) == 20
    torch.testing.assert_close(mean, values.mean(dim=0))
    torch.testing.assert_close(variance, values.var(dim=0, unbiased=False))


@pytest.mark.parametrize("mask", [None, torch.tensor([[True] * 5, [True, True, False, False, False]])])
def test_pooling_alone_changes_nothing(mask: torch.Tensor | None) -> None:
    def run(pool: bool) -> list[torch.Tensor]:
        norm = MaskedBatchNorm(4)
        norm.pool = (lambda count, mean, variance: (count, mean, variance)) if pool else None
        maps = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = norm(maps, mask)
        out.square().mul(torch.arange(5.0)).sum().backward()
        return [out.detach(), maps.grad, norm.running_mean, norm.running_var]

    for found, expected in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_what_is_shared_can_be_set_back() -> None:
    model = nn.Sequential(nn.Sequential(MaskedBatchNorm(3)), nn.Linear(2, 2))
    names = list(model.state_dict())
    assert keeps_own_statistics(model)
    share_statistics(model)
    assert not keeps_own_statistics(model)
    assert list(model.state_dict()) == names
    share_statistics(model, shared=False)
    assert keeps_own_statistics(model)


def test_plain_norms_are_told_of_where_nothing_shares_them() -> None:
    if torch.cuda.is_available():
        pytest.skip("with a GPU they become torch's SyncBatchNorm")
    model = nn.Sequential(nn.BatchNorm1d(3))
    share_statistics(model)
    assert keeps_own_statistics(model)
    model.requires_grad_(False)
    assert not keeps_own_statistics(model)  # a frozen one keeps the statistics it came with
