from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.resampling import change_speed
from ser_kd.transforms.speed import Speed


def played(batch, factor, **options):
    return Speed(factor, factor, probability=1.0, **options)(batch)


@pytest.mark.parametrize(("factor", "fraction"), [(0.9, Fraction(9, 10)), (1.1, Fraction(11, 10)), (0.95, Fraction(19, 20))])
def test_masked_clips_are_read_at_another_speed_and_nothing_is_lost(make_batch, factor, fraction):
    batch = make_batch()
    found = played(batch, factor)
    assert found.lengths.tolist() == [-(-length * fraction.denominator // fraction.numerator) for length in batch.lengths.tolist()]
    assert found.waveforms.shape[1] == max(1200, int(found.lengths.max()))
    for row, length, clip in zip(found.waveforms, found.lengths.tolist(), zip(batch.waveforms, batch.lengths, strict=True), strict=True):
        alone = change_speed(clip[0][None, : int(clip[1])], fraction)[0]
        torch.testing.assert_close(row[:length], alone, rtol=0, atol=1e-6)
        assert not row[length:].any()


def test_factor_one_gives_a_clip_back(make_batch):
    batch = make_batch()
    transform = Speed(probability=1.0)
    assert transform.factors == (0.9, 0.95, 1.0, 1.05, 1.1)
    assert torch.equal(played(batch, 1.0).waveforms, batch.waveforms)


@pytest.mark.parametrize(("padding", "begin"), [("right", 0), ("center", 45)])
def test_a_fixed_width_stays(make_batch, padding, begin):
    batch = replace(make_batch(size=990), lengths=torch.full((6,), 990))
    faster = played(batch, 1.1, padding=padding)
    assert faster.waveforms.shape == batch.waveforms.shape
    assert torch.equal(faster.lengths, batch.lengths)
    whole = change_speed(batch.waveforms, Fraction(11, 10))
    assert whole.shape[1] == 900
    torch.testing.assert_close(faster.waveforms[:, begin : begin + 900], whole)
    assert faster.waveforms.abs().sum() == pytest.approx(whole.abs().sum().item(), rel=1e-5)
    slower = played(batch, 0.9, padding=padding)
    whole = change_speed(batch.waveforms, Fraction(9, 10))
    start = (whole.shape[1] - 990) // 2 if padding == "center" else 0
    torch.testing.assert_close(slower.waveforms, whole[:, start : start + 990])


def test_padding_is_checked(make_batch):
    with pytest.raises(ConfigError, match="Unknown padding"):
        Speed(padding="left")
    with pytest.raises(ConfigError, match="fills the width"):
        Speed(padding="center")(make_batch())


@pytest.mark.parametrize("grid", [(1.1, 0.9, 0.05), (0.4, 1.0, 0.1), (0.9, 1.1, 0.07)])
def test_the_grid_is_checked(grid):
    with pytest.raises(ConfigError, match="grid of factor"):
        Speed(*grid)
