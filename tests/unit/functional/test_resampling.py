import math
from fractions import Fraction

import pytest
import torch

from ser_kd.functional.resampling import approximate_ratio, change_speed, resampled_length

RATIOS = [Fraction(9, 10), Fraction(21, 20), Fraction(63, 50), Fraction(27, 34), Fraction(2), Fraction(1, 2)]


@pytest.mark.parametrize("speed", RATIOS)
def test_a_tone_is_read_at_the_wanted_moments(speed):
    time = torch.arange(4000, dtype=torch.float64)
    tones = torch.stack([torch.sin(0.07 * time), torch.cos(0.9 * time + 1.0)])
    found = change_speed(tones, speed)
    assert found.shape == (2, resampled_length(4000, speed)) == (2, math.ceil(4000 / speed))
    moments = torch.arange(found.shape[1], dtype=torch.float64) * float(speed)
    expected = torch.stack([torch.sin(0.07 * moments), torch.cos(0.9 * moments + 1.0)])
    inside = slice(100, -100)
    torch.testing.assert_close(found[:, inside], expected[:, inside], rtol=0, atol=2e-3)


@pytest.mark.parametrize("speed", RATIOS)
def test_equals_the_plain_sum(speed):
    """The interpolation written as it is defined, with the kernel's three numbers: 24 zero crossings, cut-off 0.93, Kaiser 6.5."""
    waveform = torch.randn(1, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = change_speed(waveform, speed)[0]
    cutoff = 0.93 * min(1.0, 1.0 / speed)
    half = math.ceil(24 / cutoff)
    for number in (0, 1, 17, len(found) - 1):
        taps = torch.arange(-half - 2, 300 + half + 2, dtype=torch.float64)
        distance = taps - number * float(speed)
        weight = torch.sinc(cutoff * distance) * torch.special.i0(6.5 * (1 - (distance / half) ** 2).clamp_min(0).sqrt())
        weight = weight * (distance.abs() < half)
        padded = torch.nn.functional.pad(waveform[0], (half + 2, half + 2))
        assert found[number].item() == pytest.approx((weight / weight.sum() @ padded).item(), abs=1e-9)


def test_constants_stay_and_nothing_folds_back():
    constant = torch.full((1, 3000), 0.5)
    torch.testing.assert_close(change_speed(constant, Fraction(63, 50))[:, 100:-100], torch.full((1, 2181), 0.5))
    too_high = torch.sin(0.9 * math.pi * torch.arange(6000.0))[None]
    assert change_speed(too_high, Fraction(63, 50))[:, 100:-100].abs().max() < 2e-3


def test_speed_one_and_other_rows_change_nothing():
    waveforms = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    assert change_speed(waveforms, Fraction(1)) is waveforms
    together = change_speed(waveforms, Fraction(19, 20))
    wide = change_speed(torch.nn.functional.pad(waveforms[1:2], (0, 777)), Fraction(19, 20))
    torch.testing.assert_close(wide[:, : together.shape[1]], together[1:2], rtol=0, atol=1e-6)


def test_ratios_of_semitones_are_met():
    for number in range(-120, 121):
        ratio = approximate_ratio(2 ** (number / 120))
        assert abs(1200 * math.log2(ratio) - 10 * number) < (2.0 if abs(number) > 60 else 1.0)
        assert ratio.denominator <= 200
