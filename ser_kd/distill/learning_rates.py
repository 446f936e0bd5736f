"""Parts of a student that learn at a rate of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest

OBJECTIVE = "objective"
"""Stands for what the objective's terms learn (adapters, projections) among the names of the student's parts."""

REST = "rest"
"""Name of the group of all that has no rate of its own."""


@dataclass(frozen=True)
class RateGroup:
    """Parameters that learn at one rate.

    Args:
        name: The part's name, or ``rest``.
        rate: Its learning rate; None is the optimizer's own.
        parameters: Those that learn, in the order of the model.
        frozen: How many numbers of the part do not.
    """

    name: str
    rate: float | None
    parameters: Sequence[nn.Parameter]
    frozen: int

    def to_optimizer(self) -> dict[str, Any]:
        """Give the group as torch's optimizers take it; its name travels with the checkpoint."""
        own = {} if self.rate is None else {"lr": self.rate}
        return {"params": list(self.parameters), "name": self.name, **own}

    def describe(self) -> str:
        """Tell its rate and size in one line."""
        rate = "the optimizer's rate" if self.rate is None else f"{self.rate:g}"
        if not self.parameters:
            return f"{self.name} does not learn at {rate}: its {self.frozen:,} parameters are frozen"
        frozen = f", and {self.frozen:,} are frozen" if self.frozen else ""
        return f"{self.name} learns at {rate}: {sum(part.numel() for part in self.parameters):,} parameters{frozen}"


def group_by_rate(student: nn.Module, objective: nn.Module, rates: Mapping[str, float]) -> list[RateGroup]:
    """Share out all parameters among the parts with a learning rate of their own, and the rest.

    A schedule multiplies every rate. Of two names of which one lies within the other the inner one counts for what lies in it.

    Args:
        student: Its parts are named as they lie in it: ``encoder``, ``head``, ``encoder.blocks.2``.
        objective: The name ``objective`` stands for its parameters.
        rates: Name -> learning rate, above 0.

    Returns:
        The rest first, if there is one, then a group for each name in the order given.

    Raises:
        ConfigError: If a name meets no part, or one without parameters, or a rate is no positive number.
    """
    for name, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0.0 < rate < math.inf:
            raise ConfigError(
                f"The learning rate of '{name}' cannot be used.",
                expected="a number above 0",
                got=repr(rate),
                remedy=f"set learning_rates.{name}=1.0e-5, say; what shall not learn at all is frozen by a key of its encoder",
            )
    named = dict(student.named_parameters(remove_duplicate=False))
    owners: dict[int, str] = {}
    parts = {name: _list_parameters(name, student, objective, named) for name in rates}
    for name in sorted(rates, key=lambda name: name.count(".")):  # an inner name claims its part from the outer one
        owners |= {id(parameter): name for parameter in parts[name]}
    everything = {id(parameter): parameter for parameter in [*student.parameters(), *objective.parameters()]}
    groups = []
    for name in (REST, *rates):
        own = [parameter for key, parameter in everything.items() if owners.get(key, REST) == name]
        learning = [parameter for parameter in own if parameter.requires_grad]
        frozen = sum(parameter.numel() for parameter in own if not parameter.requires_grad)
        if own or name in rates:
            groups.append(RateGroup(name, rates.get(name), learning, frozen))
    return groups


def _list_parameters(name: str, student: nn.Module, objective: nn.Module, named: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
    if name in named:
        return [named[name]]
    modules = dict(student.named_modules(remove_duplicate=False))
    part = objective if name == OBJECTIVE else modules.get(name) if name else None
    found = [] if part is None else list(part.parameters())
    if not found:
        usable = [key for key, module in modules.items() if key and any(True for _ in module.parameters())]
        top = [key for key in usable if "." not in key] + ([OBJECTIVE] if any(True for _ in objective.parameters()) else [])
        raise ConfigError(
            f"The learning rate of '{name}' has no part to go to." if part is None else f"'{name}' has nothing to learn.",
            expected=f"a part of the student that has parameters: {', '.join(top)}, or what lies in them ({top[0]}.…)"
            if top
            else "a student with parameters",
            got=f"learning_rates.{name}",
            remedy=suggest(name, [*top, *usable]) or "correct learning_rates, or leave the name out",
        )
    return found
