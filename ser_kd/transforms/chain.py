"""Several transforms one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import ClipSource, NoiseTaker, TranscriptTaker
from ser_kd.transforms.random_transform import RandomTransform, Subject


class Chain(Generic[Subject]):
    """Applies transforms in their order; an empty chain is the identity.

    Args:
        transforms: Transforms or chains, all for waveforms or all for features.

    Raises:
        ConfigError: If two of them would draw the same numbers, being of one class and one slot.
    """

    def __init__(self, transforms: Sequence[RandomTransform[Subject] | Chain[Subject]]) -> None:
        self.transforms: tuple[RandomTransform[Subject] | Chain[Subject], ...] = tuple(transforms)
        doubles = sorted({purpose for purpose in self.purposes if self.purposes.count(purpose) > 1})
        if doubles:
            raise ConfigError(
                "Two transforms of a chain would draw the same numbers.",
                expected="another slot for each transform of one class",
                got=", ".join(doubles),
                remedy="set slot=first on one and slot=second on the other",
            )

    @property
    def purposes(self) -> list[str]:
        """The names under which the transforms draw, nested chains included."""
        return [
            purpose
            for transform in self.transforms
            for purpose in (transform.purposes if isinstance(transform, Chain) else [transform.purpose])
        ]

    @property
    def mixes_clips(self) -> bool:
        """Whether one of the transforms does."""
        return any(transform.mixes_clips for transform in self.transforms)

    @property
    def awaits_noise(self) -> bool:
        """Whether one of the transforms waits for noises."""
        return any(isinstance(transform, NoiseTaker) and transform.awaits_noise for transform in self.transforms)

    def take_noise(self, bank: ClipSource) -> None:
        """Hand noises to the transforms that wait for them."""
        for transform in self.transforms:
            if isinstance(transform, NoiseTaker) and transform.awaits_noise:
                transform.take_noise(bank)

    @property
    def awaits_transcripts(self) -> bool:
        """Whether one of the transforms waits for transcripts."""
        return any(isinstance(transform, TranscriptTaker) and transform.awaits_transcripts for transform in self.transforms)

    def take_transcripts(self, texts: Sequence[str]) -> None:
        """Hand transcripts to the transforms that wait for them."""
        for transform in self.transforms:
            if isinstance(transform, TranscriptTaker) and transform.awaits_transcripts:
                transform.take_transcripts(texts)

    def __call__(self, batch: Subject) -> Subject:
        for transform in self.transforms:
            batch = transform(batch)
        return batch

    def freeze(self) -> None:
        """Replay the last draws of all transforms from now on.

        Raises:
            ConfigError: If nothing was drawn yet.
        """
        for transform in self.transforms:
            transform.freeze()

    def unfreeze(self) -> None:
        """Draw anew from now on."""
        for transform in self.transforms:
            transform.unfreeze()
