import pytest
import torch
from torch import nn

from ser_kd.functional.masking import lengths_to_mask
from ser_kd.models.layers.reflected_ends import reflect_ends


@pytest.mark.parametrize("span", [0, 1, 4])
def test_whole_clips_are_padded_as_torch_does(span):
    maps = torch.randn(2, 3, 9)
    assert torch.equal(reflect_ends(maps, None, span), nn.functional.pad(maps, (span, span), mode="reflect"))


@pytest.mark.parametrize("span", [1, 4])
def test_each_clip_is_mirrored_at_its_own_end(span):
    lengths = [9, 7, 5]
    maps = torch.randn(3, 2, 12)
    padded = reflect_ends(maps, lengths_to_mask(torch.tensor(lengths), 12), span)
    assert padded.shape == (3, 2, 12 + 2 * span)
    for row, length in enumerate(lengths):
        alone = nn.functional.pad(maps[row : row + 1, :, :length], (span, span), mode="reflect")
        assert torch.equal(padded[row, :, : length + 2 * span], alone[0])


@pytest.mark.parametrize(("frames", "expected"), [
    ([5.0], [5, 5, 5, 5, 5, 5, 5]), ([1.0, 2.0], [2, 1, 2, 1, 2, 1, 2, 1]), ([1.0, 2.0, 3.0], [2, 3, 2, 1, 2, 3, 2, 1, 2]),
])  # fmt: skip
def test_short_clips_are_mirrored_again_and_again(frames, expected):
    alone = torch.tensor(frames)[None, None]
    assert reflect_ends(alone, None, 3).flatten().tolist() == expected
    padded = nn.functional.pad(alone, (0, 6), value=99.0)
    mask = lengths_to_mask(torch.tensor([len(frames)]), padded.shape[2])
    assert reflect_ends(padded, mask, 3).flatten()[: len(expected)].tolist() == expected


def test_the_gradient_is_that_of_torch():
    maps = torch.randn(1, 2, 9, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 2, 13, dtype=torch.float64)
    (expected,) = torch.autograd.grad((nn.functional.pad(maps, (2, 2), mode="reflect") * weights).sum(), maps)
    longer = nn.functional.pad(maps, (0, 4))
    (found,) = torch.autograd.grad((reflect_ends(longer, lengths_to_mask(torch.tensor([9]), 13), 2)[..., :13] * weights).sum(), maps)
    torch.testing.assert_close(found, expected)
