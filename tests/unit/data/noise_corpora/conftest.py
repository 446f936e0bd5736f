"""A corpus of short tracks, each sample of which is another number."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from ser_kd.data.noise_corpora.noise_corpus import TrackCorpus


class Counting(TrackCorpus):
    """Three types of 10 s at 100 Hz; the first sample of each track is 1, 10001, 20001."""

    def __init__(self, tracks: Mapping[str, Tensor] | None = None, **words: object) -> None:
        counted = {name: torch.arange(1.0, 1001.0) + 10_000 * number for number, name in enumerate(("rain", "wind", "mill"))}
        self.tracks = counted if tracks is None else tracks
        super().__init__(tuple(self.tracks), words.pop("types", None), **{"sample_rate_hz": 100, **words})  # type: ignore[arg-type]

    def make_track(self, noise_type: str) -> Tensor:
        return self.tracks[noise_type]


@pytest.fixture
def make_counting() -> type[Counting]:
    return Counting
