"""A loader that knows how far it got and goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from ser_kd.data.sampling import KeyedBatchSampler


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` over keyed batches whose position is part of a checkpoint.

    The order of an epoch is a function of seed and epoch, so the number of batches already given is all there is to know: the next
    pass leaves so many batches out without reading them. Nothing begins before the first batch is asked for, so that the epoch may
    still be set after ``iter()``. It draws from a generator of its own: making an iterator moves no global random state.

    Args:
        dataset: Takes (epoch, index).
        batch_sampler: The order.
        options: As of ``DataLoader``.
    """

    batch_sampler: KeyedBatchSampler

    def __init__(self, dataset: Any, batch_sampler: KeyedBatchSampler, **options: Any) -> None:
        super().__init__(dataset, batch_sampler=batch_sampler, generator=torch.Generator(), **options)
        self._given = 0
        self._to_skip = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._given, self._to_skip = self._to_skip, 0
        self.batch_sampler.skip_batches(self._given)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Give the epoch and the batches given in it."""
        return {"epoch": self.batch_sampler.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass where another one stopped; a pass that came to its end is not gone on with."""
        given = int(state["batches"])
        self._to_skip = given if given < len(self) else 0
