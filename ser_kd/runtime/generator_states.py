"""The state of the random generators as part of a checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

_APART = 1_000_003  # no two runs with neighbouring seeds share the draws of their processes


class GeneratorStates(Callback):
    """Saves the generators of torch, numpy and python on every rank, and sets them before the first batch after a resumption.

    Augmentation does not need it, since its randomness is a function of the clip's key; dropout does. Nothing between a checkpoint
    and the next batch may draw from the global generators, or a resumed run would differ from one that was never stopped. Where
    several processes share a run each begins with states of its own, or all would drop the same units of different clips.
    """

    def __init__(self) -> None:
        self._to_restore: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """Give the states of all ranks, as tensors and plain numbers, for checkpoints are loaded without unpickling."""
        mine = _read_states()
        states = [mine]
        if distributed.is_available() and distributed.is_initialized():
            states = [{} for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(states, mine)
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the states for the first batch."""
        self._to_restore = state_dict["ranks"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Part the generators of the processes; the first one draws as it would alone."""
        if trainer.global_rank and not self._to_restore:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank * _APART)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the generators once."""
        states, self._to_restore = self._to_restore, []
        if trainer.global_rank < len(states):
            _set_states(states[trainer.global_rank])


def _read_states() -> dict[str, Any]:
    kind, keys, place, has_gauss, gauss = np.random.get_state()
    version, numbers, following = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has_gauss), float(gauss)],
        "python": [version, list(numbers), following],
    }


def _set_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    kind, keys, place, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), place, has_gauss, gauss))
    version, numbers, following = states["python"]
    random.setstate((version, tuple(numbers), following))
