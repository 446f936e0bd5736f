import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.time_shift import TimeShift


def test_one_after_another(make_batch):
    batch = make_batch()
    gain, shift = Gain(probability=1.0), TimeShift(probability=1.0)
    assert torch.equal(Chain([gain, shift])(batch).waveforms, shift(gain(batch)).waveforms)
    assert Chain([])(batch) is batch


def test_the_draws_of_a_transform_do_not_depend_on_its_place(make_batch):
    batch, gain, shift = make_batch(), Gain(), TimeShift()
    Chain([gain, shift])(batch)
    first = gain.last_parameters["factor"]
    Chain([shift, gain])(batch)
    assert torch.equal(gain.last_parameters["factor"], first)


def test_two_of_a_kind_need_slots(make_batch):
    with pytest.raises(ConfigError, match="Gain/"):
        Chain([Gain(), Gain(min_factor=0.9)])
    with pytest.raises(ConfigError, match="Gain/late"):
        Chain([Gain(slot="late"), Chain([Gain(slot="late")])])
    assert Chain([Gain(), Chain([Gain(slot="late")])]).purposes == ["Gain/", "Gain/late"]


def test_freezing_all(make_batch):
    batch = make_batch()
    chain = Chain([Gain(), Chain([TimeShift()])])
    first = chain(batch).waveforms
    chain.freeze()
    batch.keys += 1
    assert torch.equal(chain(batch).waveforms, first)
    chain.unfreeze()
    assert not torch.equal(chain(batch).waveforms, first)
