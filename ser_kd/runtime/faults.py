"""Collecting several faults of a configuration, so that the user sees them all at once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ser_kd.contracts.errors import ConfigError


def join_names(names: Iterable[str], most: int = 24) -> str:
    """Write names in one line, cut after ``most``."""
    listed = sorted(names)
    shown = ", ".join(listed[:most]) or "none"
    return shown if len(listed) <= most else f"{shown}, … ({len(listed)} in all)"


def raise_faults(faults: Sequence[ConfigError]) -> None:
    """Raise one error for all faults; nothing where there is none.

    Raises:
        ConfigError: The fault itself where there is one; else one error that numbers them.
    """
    if len(faults) == 1:
        raise faults[0]
    if faults:
        numbered = [textwrap.indent(f"{number}. {fault}", "  ") for number, fault in enumerate(faults, start=1)]
        raise ConfigError("\n".join([f"The configuration has {len(faults)} faults.", *numbered]))
