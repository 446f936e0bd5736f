import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.crnn import Crnn

SMALL = {"widths": (3, 4, 5), "hidden_width": 6}


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("frames", [1, 30])
def test_frames_come_at_the_reduced_rate(halvings, frames, make_features):
    encoded = Crnn(9, **SMALL, time_halvings=halvings)(make_features([frames, frames], 9))
    assert encoded.frames.shape == (2, -(-frames // 2**halvings), 12)
    assert encoded.frame_mask is None


def test_both_directions_hear_the_whole_clip():
    encoder = Crnn(8, widths=(4,), time_halvings=0, hidden_width=3).eval()
    frames = torch.randn(1, 20, 8)
    changed = frames.clone()
    changed[:, 10] += 1.0
    difference = (encoder(Features(frames, None)).frames - encoder(Features(changed, None)).frames).abs()[0] > 0
    assert difference[12:, :3].all()
    assert not difference[:9, :3].any()  # the forward half has not heard it yet
    assert difference[:9, 3:].all()
    assert not difference[12:, 3:].any()


@pytest.mark.parametrize(("bins", "widths"), [(8, ()), (8, (2,) * 4)])
def test_a_layout_that_does_not_fit_is_refused(bins, widths):
    with pytest.raises(ConfigError, match=r"mel bins or more"):
        Crnn(bins, widths=widths)
