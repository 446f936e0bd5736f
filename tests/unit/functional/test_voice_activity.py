import torch

from ser_kd.functional.voice_activity import find_noise_frames


def noisy_power(frames=200, seed=0):
    """Noise of power 1, speech 20 dB above it in frames 60 to 140."""
    power = 1.0 + 0.1 * torch.rand(1, frames, generator=torch.Generator().manual_seed(seed))
    power[:, 60:140] += 100.0
    return power


def test_pauses_are_noise_and_speech_is_not():
    noise, audible = find_noise_frames(noisy_power())
    assert audible.all()
    assert not noise[:, 58:142].any()
    assert noise[:, :58].all()
    assert noise[:, 142:].all()


def test_the_floor_follows_the_level_of_the_clip():
    power = noisy_power()
    for gain in (1e-6, 1e6):
        assert torch.equal(find_noise_frames(gain * power)[0], find_noise_frames(power)[0])


def test_padding_and_digital_silence_count_for_nothing():
    power = noisy_power()
    longer = torch.cat([power, torch.full((1, 50), 7.0)], dim=1)
    mask = torch.arange(250)[None] < 200
    noise, audible = find_noise_frames(longer, mask)
    assert torch.equal(noise[:, :200], find_noise_frames(power)[0])
    assert not noise[:, 200:].any()
    assert not audible[:, 200:].any()
    zeros = torch.cat([torch.zeros(1, 100), power], dim=1)
    noise, audible = find_noise_frames(zeros)
    assert not audible[:, :100].any()
    assert not noise[:, :100].any()
    assert torch.equal(noise[:, 103:], find_noise_frames(power)[0][:, 3:])


def test_speech_without_a_pause_gives_its_quietest_frames():
    rising = torch.logspace(0, 6, 100)[None]
    noise, _ = find_noise_frames(rising, margin_db=0.0, floor_share=0.0, least_frames=8)
    assert int(noise.sum()) == 8
    assert noise[:, :8].all()


def test_silence_and_no_frame_are_nothing():
    for power in (torch.zeros(2, 30), torch.zeros(1, 3)):
        noise, audible = find_noise_frames(power)
        assert not noise.any()
        assert not audible.any()
