"""A transform draws its parameters by the keys of the clips, then applies them; both halves can be looked at and replayed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.functional.keyed_random import derive_keys, draw_uniform

Subject = TypeVar("Subject", SpeechBatch, Features)
"""What is changed: a whole batch of waveforms, or features."""

Parameters = dict[str, Tensor]
"""Name -> (B, …) drawn numbers, one row per clip."""


def draw_parameter(keys: Tensor, name: str, low: float, high: float) -> Tensor:
    """Draw one number per clip uniformly from [low, high).

    Args:
        keys: (B,) int64.
        name: Name of the parameter; another name gives independent numbers.
        low: Smallest value.
        high: Largest value.

    Returns:
        (B,) float32.
    """
    return draw_uniform(derive_keys(keys, name), 1, low, high)[:, 0]


class RandomTransform(ABC, Generic[Subject]):
    """Changes each clip with a probability, by parameters that are a pure function of the clip's key.

    The numbers of a clip depend on its key, the class name and ``slot``, never on its neighbours in the batch, their order,
    the device or a global generator (``MixUp`` says where it must differ). A subclass draws in ``draw`` and holds the physics
    in ``apply``.

    Args:
        probability: Share of clips that are changed; 0 is the identity.
        slot: Tells two transforms of one class apart, which would otherwise draw the same numbers (``student``, ``second``).

    Raises:
        ConfigError: If the probability lies outside [0, 1].
    """

    mixes_clips = False
    """Whether what becomes of a clip depends on the others of its batch."""

    def __init__(self, probability: float = 0.5, slot: str = "") -> None:
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(
                f"The probability of {type(self).__name__} is no probability.",
                expected="a number in [0, 1]",
                got=str(probability),
                remedy="0 switches the transform off, 1 changes every clip",
            )
        self.probability = probability
        self.slot = slot
        self.is_frozen = False
        self.last_parameters: Parameters | None = None
        self.last_selected: Tensor | None = None

    @property
    def purpose(self) -> str:
        """The name under which the transform draws."""
        return f"{type(self).__name__}/{self.slot}"

    def choose_keys(self, subject: Subject) -> Tensor | None:
        """Give the keys (B,) int64 to draw by: those of the batch, which are new in each epoch; None where it has none."""
        return subject.keys

    @abstractmethod
    def draw(self, subject: Subject, keys: Tensor) -> Parameters:
        """Draw the parameters of each clip.

        Args:
            subject: What will be changed.
            keys: (B,) int64, already derived for this transform.

        Returns:
            Name -> (B, …).
        """

    @abstractmethod
    def apply(self, subject: Subject, parameters: Parameters, selected: Tensor) -> Subject:
        """Change the selected clips and give the others back bit by bit.

        Args:
            subject: What is changed; it is not written to.
            parameters: As drawn.
            selected: (B,) bool, True where the clip is changed.

        Returns:
            A new subject of the same dtype and device, with the same lengths and shapes unless the class says otherwise.
        """

    def __call__(self, batch: Subject) -> Subject:
        """Draw, then apply; a frozen transform applies its last draw again.

        Raises:
            ConfigError: If the batch carries no keys.
            ShapeError: If a frozen transform meets another number of clips.
        """
        parameters, selected = self.last_parameters, self.last_selected
        if not self.is_frozen or parameters is None or selected is None:
            chosen = self.choose_keys(batch)
            if chosen is None:
                raise ConfigError(
                    f"{type(self).__name__} draws by keys and got none.",
                    expected="one int64 key per clip",
                    got="keys: None",
                    remedy="hand over the batch's keys, or leave random transforms out of evaluation",
                )
            keys = derive_keys(chosen, self.purpose)
            selected = draw_parameter(keys, "selected", 0.0, 1.0) < self.probability
            parameters = self.draw(batch, keys)
            self.last_parameters, self.last_selected = parameters, selected
        elif batch.keys is not None and len(batch.keys) != len(selected):
            raise ShapeError(
                f"A frozen {type(self).__name__} replays the parameters of another batch.",
                expected=f"{len(selected)} clips",
                got=f"{len(batch.keys)} clips",
                remedy="call unfreeze(), or hand over the batch it was frozen on",
            )
        return self.apply(batch, parameters, selected)

    def freeze(self) -> None:
        """Replay the last draw from now on.

        Raises:
            ConfigError: If nothing was drawn yet.
        """
        if self.last_parameters is None:
            raise ConfigError(
                f"{type(self).__name__} has nothing to replay.",
                expected="a call before freeze()",
                got="no draw yet",
                remedy="apply the transform once, then freeze it",
            )
        self.is_frozen = True

    def unfreeze(self) -> None:
        """Draw anew from now on."""
        self.is_frozen = False


def check_range(low: float, high: float, name: str, floor: float) -> None:
    """Check that a range of parameters runs upwards from a floor.

    Raises:
        ConfigError: If it does not.
    """
    if not floor <= low <= high:
        raise ConfigError(
            f"The range of {name} does not run upwards.",
            expected=f"{floor:g} <= min_{name} <= max_{name}",
            got=f"min_{name}={low:g}, max_{name}={high:g}",
            remedy="exchange or correct the two numbers",
        )


def value_grid(low: float, high: float, step: float, name: str, floor: float, ceiling: float) -> tuple[float, ...]:
    """List the values low, low + step, …, high that a transform chooses from.

    Raises:
        ConfigError: If the range leaves [floor, ceiling] or is no whole number of steps.

    Example:
        >>> value_grid(-1.0, 1.0, 0.5, "semitones", -12.0, 12.0)
        (-1.0, -0.5, 0.0, 0.5, 1.0)
    """
    steps = (high - low) / step if step > 0 else math.nan
    if not (floor <= low <= high <= ceiling and math.isfinite(steps) and abs(steps - round(steps)) < 1e-6):
        raise ConfigError(
            f"The grid of {name} is no grid.",
            expected=f"{floor:g} <= min_{name} <= max_{name} <= {ceiling:g}, a whole number of steps apart",
            got=f"min_{name}={low:g}, max_{name}={high:g}, step_{name}={step:g}",
            remedy=f"choose step_{name} so that it divides the range",
        )
    # Rounded, so that a grid through 0 or 1 meets it exactly and that step changes nothing.
    return tuple(round(low + number * step, 9) for number in range(round(steps) + 1))
