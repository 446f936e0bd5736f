import math
from fractions import Fraction

import pytest
import torch

from ser_kd.functional.levels import amplitude_to_db, root_mean_square
from ser_kd.functional.time_stretch import stretch_in_time
from tests.conftest import speech_like


def speech(seconds=0.8, rows=1):
    return torch.stack([torch.from_numpy(speech_like(seed, seconds)) for seed in range(rows)])


def test_tempo_one_gives_the_input_back_from_edge_to_edge():
    clips = speech(rows=3)
    torch.testing.assert_close(stretch_in_time([(clips, Fraction(1))], clips.shape[1]), clips, rtol=0, atol=1e-6)
    longer = stretch_in_time([(clips, Fraction(1))], clips.shape[1] + 2000)
    assert longer[:, clips.shape[1] :].abs().max() < 1e-6


@pytest.mark.parametrize("tempo", [Fraction(4, 5), Fraction(50, 63), Fraction(34, 27)])
@pytest.mark.parametrize("frequency", [0.03, 0.5])
def test_tones_keep_frequency_and_amplitude(tempo, frequency):
    length = 12_000
    tone = 0.3 * torch.sin(frequency * torch.arange(math.ceil(length * tempo)).double())[None]
    found = stretch_in_time([(tone, tempo)], length)[0, 2000:10_192]
    assert 0.3 * 0.97 < found.abs().max() < 0.3 * 1.03
    crossings = (found.diff(dim=0).sign() * (found[1:].sign() != found[:-1].sign())).abs().sum()
    assert crossings.item() == pytest.approx(frequency * 8191 / math.pi, abs=1.01)


def test_speech_keeps_its_level_and_its_order_in_time():
    clips = speech(1.0, rows=2)
    silence = torch.zeros(2, 8000)
    found = stretch_in_time([(torch.cat([silence, clips], dim=1), Fraction(5, 4))], 19_200)
    change = amplitude_to_db(root_mean_square(found[:, 6400:])) - amplitude_to_db(root_mean_square(clips))
    assert change.abs().max() < 0.7
    assert root_mean_square(found[:, :5600]).max() < 1e-3  # the silence in front ends at 8000 / 1.25


def test_groups_stand_in_their_order_and_do_not_meet():
    clips = speech(rows=3)
    tempi = [Fraction(5, 4), Fraction(4, 5)]
    together = stretch_in_time([(clips[:2], tempi[0]), (clips[2:], tempi[1])], 9000)
    for row, tempo in enumerate([tempi[0], tempi[0], tempi[1]]):
        torch.testing.assert_close(together[row : row + 1], stretch_in_time([(clips[row : row + 1], tempo)], 9000), rtol=0, atol=1e-6)


def test_rounding_errors_do_not_grow():
    noise = 0.1 * torch.randn(1, 80_000, generator=torch.Generator().manual_seed(0))
    other = noise * (1 + 6e-8 * torch.randn(1, 80_000, generator=torch.Generator().manual_seed(1)))
    first, second = (stretch_in_time([(clip, Fraction(50, 63))], 80_000) for clip in (noise, other))
    assert root_mean_square(first - second).item() < 2e-3 * root_mean_square(first).item()


def test_after_digital_silence_speech_goes_on():
    clip = speech(0.5)
    both = torch.cat([clip, torch.zeros(1, 30_000), clip], dim=1)
    found = stretch_in_time([(both, Fraction(4, 5))], both.shape[1] * 5 // 4)
    assert found.isfinite().all()
    change = amplitude_to_db(root_mean_square(found[:, -10_000:])) - amplitude_to_db(root_mean_square(clip))
    assert abs(change.item()) < 0.3
