import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.transforms.time_shift import TimeShift


@pytest.mark.parametrize("max_share", [0.3, 1.0])
def test_equals_the_plain_loop(make_batch, max_share):
    batch, transform = make_batch(count=8), TimeShift(max_share, probability=1.0)
    found = transform(batch).waveforms
    shares = transform.last_parameters["share"]
    assert (shares < 0).any()
    assert (shares > 0).any()
    assert shares.abs().max() <= max_share
    for row in range(8):
        length = int(batch.lengths[row])
        shift = round(float(shares[row] * length))
        expected = torch.zeros_like(batch.waveforms[row])
        for position in range(length):
            if 0 <= position - shift < length:
                expected[position] = batch.waveforms[row, position - shift]
        assert torch.equal(found[row], expected)


def test_nothing_wraps_around(make_batch):
    batch = make_batch()
    batch.waveforms = (torch.arange(1200) < batch.lengths[:, None]).float()
    transform = TimeShift(0.1, probability=1.0)
    found = transform(batch).waveforms
    shift = (transform.last_parameters["share"] * batch.lengths).round()
    assert torch.equal(found.sum(dim=1), batch.lengths - shift.abs())


def test_share_is_checked():
    with pytest.raises(ConfigError, match="share of the clip"):
        TimeShift(1.5)
