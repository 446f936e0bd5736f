"""A feature that was computed elsewhere and came with the batch."""

from __future__ import annotations

from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank


class Precomputed(nn.Module):
    """Hands on one named feature of the batch.

    Args:
        name: Key in ``ModelInput.features``.
        width: D of its frames.
    """

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.name = name
        self.width = width

    @property
    def feature_name(self) -> str:
        """The feature that is heard instead of the waveform."""
        return self.name

    def forward(self, inputs: ModelInput) -> Features:
        """Give the feature's frames and lengths.

        Raises:
            DataError: If the batch lacks the feature, or its frames have another width.
        """
        if self.name not in inputs.features:
            raise DataError(
                f"The batch carries no feature '{self.name}'.",
                expected=self.name,
                got=", ".join(inputs.features) or "a batch without features",
                remedy="name one of these, or let the data module compute the feature: features@datamodule.features=NAME",
            )
        frames, lengths = inputs.features[self.name]
        check_rank(frames, 3, f"features['{self.name}']", "(batch, frames, width)")
        if frames.shape[2] != self.width:
            raise DataError(
                f"The feature '{self.name}' has another width than the model was built for.",
                expected=f"width {self.width}",
                got=f"width {frames.shape[2]}",
                remedy="set the front-end's width to that of the cached feature, or compute the feature again",
            )
        return Features(frames, lengths, inputs.texts, inputs.keys)
