from dataclasses import replace

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.interfaces import FeatureTransform, Transform
from ser_kd.contracts.outputs import Features
from ser_kd.data.clip_bank import HeldClips
from ser_kd.transforms.background_noise import BackgroundNoise
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.gaussian_noise import GaussianNoise
from ser_kd.transforms.impulse_response import ImpulseResponse
from ser_kd.transforms.mixup import MixUp
from ser_kd.transforms.pitch_shift import PitchShift
from ser_kd.transforms.random_transform import value_grid
from ser_kd.transforms.speed import Speed
from ser_kd.transforms.time_freq_mask import TimeFrequencyMask
from ser_kd.transforms.time_shift import TimeShift

BANK = HeldClips(["short", "long"], torch.randn(5000, generator=torch.Generator().manual_seed(9)).split([700, 4300]), 16_000)


def mix_up(**arguments):
    return MixUp(alpha=1.0, **arguments)


def pitch_shift(**arguments):
    return PitchShift(1.0, 4.0, window_samples=256, **arguments)


def speed(**arguments):
    return Speed(0.9, 0.95, **arguments)


def background_noise(**arguments):
    return BackgroundNoise(BANK, **arguments)


def impulse_response(**arguments):
    return ImpulseResponse(BANK, **arguments)


WAVEFORM_TRANSFORMS = [GaussianNoise, Gain, TimeShift, pitch_shift, speed, background_noise, impulse_response, mix_up]
CHANGE_LENGTHS = [speed, mix_up]
ALL_TRANSFORMS = [*WAVEFORM_TRANSFORMS, TimeFrequencyMask]


def signal_of(subject):
    return subject.frames if isinstance(subject, Features) else subject.waveforms


def subject_for(build, batch):
    """A transform of features gets the same clips, cut into frames of 10 samples."""
    if build is not TimeFrequencyMask:
        return batch
    return Features(batch.waveforms.unflatten(1, (-1, 10)), batch.lengths // 10, keys=batch.keys)


def changed_rows(before, after):
    """Which rows changed; a wider batch is compared up to the width before."""
    return (signal_of(after)[:, : signal_of(before).shape[1]] != signal_of(before)).flatten(1).any(dim=1)


def take(subject, rows):
    if isinstance(subject, Features):
        return Features(subject.frames[rows], subject.lengths[rows], keys=subject.keys[rows])
    names = [subject.ids[row] for row in rows]
    return replace(
        subject,
        ids=names,
        speakers=names,
        waveforms=subject.waveforms[rows],
        lengths=subject.lengths[rows],
        keys=subject.keys[rows],
        classes=subject.classes[rows],
    )


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_probability_zero_is_the_identity_and_one_changes_every_clip(make_batch, build):
    subject = subject_for(build, make_batch())
    assert torch.equal(signal_of(build(probability=0.0)(subject)), signal_of(subject))
    assert changed_rows(subject, build(probability=1.0)(subject)).all()


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_half_of_the_clips_are_changed_and_the_others_are_kept_bit_by_bit(make_batch, build):
    subject = subject_for(build, make_batch(count=300, size=200))
    transform = build(probability=0.5)
    changed = changed_rows(subject, transform(subject))
    assert not (changed & ~transform.last_selected).any()
    assert 0.4 < transform.last_selected.float().mean() < 0.6
    assert changed.float().mean() > 0.35


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_shape_dtype_length_and_padding_are_kept(make_batch, build, dtype):
    subject = subject_for(build, make_batch(dtype=dtype))
    before = signal_of(subject).clone()
    after = build(probability=1.0)(subject)
    assert torch.equal(signal_of(subject), before)  # nothing is written into the input
    assert signal_of(after).dtype == dtype
    if build is not speed:
        assert signal_of(after).shape == before.shape
    if build not in CHANGE_LENGTHS:
        assert torch.equal(after.lengths, subject.lengths)
    behind = torch.arange(signal_of(after).shape[1]) >= after.lengths[:, None]
    assert signal_of(after)[behind].abs().sum() == 0
    assert behind.any()


@pytest.mark.parametrize("build", [build for build in ALL_TRANSFORMS if build is not mix_up])
def test_a_clip_is_changed_alike_in_any_company(make_batch, build):
    subject = subject_for(build, make_batch())
    whole = signal_of(build(probability=0.7)(subject))
    order = [4, 0, 3]
    part = take(subject, order)
    # alone, the batch is padded to the longest of the part only
    width = int(part.lengths.max())
    part = replace(part, **{("frames" if isinstance(part, Features) else "waveforms"): signal_of(part)[:, :width].contiguous()})
    found = signal_of(build(probability=0.7)(part))
    assert found.shape[1] == width or build is speed
    torch.testing.assert_close(found, whole[order][:, : found.shape[1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_the_same_key_gives_the_same_and_another_key_another_change(make_batch, build):
    subject = subject_for(build, make_batch())
    torch.manual_seed(1)
    first = signal_of(build(probability=1.0)(subject))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(signal_of(build(probability=1.0)(subject)), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # global generators are not used
    other = signal_of(build(probability=1.0)(replace(subject, keys=subject.keys + 1)))
    assert not torch.equal(other, first)


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_slots_draw_independently(make_batch, build):
    subject = subject_for(build, make_batch(count=200, size=100))
    first, second = build(slot="student"), build(slot="teacher")
    first(subject)
    second(subject)
    both = torch.stack([first.last_selected, second.last_selected]).float()
    assert abs(torch.corrcoef(both)[0, 1]) < 0.25
    assert first.purpose != second.purpose


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_frozen_parameters_replay(make_batch, build):
    subject = subject_for(build, make_batch())
    transform = build(probability=0.7)
    with pytest.raises(ConfigError, match="nothing to replay"):
        transform.freeze()
    first = signal_of(transform(subject))
    transform.freeze()
    later = replace(subject, keys=subject.keys + 99)
    assert torch.equal(signal_of(transform(later)), first)
    with pytest.raises(ShapeError, match="another batch"):
        transform(take(subject, [0, 1]))
    transform.unfreeze()
    assert not torch.equal(signal_of(transform(later)), first)


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_parameters_are_rows_per_clip(make_batch, build):
    transform = build()
    transform(subject_for(build, make_batch()))
    assert all(len(parameter) == 6 for parameter in transform.last_parameters.values())


@pytest.mark.parametrize("build", ALL_TRANSFORMS)
def test_arguments_and_keys_are_checked(make_batch, build):
    for probability in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="no probability"):
            build(probability=probability)
    with pytest.raises(ConfigError, match="draws by keys"):
        build()(replace(subject_for(build, make_batch()), keys=None))
    assert isinstance(build(), FeatureTransform if build is TimeFrequencyMask else Transform)


def test_a_grid_meets_its_ends_and_its_middle():
    assert value_grid(-0.3, 0.3, 0.1, "semitones", -1.0, 1.0) == (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
    assert value_grid(2.0, 2.0, 0.5, "semitones", 0.0, 12.0) == (2.0,)
    with pytest.raises(ConfigError, match="no grid"):
        value_grid(0.0, 1.0, 0.3, "semitones", 0.0, 1.0)
