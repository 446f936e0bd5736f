"""Collecting several faults of a configuration, so that the user sees them all at once."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Sequence

from ser_kd.contracts.errors import ConfigError


def suggest(word: str, candidates: Iterable[str]) -> str:
    """Give ``did you mean …?`` for the nearest candidates, or nothing where none is near.

    A candidate with the same last part as a dotted key counts as near, whatever stands before it.

    Example:
        >>> suggest("experimants", ["experiments", "student"]), suggest("zzz", ["student"])
        ("did you mean 'experiments'?", '')
        >>> suggest("temperature", ["objective.terms.kl.temperature", "seed"])
        "did you mean 'objective.terms.kl.temperature'?"
    """
    known = list(dict.fromkeys(candidates))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    last = word.rpartition(".")[2]
    near += [key for key in known if key.rpartition(".")[2] == last and key not in near]
    if not near:
        ends = {key.rpartition(".")[2]: key for key in known}
        near = [ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.75)]
    return f"did you mean {' or '.join(repr(key) for key in near[:3])}?" if near else ""


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
