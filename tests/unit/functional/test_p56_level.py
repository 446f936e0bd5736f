import math

import pytest
import torch

from ser_kd.functional.levels import root_mean_square
from ser_kd.functional.p56_level import measure_p56_level

RATE_HZ = 2000


def level_by_the_recommendation(samples, highest=None):
    """Method B sample by sample, with its counters; thresholds are halvings of the highest envelope."""
    decay, hangover = math.exp(-1 / (0.03 * RATE_HZ)), round(0.2 * RATE_HZ)
    envelope, p, q = [], 0.0, 0.0
    for sample in samples:
        p = decay * p + (1 - decay) * abs(sample)
        q = decay * q + (1 - decay) * p
        envelope.append(q)
    energy, before = sum(sample * sample for sample in samples), None
    for number in reversed(range(16)):  # from the lowest threshold up
        threshold = max(envelope) / 2**number
        active, since = 0, hangover
        for value in envelope:
            if value >= threshold:
                active, since = active + 1, 0
            elif since < hangover:
                active, since = active + 1, since + 1
        level_db = 10 * math.log10(energy / active)
        gap = level_db - 20 * math.log10(threshold)
        if gap <= 15.9:
            share = (before[0] - 15.9) / (before[0] - gap)
            return 10 ** ((before[1] + share * (level_db - before[1])) / 20)
        before = gap, level_db
    return 10 ** (before[1] / 20)


def speech_with_pauses(seed, size=5000):
    generator = torch.Generator().manual_seed(seed)
    syllables = (torch.rand(size // 250, generator=generator) > 0.5).repeat_interleave(250)
    return torch.randn(size, generator=generator) * (0.1 * syllables + 0.0005)


def test_all_clips_at_once_are_as_the_recommendation_says_sample_by_sample():
    clips = [speech_with_pauses(seed) for seed in range(4)]
    lengths = torch.tensor([5000, 4321, 3000, 1200])
    batch = torch.stack(clips)
    batch[torch.arange(5000) >= lengths[:, None]] = float("nan")
    expected = [level_by_the_recommendation(clip[:length].double().tolist()) for clip, length in zip(clips, lengths.tolist(), strict=True)]
    torch.testing.assert_close(measure_p56_level(batch, lengths, RATE_HZ), torch.tensor(expected), rtol=1e-4, atol=0)


def test_pauses_do_not_count_but_short_ones_within_the_hangover_do():
    tone = torch.sin(torch.arange(8000) * 0.9)[None]
    spoken = measure_p56_level(tone, None, RATE_HZ)
    with_pause = measure_p56_level(torch.cat([tone, torch.zeros(1, 30_000)], dim=1), None, RATE_HZ)
    assert 20 * torch.log10(spoken / root_mean_square(tone)).abs().item() < 0.1
    assert 20 * torch.log10(with_pause / spoken).abs().item() < 0.6  # the hangover and the envelope's tail count as speech
    bursts = tone * (torch.arange(8000) % 400 < 200)  # 100 ms long, 100 ms apart
    assert measure_p56_level(bursts, None, RATE_HZ).item() == pytest.approx(root_mean_square(bursts).item(), rel=0.01)


def test_the_level_follows_the_gain_and_silence_is_0():
    clip = speech_with_pauses(9)[None]
    torch.testing.assert_close(
        measure_p56_level(1e-4 * clip, None, RATE_HZ), 1e-4 * measure_p56_level(clip, None, RATE_HZ), rtol=1e-4, atol=0
    )
    assert measure_p56_level(torch.zeros(2, 3000), None, RATE_HZ).tolist() == [0.0, 0.0]
    assert measure_p56_level(torch.cat([clip, torch.zeros_like(clip)]), torch.tensor([5000, 0]), RATE_HZ)[1] == 0.0
    click = torch.zeros(1, 3000)
    click[0, 700] = 1.0
    assert torch.isfinite(measure_p56_level(click, None, RATE_HZ)).all()
    assert measure_p56_level(click[:, 700:701], None, RATE_HZ).isfinite().all()
