import pytest
import torch
from torch import nn

from ser_kd.functional.masking import lengths_to_mask
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm

LENGTHS = torch.tensor([9, 4, 1])
MASK = lengths_to_mask(LENGTHS, 9)


def valid_frames(maps):
    """The valid frames of all clips, as one long clip."""
    return torch.cat([maps[row, :, :length] for row, length in enumerate(LENGTHS.tolist())], dim=1)[None]


@pytest.mark.parametrize("tail", [(), (5,)])
def test_training_equals_torch_on_the_valid_frames_alone(tail):
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 9, *tail, generator=torch.Generator().manual_seed(0)) * 3 + 1
    ours, theirs = MaskedBatchNorm(4, momentum=0.3), (nn.BatchNorm2d if tail else nn.BatchNorm1d)(4, momentum=0.3)
    with torch.no_grad():
        theirs.weight.copy_(torch.rand(4) + 0.5)
        theirs.bias.copy_(torch.randn(4))
    ours.load_state_dict(theirs.state_dict())
    mine, yours = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    answer, expected = valid_frames(ours(mine, MASK)), theirs(valid_frames(yours))
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    answer.square().sin().sum().backward()
    expected.square().sin().sum().backward()
    torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_what_lies_in_the_padding_changes_nothing():
    maps = torch.randn(3, 4, 9)
    other = torch.where(MASK.unsqueeze(1), maps, torch.full_like(maps, 1000.0))
    first, second = MaskedBatchNorm(4), MaskedBatchNorm(4)
    torch.testing.assert_close(valid_frames(first(maps, MASK)), valid_frames(second(other, MASK)))
    torch.testing.assert_close(first.running_var, second.running_var)


def test_a_full_mask_equals_no_mask():
    maps = torch.randn(3, 4, 9)
    torch.testing.assert_close(MaskedBatchNorm(4)(maps, torch.ones(3, 9, dtype=torch.bool)), MaskedBatchNorm(4)(maps))


def test_evaluation_uses_the_running_statistics():
    norm = MaskedBatchNorm(4)
    norm.running_mean.fill_(2.0)
    norm.eval()
    maps = torch.randn(3, 4, 9)
    torch.testing.assert_close(norm(maps, MASK), (maps - 2.0) / (1.0 + 1e-5) ** 0.5)
    assert torch.equal(norm.running_mean, torch.full((4,), 2.0))


def test_maps_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"\(B, C, F\) or \(B, C, F, M\)"):
        MaskedBatchNorm(4)(torch.randn(3, 4))


@pytest.mark.parametrize("mask", [None, MASK])
def test_without_a_momentum_it_averages_all_batches(mask):
    norm, batches = MaskedBatchNorm(4), [torch.randn(3, 4, 9) for _ in range(3)]
    norm.momentum = None
    for maps in batches:
        norm(maps, mask)
    counted = [maps.transpose(0, 1).flatten(1) if mask is None else valid_frames(maps)[0] for maps in batches]
    torch.testing.assert_close(norm.running_mean, torch.stack([values.mean(dim=1) for values in counted]).mean(dim=0))
    torch.testing.assert_close(norm.running_var, torch.stack([values.var(dim=1) for values in counted]).mean(dim=0))
