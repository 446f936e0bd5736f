"""Which parameters learn, and how many there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from ser_kd.contracts.errors import ConfigError

RUNNING_STATISTICS = frozenset({"running_mean", "running_var"})
"""Buffers that training moves and that a published parameter count may include."""


def freeze(module: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Stop parameters from learning.

    Gradients still flow through. A module that has nothing left to learn is put into evaluation, and ``SpeechModel`` keeps it there.

    Args:
        module: The model.
        patterns: Names of modules or parameters inside it, with ``*`` for anything: "encoder", "encoder.layers.[0-5]", "*.norm".
            A module's name covers all that lies in it.

    Returns:
        Names of the parameters that were frozen.

    Raises:
        ConfigError: If a pattern meets nothing.
    """
    frozen = _set_learning(module, patterns, learns=False)
    rest_frozen_modules(module)
    return frozen


def unfreeze(module: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Let parameters learn again, from the next ``model.train()`` on with dropout; arguments and errors as for :func:`freeze`."""
    return _set_learning(module, patterns, learns=True)


def _set_learning(module: nn.Module, patterns: Iterable[str], learns: bool) -> list[str]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    touched: dict[str, None] = {}
    for pattern in patterns:
        names = [name for name in parameters if _covers(pattern, name)]
        if not names:
            modules = [name for name, _ in module.named_modules() if name]
            near = difflib.get_close_matches(pattern, modules, n=3, cutoff=0.4) or modules[:3]
            raise ConfigError(
                f"The pattern '{pattern}' meets no parameter.",
                expected="the name of a module or parameter, * for anything",
                got=pattern,
                remedy=f"names here are {', '.join(near)}, …" if near else "this model has no parameters",
            )
        touched.update(dict.fromkeys(names))
    for name in touched:
        parameters[name].requires_grad_(learns)
    return list(touched)


def _covers(pattern: str, name: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))


def rest_frozen_modules(module: nn.Module) -> None:
    """Put every module whose parameters are all frozen into evaluation: no dropout, no moving running statistics."""
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for inner in part.modules():
                inner.training = False  # not eval(): a model that rests its frozen parts would come here again


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Count what learns, and all that is learned.

    Args:
        module: The model; shared parameters count once.

    Returns:
        "trainable", and "total": all parameters and the running mean and variance of batch normalisation, as Keras counts.
        Kernels of a front-end and its feature statistics are in neither.

    Example:
        >>> count_parameters(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
        {'trainable': 12, 'total': 16}
    """
    parameters = list(module.parameters())
    statistics = [buffer for name, buffer in module.named_buffers() if name.rpartition(".")[2] in RUNNING_STATISTICS]
    return {
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "total": sum(tensor.numel() for tensor in [*parameters, *statistics]),
    }
