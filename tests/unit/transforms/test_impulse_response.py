import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.levels import root_mean_square
from ser_kd.transforms.impulse_response import ImpulseResponse


def test_equals_the_plain_sum_from_the_direct_sound_on(make_batch, make_bank):
    batch = make_batch(count=3, size=200)
    response = torch.zeros(50)
    response[[7, 12, 40]] = torch.tensor([-0.8, 0.4, 0.3])
    response[3] = 0.1  # before the direct sound
    found = ImpulseResponse(make_bank([response]), probability=1.0)(batch).waveforms
    for row, (clip, length) in enumerate(zip(batch.waveforms, batch.lengths.tolist(), strict=True)):
        wet = torch.zeros(200)
        for time in range(length):
            wet[time] = sum(response[tap] * clip[time + 7 - tap] for tap in range(50) if 0 <= time + 7 - tap < length)
        wet *= root_mean_square(clip[None, :length]) / root_mean_square(wet[None, :length])
        torch.testing.assert_close(found[row], wet, rtol=0, atol=1e-6)


def test_direct_sound_alone_changes_nothing_and_rooms_of_other_lengths_do_not_go_round(make_batch, make_bank):
    batch = make_batch()
    short, long = torch.zeros(30), torch.zeros(900)
    short[20] = long[3] = 0.5
    transform = ImpulseResponse(make_bank([short, long]), probability=1.0)
    found = transform(batch)
    assert set(transform.last_parameters["room"].tolist()) == {0, 1}
    torch.testing.assert_close(found.waveforms, batch.waveforms, rtol=0, atol=1e-6)


def test_the_level_is_kept_and_silence_stays_silent(make_batch, make_bank):
    batch = make_batch()
    batch.waveforms[1] = 0.0
    found = ImpulseResponse(make_bank(), probability=1.0)(batch).waveforms
    torch.testing.assert_close(root_mean_square(found, batch.lengths), root_mean_square(batch.waveforms, batch.lengths))
    assert not found[1].any()


def test_a_bank_is_needed(make_bank):
    with pytest.raises(ConfigError, match="no clip to draw"):
        ImpulseResponse(make_bank([]))
