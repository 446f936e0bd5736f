import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch


@pytest.fixture
def make_batch():
    """A batch of silent clips with the given labels."""

    def make(classes=None, class_probabilities=None, clips=None, class_names=()):
        count = clips or len(classes if classes is not None else class_probabilities)
        return SpeechBatch(
            ids=[f"clip{i}" for i in range(count)],
            speakers=["a"] * count,
            waveforms=torch.zeros(count, 8),
            lengths=torch.full((count,), 8),
            keys=torch.arange(count),
            classes=None if classes is None else torch.tensor(classes),
            class_probabilities=None if class_probabilities is None else torch.tensor(class_probabilities),
            class_names=tuple(class_names),
        )

    return make
