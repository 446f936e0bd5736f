"""What a sweep file asks for, as plain objects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ser_kd.contracts.errors import ConfigError

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """One key that trials differ in.

    Args:
        name: Key of the training's configuration.
        values: What it can be, in the file's order; empty where it is a range.
        low: Least value of a range.
        high: Greatest value, reached by a range of steps.
        step: Distance of neighbouring values; None where it is continuous.
        is_log: Whether its logarithm is drawn.
    """

    name: str
    values: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    is_log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.values and all(isinstance(bound, int) for bound in (self.low, self.high, self.step))

    def list_values(self) -> tuple[Scalar, ...] | None:
        """Give all values; None where they cannot be counted."""
        if self.values:
            return self.values
        if self.step is None:
            return None
        count = round((self.high - self.low) / self.step) + 1
        return tuple(self.low + place * self.step for place in range(count))

    def list_ends(self) -> tuple[Scalar, ...]:
        """Give all values of a choice, the two ends of a range: what is tried before the first trial."""
        return self.values or (self.low, self.high)


@dataclass(frozen=True)
class Hyperband:
    """Trials that fall behind are stopped early.

    Args:
        min_epochs: Epochs before any is stopped.
        max_epochs: Epochs of a whole trial; None is what the training plans.
        eta: One of so many goes on at each stage, 2 or more.
    """

    min_epochs: int
    max_epochs: int | None
    eta: int


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file asks for.

    Args:
        name: Name in the file; empty where it has none.
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of a metric of validation.
        maximize: Whether more is better.
        parameters: What trials differ in, in the file's order.
        train_words: Words behind ``ser-kd train`` that all trials share.
        run_cap: Greatest number of trials; None has none.
        hyperband: Early termination, or None.
    """

    name: str
    method: str
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    train_words: tuple[str, ...]
    run_cap: int | None = None
    hyperband: Hyperband | None = None

    def count_points(self) -> int | None:
        """Give how many different trials there can be; None where there is no end of them."""
        sizes = [parameter.list_values() for parameter in self.parameters]
        return None if any(values is None for values in sizes) else math.prod(len(values or ()) for values in sizes)

    def list_points(self) -> Iterator[dict[str, Scalar]]:
        """Give all combinations of values, the last parameter changing fastest.

        Raises:
            ConfigError: If a parameter has no end of values.
        """
        lists = []
        for parameter in self.parameters:
            values = parameter.list_values()
            if values is None:
                raise tell_uncountable(parameter.name)
            lists.append(values)
        names = [parameter.name for parameter in self.parameters]
        return (dict(zip(names, point, strict=True)) for point in itertools.product(*lists))


def tell_uncountable(name: str) -> ConfigError:
    """Give the error for a parameter of a grid that has no end of values."""
    return ConfigError(
        f"A grid needs values that can be counted, which parameters.{name} has not.",
        expected="values, int_uniform or q_uniform",
        got="a continuous range",
        remedy="list values, or write method: random or method: bayes with run_cap",
    )
