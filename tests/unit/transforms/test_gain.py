import pytest
import torch
from scipy import stats

from ser_kd.contracts.errors import ConfigError
from ser_kd.transforms.gain import Gain


def test_selected_clips_are_multiplied(make_batch):
    batch, transform = make_batch(), Gain(probability=0.5)
    found = transform(batch).waveforms
    factor = torch.where(transform.last_selected, transform.last_parameters["factor"], 1.0)
    assert torch.equal(found, batch.waveforms * factor[:, None])
    assert 0 < transform.last_selected.sum() < 6


def test_factors_are_uniform(make_batch):
    transform = Gain(0.5, 1.5)
    transform(make_batch(count=3000, size=2))
    assert stats.kstest(transform.last_parameters["factor"].double().numpy(), "uniform", args=(0.5, 1.0)).pvalue > 0.01


def test_range_is_checked():
    with pytest.raises(ConfigError, match="range of factor"):
        Gain(1.5, 0.5)
