import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch


def build_batch(count=6, size=1200, dtype=torch.float32, classes=None):
    """Clips of different lengths with zeros behind their ends."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.linspace(size // 2, size, count).long().flip(0)
    waveforms = 0.1 * torch.randn(count, size, generator=generator)
    waveforms[torch.arange(size) >= lengths[:, None]] = 0.0
    keys = torch.randint(-(2**62), 2**62, (count,), generator=generator)
    return SpeechBatch(
        ids=[f"clip{i}" for i in range(count)],
        speakers=["a"] * count,
        waveforms=waveforms.to(dtype),
        lengths=lengths,
        keys=keys,
        classes=torch.arange(count) % 3 if classes is None else torch.tensor(classes),
        class_names=("neutral", "angry", "sad"),
    )


@pytest.fixture
def make_batch():
    return build_batch


class Bank:
    """A plain second form of a bank of clips: it cuts sample by sample."""

    sample_rate_hz = 16_000

    def __init__(self, clips):
        self.clips = clips
        self.names = [f"noise{number}" for number in range(len(clips))]
        self.lengths = torch.tensor([len(clip) for clip in clips])

    def __len__(self):
        return len(self.clips)

    def take(self, indices, offsets, length):
        rows = [self.clips[index].roll(-offset) for index, offset in zip(indices.tolist(), offsets.tolist(), strict=True)]
        return torch.stack([row.repeat(-(-length // len(row)))[:length] for row in rows])


def build_bank(clips=None):
    """Three noises, two of them shorter than most clips."""
    generator = torch.Generator().manual_seed(9)
    return Bank([0.2 * torch.randn(size, generator=generator) for size in (700, 1000, 9000)] if clips is None else clips)


@pytest.fixture
def make_bank():
    return build_bank
