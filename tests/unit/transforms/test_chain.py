from dataclasses import replace

import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.synthetic_rooms import SyntheticRooms
from ser_kd.transforms.background_noise import BackgroundNoise
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.gaussian_noise import GaussianNoise
from ser_kd.transforms.impulse_response import ImpulseResponse
from ser_kd.transforms.pitch_shift import PitchShift
from ser_kd.transforms.speed import Speed
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


def all_waveform_transforms():
    rooms = SyntheticRooms(rooms=3, max_rt60_s=0.3)
    return Chain([GaussianNoise(), Gain(), TimeShift(), PitchShift(), Speed(), BackgroundNoise(rooms), ImpulseResponse(rooms)])


def test_a_long_chain_gives_a_clip_the_same_in_another_batch_and_order(make_batch):
    batch = make_batch(count=12, size=3000)
    whole = all_waveform_transforms()(batch)
    order = [7, 2, 11]
    names = [batch.ids[row] for row in order]
    part = all_waveform_transforms()(
        replace(
            batch,
            ids=names,
            speakers=names,
            classes=batch.classes[order],
            keys=batch.keys[order],
            lengths=batch.lengths[order],
            waveforms=batch.waveforms[order],
        )
    )
    width = int(part.lengths.max())
    assert torch.equal(part.lengths, whole.lengths[order])
    torch.testing.assert_close(part.waveforms[:, :width], whole.waveforms[order][:, :width], rtol=0, atol=1e-6)


@pytest.mark.gpu
def test_a_long_chain_runs_where_the_batch_is(make_batch):
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    batch = make_batch(count=12, size=20_000)
    here, there = all_waveform_transforms()(batch), all_waveform_transforms()(batch.to("cuda"))
    assert there.waveforms.device.type == "cuda"
    assert torch.equal(there.lengths.cpu(), here.lengths)
    difference = (there.waveforms.cpu() - here.waveforms).norm() / here.waveforms.norm()
    assert difference < 1e-2  # rounding differs there, and a phase vocoder passes it on


def test_noises_reach_those_that_wait_for_them(make_bank):
    waiting, own = BackgroundNoise(slot="waiting"), BackgroundNoise(make_bank(), slot="own")
    chain = Chain([Chain([waiting]), own, Gain()])
    assert chain.awaits_noise
    bank, kept = make_bank(), own.bank
    chain.take_noise(bank)
    assert waiting.bank is bank
    assert own.bank is kept
    assert not chain.awaits_noise
    assert not Chain([Gain()]).awaits_noise
