import pytest
import torch
from torch import nn

from ser_kd.functional.masking import lengths_to_mask
from ser_kd.models.layers.masked_group_norm import MaskedGroupNorm

LENGTHS = [9, 4, 2]


@pytest.fixture(params=[6, 3, 1])
def norms(request):
    """Ours and torch's with one state."""
    ours, theirs = MaskedGroupNorm(request.param, 6), nn.GroupNorm(request.param, 6)
    with torch.no_grad():
        theirs.weight.copy_(torch.rand(6) + 0.5)
        theirs.bias.copy_(torch.randn(6))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_each_clip_is_normalised_as_torch_does_it_alone(norms):
    ours, theirs = norms
    maps = torch.randn(3, 6, 9, generator=torch.Generator().manual_seed(0)) * 3 + 1
    mine, yours = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    answer = ours(mine, lengths_to_mask(torch.tensor(LENGTHS), 9))
    for row, length in enumerate(LENGTHS):
        expected = theirs(yours[row : row + 1, :, :length])[0]
        torch.testing.assert_close(answer[row, :, :length], expected, rtol=1e-5, atol=1e-5)
        answer[row, :, :length].sin().sum().backward(retain_graph=True)
        expected.sin().sum().backward()
    torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-5)


def test_without_a_mask_it_is_torchs(norms):
    ours, theirs = norms
    maps = torch.randn(3, 6, 9)
    assert torch.equal(ours(maps), theirs(maps))
    torch.testing.assert_close(ours(maps, torch.ones(3, 9, dtype=torch.bool)), theirs(maps), rtol=1e-5, atol=1e-5)


def test_what_lies_in_the_padding_changes_nothing(norms):
    mask = lengths_to_mask(torch.tensor(LENGTHS), 9)
    maps = torch.randn(3, 6, 9)
    loud = torch.where(mask.unsqueeze(1), maps, torch.full_like(maps, 1000.0))
    keep = mask.unsqueeze(1).expand_as(maps)
    torch.testing.assert_close(norms[0](maps, mask)[keep], norms[0](loud, mask)[keep])
