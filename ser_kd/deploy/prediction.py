"""What a model says about a recording or a window of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.deploy.model_metadata import ModelMetadata

SILENCE = 1e-4
"""Largest absolute sample that counts as silence: -80 dB of full scale; the dither of 16-bit silence lies below."""


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Args:
        source: File, or what the caller named.
        start_s: Where the stretch begins, seconds of the recording.
        end_s: Where it ends.
        label: Most probable class; None where the model abstained, the stretch is silent, or the model answers dimensions.
        probabilities: Class -> probability, in the model's order; empty for a model of dimensions and for silence.
        dimensions: Arousal, dominance and valence, as far as the model learned them; empty for a model of classes and for silence.
        embedding: (D,) float32; None for silence. Left out of comparisons.
        abstained: True where no class is probable enough, or the stretch is silent.
        notes: Remarks, such as ``resampled from 96,000 Hz``.
    """

    source: str
    start_s: float
    end_s: float
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    dimensions: Mapping[str, float] = field(default_factory=dict)
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    abstained: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_answered(self) -> bool:
        """False for a silent stretch, to which nothing is said."""
        return bool(self.probabilities or self.dimensions)


def name_answer(
    metadata: ModelMetadata, answer: np.ndarray, embedding: np.ndarray, abstain_below: float, stretch: Prediction
) -> Prediction:
    """Fill a stretch with the model's numbers under their names.

    Args:
        metadata: Of the model.
        answer: (C,) probabilities, or (K,) dimensions.
        embedding: (D,).
        abstain_below: Smallest probability that names a class.
        stretch: Source, start, end and notes.
    """
    values = dict(zip(metadata.answers, answer.tolist(), strict=True))
    if metadata.output == "dimensions":
        return replace(stretch, dimensions={name: values[name] for name in DIMENSIONS if name in values}, embedding=embedding)
    label = max(values, key=values.__getitem__)
    abstained = values[label] < abstain_below
    return replace(stretch, label=None if abstained else label, probabilities=values, embedding=embedding, abstained=abstained)


class RunningMean:
    """The mean of the answers to windows, each counting the same, without keeping them.

    Silent windows are left out of it: a pause says nothing about how somebody feels.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.silent = 0
        self._answer: np.ndarray | None = None
        self._embedding: np.ndarray | None = None

    def add(self, answer: np.ndarray, embedding: np.ndarray) -> None:
        """Count one window's numbers in, (C,) and (D,)."""
        self._answer = answer.astype(np.float64) + (0 if self._answer is None else self._answer)
        self._embedding = embedding.astype(np.float64) + (0 if self._embedding is None else self._embedding)
        self.answered += 1

    def give(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Give the means, (C,) and (D,) float32; None where nothing was counted in."""
        if self._answer is None or self._embedding is None:
            return None
        return (self._answer / self.answered).astype(np.float32), (self._embedding / self.answered).astype(np.float32)
