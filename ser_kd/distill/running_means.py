"""Means over an epoch that an interruption does not shorten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Weighted means of named values, kept as sums, so that a checkpoint in the middle of an epoch can hold them.

    Lightning's own epoch means are not part of a checkpoint: after a resumed epoch they would speak of its rest alone.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self.finished: dict[str, float] = {}
        """The means of the last whole epoch."""

    def add(self, values: Mapping[str, Tensor | float], weight: float) -> None:
        """Add one batch.

        Args:
            values: Name -> scalar, averaged over the batch.
            weight: Its share in the mean: the clips of the batch.
        """
        for name, value in values.items():
            value = torch.as_tensor(value).detach()
            part = torch.stack([value.double() * weight, torch.full_like(value, weight, dtype=torch.float64)])
            self._sums[name] = self._sums[name].to(part.device) + part if name in self._sums else part

    def finish(self, total: Callable[[Tensor], Tensor] = lambda part: part) -> dict[str, float]:
        """Give the means, keep them in ``finished`` and begin anew.

        Args:
            total: Sums a tensor over all processes.
        """
        sums = {name: total(part) for name, part in self._sums.items()}
        self.finished = {name: float(part[0] / part[1]) for name, part in sums.items()}
        self._sums = {}
        return self.finished

    def state_dict(self, total: Callable[[Tensor], Tensor] = lambda part: part) -> dict[str, Any]:
        """Give what a checkpoint must hold.

        Args:
            total: Sums a tensor over all processes.
        """
        return {"sums": {name: total(part.clone()).cpu() for name, part in self._sums.items()}, "finished": dict(self.finished)}

    def load_state_dict(self, state: Mapping[str, Any], is_first: bool = True) -> None:
        """Go on with the sums of a checkpoint, which are those of all processes: they are counted in one of them."""
        self._sums = {name: part if is_first else torch.zeros_like(part) for name, part in state["sums"].items()}
        self.finished = dict(state["finished"])
