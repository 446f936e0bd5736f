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
