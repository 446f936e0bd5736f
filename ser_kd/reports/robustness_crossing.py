"""Below which signal-to-noise ratio one system passes another, with what can honestly be said of it."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_kd.contracts.robustness_record import Key
from ser_kd.reports.answers import count_confusion
from ser_kd.reports.confusion_metrics import unweighted_accuracy
from ser_kd.reports.robustness_systems import RobustSystem
from ser_kd.reports.significance import (
    LEVEL,
    RESAMPLES,
    Interval,
    average_seeds,
    bootstrap_difference,
    check_same_clips,
    resample_confusions,
)


@dataclass(frozen=True)
class Passing:
    """Where a system passes another over the ratio.

    Args:
        verdict: ``below`` (better below one ratio and worse above), ``above`` (the other way round), ``several``, ``everywhere``,
            ``never`` or ``equal`` within the ratios that were tried.
        crossings: Ratios in decibels at which the straight lines between the measured points cross, ascending.
        low: Lower end of the percentile interval of the crossing; NaN where it means nothing.
        high: Upper end.
        shares: Verdict -> share of resamples that came to it.
        unit: What was resampled.
        units: How many.
    """

    verdict: str
    crossings: tuple[float, ...]
    low: float = math.nan
    high: float = math.nan
    shares: dict[str, float] | None = None
    unit: str = ""
    units: int = 0

    def describe(self) -> str:
        """Tell it in words."""
        places = ", ".join(f"{place:.1f} dB" for place in self.crossings).replace("-", "−")
        told = {
            "below": f"below {places}",
            "above": f"above {places}",
            "several": f"several crossings: {places}",
            "everywhere": "everywhere",
            "never": "never",
            "equal": "nowhere and never: equal",
        }[self.verdict]
        if not self.shares:
            return told
        same = self.shares.get(self.verdict, 0.0)
        ends = "" if math.isnan(self.low) else f"; there within {self.low:.1f} to {self.high:.1f} dB".replace("-", "−")
        rest = ", ".join(f"{name} {share:.0%}" for name, share in sorted(self.shares.items(), key=lambda x: -x[1]) if name != self.verdict)
        return f"{told} (so in {same:.0%} of resamples of {self.units} {self.unit}{ends}{'; ' + rest if rest else ''})"


def find_crossings(ratios: Sequence[float], differences: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Find where a difference over the ratio changes its sign, by straight lines between the points.

    Args:
        ratios: N ratios in decibels, ascending.
        differences: N differences, ours less theirs; a point of NaN is left out.

    Returns:
        A verdict of ``Passing`` and the crossings, ascending.

    Example:
        >>> find_crossings([0, 5, 10], [0.02, 0.01, -0.01])
        ('below', (7.5,))
    """
    points = [(x, d) for x, d in zip(ratios, differences, strict=True) if not math.isnan(d) and d != 0.0]
    crossings = []
    for (left, before), (right, after) in itertools.pairwise(points):
        if (before > 0.0) != (after > 0.0):
            crossings.append(left + (right - left) * before / (before - after))
    if not points:
        return "equal", ()
    if not crossings:
        return ("everywhere" if points[0][1] > 0.0 else "never"), ()
    if len(crossings) > 1:
        return "several", tuple(crossings)
    return ("below" if points[0][1] > 0.0 else "above"), tuple(crossings)


def find_passing(
    ours: RobustSystem, theirs: RobustSystem, noises: Sequence[str], ratios: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Passing | None:
    """Find below which ratio a system passes another in UA, averaged over noises.

    A resample draws the same speakers for both systems and for all ratios and noises, so that the whole difference curve moves as one.
    The interval is over the resamples that came to the same verdict, and its share tells how often that was; the error of the straight
    lines between the ratios is not in it.

    Args:
        ours: The system.
        theirs: Whom it may pass.
        noises: Types over which UA is averaged.
        ratios: Ratios in decibels.
        resamples: Bootstrap resamples.
        seed: Of the draw.

    Returns:
        None where the two share no fold, or fewer than two ratios.
    """
    shared = sorted(set(ours.folds) & set(theirs.folds))
    if not shared:
        return None
    first, second = ours.on_folds(shared), theirs.on_folds(shared)
    rising = [x for x in sorted(ratios) if all((noise, x) in first.answers and (noise, x) in second.answers for noise in noises)]
    if len(rising) < 2 or not noises:
        return None
    cells = [(noise, x) for noise in noises for x in rising]
    check_same_clips(first.answers[cells[0]], second.answers[cells[0]])
    sets = [[*system.answers[cell]] for system in (first, second) for cell in cells]
    flat = [answers for each in sets for answers in each]
    drawn, unit, units = resample_confusions(flat, resamples=resamples, seed=seed)
    shape = (len(noises), len(rising))

    def difference(values: NDArray[np.float64]) -> NDArray[np.float64]:
        ends = np.cumsum([len(each) for each in sets])[:-1]
        means = np.stack([average_seeds(part) for part in np.split(values, ends, axis=-1)], axis=-1)  # (…, 2 N S)
        half = means.shape[-1] // 2
        curves: NDArray[np.float64] = (means[..., :half] - means[..., half:]).reshape(*means.shape[:-1], *shape).mean(axis=-2)
        return curves

    measured = difference(unweighted_accuracy(np.stack([count_confusion(answers) for answers in flat]))[None])[0]
    verdict, crossings = find_crossings(rising, measured.tolist())
    found = [find_crossings(rising, curve.tolist()) for curve in difference(unweighted_accuracy(drawn))]
    shares = {name: count / len(found) for name, count in Counter(name for name, _ in found).items()}
    low, high = math.nan, math.nan
    places = [places[0] for name, places in found if name == verdict and len(places) == 1]
    if len(crossings) == 1 and len(places) >= 20:
        tail = 100.0 * (1.0 - LEVEL) / 2.0
        low, high = (float(x) for x in np.percentile(places, [tail, 100.0 - tail]))
    return Passing(verdict, crossings, low, high, shares, unit, units)


def measure_drops(
    system: RobustSystem, noise: str, ratios: Sequence[float], clean: Key | None, *, resamples: int = RESAMPLES
) -> list[tuple[float | None, float, Interval]]:
    """Measure how much UA is lost from each ratio to the next lower one, paired over the clips.

    Args:
        system: The system.
        noise: Type of noise.
        ratios: Ratios in decibels.
        clean: Key of clean speech, from which the first step goes down; None begins at the highest ratio.
        resamples: Bootstrap resamples.

    Returns:
        (from, to, change of UA with its interval), None standing for clean speech; steps that lack an end are left out.
    """
    falling = [x for x in sorted(ratios, reverse=True) if (noise, x) in system.answers]
    ends: list[tuple[float | None, Key]] = [(x, (noise, x)) for x in falling]
    if clean is not None and clean in system.answers:
        ends.insert(0, (None, clean))
    steps = []
    for (upper, above), (lower, below) in itertools.pairwise(ends):
        change = bootstrap_difference(system.answers[below], system.answers[above], resamples=resamples)
        steps.append((upper, float(lower or 0.0), change))
    return steps
