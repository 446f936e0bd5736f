import numpy as np
import pytest
import torch

from ser_kd.functional.convolution import convolve


@pytest.mark.parametrize("taps", [1, 7, 300])
def test_equals_the_plain_sum(taps):
    random = np.random.default_rng(0)
    clips, responses = random.standard_normal((3, 101)), random.standard_normal((3, taps))
    expected = np.stack([np.convolve(clip, response) for clip, response in zip(clips, responses, strict=True)])
    found = convolve(torch.from_numpy(clips), torch.from_numpy(responses))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)
