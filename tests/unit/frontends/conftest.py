import numpy as np
import pytest
import torch

from ser_kd.contracts.batch import ModelInput


def voice(samples: int, seed: int = 0, loudness: float = 0.2) -> torch.Tensor:
    """A gliding buzz over a floor of noise, so that no bin is empty."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    phase = 2 * np.pi * np.cumsum(random.uniform(90, 220) * (1 + 0.2 * np.sin(2 * np.pi * 3 * time))) / 16_000
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * time))
    return torch.from_numpy(loudness * buzz + 0.05 * loudness * random.standard_normal(samples)).float()


def padded(*clips: torch.Tensor, behind: float = 0.0) -> ModelInput:
    """A batch of clips, padded to the longest."""
    lengths = torch.tensor([len(clip) for clip in clips])
    waveforms = torch.full((len(clips), int(lengths.max())), behind)
    for row, clip in zip(waveforms, clips, strict=True):
        row[: len(clip)] = clip
    return ModelInput(waveforms, lengths, keys=torch.arange(len(clips)))


@pytest.fixture
def make_voice():
    return voice


@pytest.fixture
def make_inputs():
    return padded


@pytest.fixture
def check_alone_equals_batch():
    """Valid frames of each clip must not depend on its neighbours."""

    def check(frontend, *clips, tolerance=1e-4, behind=0.0):
        together = frontend(padded(*clips, behind=behind))
        for row, clip in enumerate(clips):
            alone = frontend(padded(clip))
            length = int(alone.lengths[0])
            assert alone.frames.shape[1] == length == int(together.lengths[row])
            torch.testing.assert_close(together.frames[row, :length], alone.frames[0], rtol=tolerance, atol=tolerance)

    return check
