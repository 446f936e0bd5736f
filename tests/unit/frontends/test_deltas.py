import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.frontends.deltas import Deltas
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.precomputed import Precomputed


def ramp(length: int, slope: float) -> ModelInput:
    frames = (slope * torch.arange(length, dtype=torch.float32))[None, :, None]
    return ModelInput(torch.zeros(1, 1), torch.tensor([1]), features={"ramp": (frames, torch.tensor([length]))})


def test_the_slope_of_a_ramp_is_its_slope_and_the_slope_of_that_is_zero():
    frames = Deltas(Precomputed("ramp", 1), orders=2, window_frames=5)(ramp(20, 1.5)).frames
    assert frames.shape == (1, 20, 3)
    torch.testing.assert_close(frames[0, 2:-2, 1], torch.full((16,), 1.5))
    torch.testing.assert_close(frames[0, 4:-4, 2], torch.zeros(12))


@pytest.mark.parametrize("orders", [1, 2])
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(orders, make_voice, check_alone_equals_batch):
    frontend = Deltas(Mfcc(13, n_mels=40, n_fft=512, hop_samples=160), orders)
    assert frontend.width == 13 * (1 + orders)
    check_alone_equals_batch(frontend, make_voice(6000), make_voice(2222, 1), tolerance=1e-3)


@pytest.mark.parametrize("settings", [{"orders": 3}, {"orders": 0}, {"window_frames": 8}, {"window_frames": 1}])
def test_deltas_that_do_not_exist_are_refused(settings):
    with pytest.raises(ConfigError, match="orders 1 or 2"):
        Deltas(Precomputed("ramp", 1), **settings)
