import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.models.layers.valid_frames import take_frames, valid_mask


def test_frames_behind_the_end_become_zero():
    frames = torch.full((2, 3, 4), float("nan"))
    frames[0], frames[1, :1] = 1.0, 2.0
    taken, mask = take_frames(Features(frames, torch.tensor([3, 1])), 4, "Encoder")
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert taken[1].tolist() == [[2.0] * 4, [0.0] * 4, [0.0] * 4]


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 3])])
def test_no_mask_where_every_frame_is_valid(lengths):
    frames = torch.randn(2, 3, 4)
    taken, mask = take_frames(Features(frames, lengths), 4, "Encoder")
    assert mask is None
    assert taken is frames
    assert valid_mask(lengths, 3) is None


def test_missing_or_foreign_frames_are_told():
    with pytest.raises(ConfigError, match="Encoder needs feature frames"):
        take_frames(Features(None, None, texts=["hello"]), 4, "Encoder")
    with pytest.raises(ShapeError, match=r"expected: \(batch, frames, 4\)\n.*\(2, 3, 5\)"):
        take_frames(Features(torch.zeros(2, 3, 5), None), 4, "Encoder")
    with pytest.raises(ShapeError, match="3 axes"):
        take_frames(Features(torch.zeros(3, 4), None), 4, "Encoder")
