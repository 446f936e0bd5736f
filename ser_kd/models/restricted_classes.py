"""A model that may only answer with some of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs


class RestrictedClasses(nn.Module):
    """A classifier whose logits of forbidden classes are the lowest finite number: their probability is 0, the others share the rest.

    Args:
        model: Maps ``ModelInput`` to ``Outputs`` with logits (B, C).
        allowed: C values, true for a class it may answer with.

    Raises:
        ConfigError: If fewer than two classes are allowed: such a model could not be wrong.
    """

    forbidden: Tensor

    def __init__(self, model: nn.Module, allowed: Sequence[bool]) -> None:
        super().__init__()
        if sum(allowed) < 2:
            raise ConfigError(
                "A model restricted to fewer than two classes cannot be wrong.",
                expected="two classes or more that model and corpus share",
                got=str(sum(allowed)),
                remedy="set restrict=false",
            )
        self.model = model
        self.register_buffer("forbidden", ~torch.tensor(list(allowed)))

    @property
    def reads_text(self) -> bool:
        """Whether the model needs the clips' transcripts."""
        return bool(getattr(self.model, "reads_text", False))

    def forward(self, inputs: ModelInput) -> Outputs:
        """Ask the model and take the forbidden classes out of its answer."""
        outputs: Outputs = self.model(inputs)
        if outputs.logits is None:
            return outputs
        lowest = torch.finfo(outputs.logits.dtype).min  # finite: metrics refuse infinities
        return replace(outputs, logits=outputs.logits.masked_fill(self.forbidden, lowest))
