"""The one door through which anything is fitted to data before training: one pass over the training split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.interfaces import Fittable
from ser_kd.models.run_upstream import list_upstreams


def unfitted_parts(model: nn.Module) -> list[Fittable]:
    """List the parts of a model that still wait for their statistics; an upstream's come with its weights."""
    inside = {id(part) for upstream in list_upstreams(model) for part in upstream.modules()}
    return [part for part in model.modules() if isinstance(part, Fittable) and not part.is_fitted and id(part) not in inside]


@torch.no_grad()
def fit_statistics(model: nn.Module, training_batches: Iterable[SpeechBatch], device: torch.device | str = "cpu") -> int:
    """Fit every part of a model that waits for statistics, in one pass.

    Each clip of the training split comes once, without augmentation; validation and test clips never come through here, so changing
    them changes no statistic. Of several processes one fits, and the others take over its buffers (``give_statistics``).

    Args:
        model: The model; parts that are fitted already (resumed, or a loaded teacher) are left alone.
        training_batches: Batches of the training split.
        device: Where the pass is computed.

    Returns:
        How many parts were fitted.
    """
    parts = unfitted_parts(model)
    if not parts:
        return 0
    for part in parts:
        part.begin_fit()
    for batch in training_batches:
        inputs = batch.to(device).model_input()
        for part in parts:
            part.update_fit(inputs)
    for part in parts:
        part.end_fit()
    return len(parts)


def give_statistics(parts: Sequence[Fittable]) -> list[dict[str, Tensor]]:
    """Give the buffers of fitted parts, in their order."""
    return [{name: value.cpu() for name, value in _as_module(part).state_dict().items()} for part in parts]


def take_statistics(parts: Sequence[Fittable], found: Sequence[Mapping[str, Tensor]]) -> None:
    """Take over the buffers that the same parts have in another process."""
    for part, state in zip(parts, found, strict=True):
        _as_module(part).load_state_dict(state)


def _as_module(part: Fittable) -> nn.Module:
    return part  # type: ignore[return-value]
