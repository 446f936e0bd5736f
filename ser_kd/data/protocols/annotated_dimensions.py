"""What is annotated of arousal, dominance and valence in the splits of a fold, and what of it cannot be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.utterance import Utterance

DimensionCounts = dict[str, dict[str, float]]
"""Dimension -> ``clips`` that are annotated and, where there are any, ``mean`` and ``deviation`` in [0, 1]."""


def count_dimensions(utterances: Sequence[Utterance]) -> DimensionCounts:
    """Count and measure the annotations of a split; the deviation is divided by n and exactly 0 where all values are equal."""
    counts: DimensionCounts = {}
    for place, name in enumerate(DIMENSIONS):
        values = np.array([value for u in utterances if (value := u.dimensions[place]) is not None])
        counts[name] = {"clips": len(values)}
        if len(values):
            # equal values leave a deviation of a few rounding steps
            deviation = 0.0 if float(np.ptp(values)) == 0 else float(values.std())
            counts[name] |= {"mean": float(values.mean()), "deviation": deviation}
    return counts


def describe_dimensions(counts: DimensionCounts, clips: int) -> str:
    """Tell mean and deviation of each dimension, and of how many clips where it is not all.

    Example:
        >>> describe_dimensions({"arousal": {"clips": 2, "mean": 0.5, "deviation": 0.1}, "valence": {"clips": 0}}, 2)
        'arousal 0.500 ± 0.100, valence not annotated'
    """
    told = []
    for name, found in counts.items():
        if not found["clips"]:
            told.append(f"{name} not annotated")
            continue
        some = f" ({found['clips']:.0f} clips)" if found["clips"] < clips else ""
        told.append(f"{name} {found['mean']:.3f} ± {found['deviation']:.3f}{some}")
    return ", ".join(told)


def list_varying(counts: DimensionCounts) -> list[str]:
    """List the dimensions that are annotated in two clips at least, and not always alike: others can be neither learned nor judged."""
    return [name for name, found in counts.items() if found["clips"] >= 2 and found["deviation"]]


def list_unjudgeable(splits: Mapping[str, DimensionCounts]) -> list[str]:
    """List what of the splits has no concordance, in words for a reader.

    Args:
        splits: Split name -> its counts.
    """
    found = []
    nowhere = [name for name in DIMENSIONS if not any(counts[name]["clips"] for counts in splits.values())]
    if nowhere:
        found.append(f"{' and '.join(nowhere)}: annotated nowhere, so neither learned nor judged")
    reasons: dict[tuple[str, str], list[str]] = {}  # (dimension, why) -> splits
    for split, counts in splits.items():
        for name in (name for name in DIMENSIONS if name not in nowhere):
            if counts[name]["clips"] < 2:
                reasons.setdefault((name, f"annotated in {counts[name]['clips']:.0f} clips"), []).append(split)
            elif not counts[name]["deviation"]:
                reasons.setdefault((name, f"always {counts[name]['mean']:.3f}"), []).append(split)
    alike: dict[tuple[str, str], list[str]] = {}  # (splits, why) -> dimensions
    for (name, why), where in reasons.items():
        alike.setdefault((_join(where), why), []).append(name)
    for (where_all, why), names in alike.items():
        verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
        found.append(f"{where_all}: {_join(names)} {verb} {why}, so {whose} CCC is undefined (NaN) there")
    return found


def _join(names: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])
