"""Whether one system is better than another on the same clips: permutation over speakers, McNemar's test, effect sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_kd.contracts.errors import DataError
from ser_kd.reports.answers import Answers, Integers, list_seeds
from ser_kd.reports.dimension_metrics import SCORES
from ser_kd.reports.significance import average_seeds, check_same_clips, count_by_unit, pool_metric

MOST_EXACT_SPEAKERS = 14
"""Up to this many speakers all 2^S ways of swapping are looked at."""

PERMUTATIONS = 10_000
"""With more speakers so many random ways."""

_BLOCK = 1024
_TOLERANCE = 1e-12
"""Two ways of swapping that give the same difference may differ by rounding, and must count as equal."""


@dataclass(frozen=True)
class PermutationTest:
    """Paired permutation over speakers, two-sided.

    Args:
        difference: metric(first) - metric(second).
        p_value: Share of the ways of swapping that give a difference at least as large, either way.
        speakers: S.
        movable: Speakers whom the two systems answered differently; swapping the others changes nothing.
        permutations: How many ways were looked at.
        exact: Whether these were all 2^S.
    """

    difference: float
    p_value: float
    speakers: int
    movable: int
    permutations: int
    exact: bool

    @property
    def smallest_p(self) -> float:
        """The smallest p that was possible, whatever the difference.

        2 / 2^S, S the movable speakers: a difference and its mirror image always count. Of n random ways never below 1 / (n + 1).
        """
        smallest = min(1.0, 2.0 * 0.5**self.movable)  # not 2 / 2^S, which overflows beyond 1,023 speakers
        return smallest if self.exact else max(smallest, 1.0 / (self.permutations + 1))


@dataclass(frozen=True)
class McNemarTest:
    """McNemar's exact test on the clips that only one of two systems answered rightly.

    Args:
        only_first: Clips that only the first answered rightly.
        only_second: Clips that only the second did.
        p_value: Two-sided; 1 without any such clip.
        odds_ratio: ``only_first / only_second``, infinite where the second has none; NaN without any such clip.
        reason: Why the odds ratio is NaN.
    """

    only_first: int
    only_second: int
    p_value: float
    odds_ratio: float
    reason: str = ""


@dataclass(frozen=True)
class EffectSize:
    """Cohen's d_z over speakers.

    Args:
        value: Mean of the speakers' differences over their standard deviation (n - 1); NaN where that is undefined.
        speakers: S.
        reason: Why it is NaN.
    """

    value: float
    speakers: int
    reason: str = ""


def permute_speakers(
    first: Answers | Sequence[Answers], second: Answers | Sequence[Answers], *, metric: str = "ua", seed: int = 0
) -> PermutationTest:
    """Ask how often a difference this large comes about where the two systems' answers are exchanged at random.

    Were the systems equally good, it would not matter whose answers to a speaker's clips are called the first's. For every
    speaker both systems' answers are swapped or not, those of all folds and seeds together: clips of one voice are right or
    wrong together, and so are copies of a clip under several seeds. Up to 14 speakers all 2^S ways are looked at,
    ``p = k / 2^S``; with more 10,000 random ones, ``p = (k + 1) / (n + 1)``, k being those at least as far from zero.

    Args:
        first: Answers of one training, or of K seeds.
        second: The same clips, answered by the other system in as many seeds.
        metric: A key of ``SCORES``; of several seeds their mean is compared.
        seed: Of the random ways.

    Raises:
        DataError: If the two did not answer the same clips under the same seeds.

    Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapter 3; Phipson and Smyth,
    Permutation p-values should never be zero (2010), for the estimate.
    """
    ours, theirs = _pair_seeds(first, second)
    names = _list_speakers(ours)
    one, other = count_by_unit(ours, names), count_by_unit(theirs, names)  # (S, K, C, C)
    change = one - other
    difference = pool_metric(ours, metric) - pool_metric(theirs, metric)
    exact = len(names) <= MOST_EXACT_SPEAKERS
    swaps = _all_swaps(len(names)) if exact else np.random.default_rng(seed).integers(0, 2, size=(PERMUTATIONS, len(names)))
    hits = 0
    for start in range(0, len(swaps), _BLOCK):
        moved = np.tensordot(swaps[start : start + _BLOCK].astype(np.float64), change, axes=1)  # (P, K, C, C)
        scores = [average_seeds(SCORES[metric](counts)) for counts in (one.sum(0) - moved, other.sum(0) + moved)]
        hits += int(np.sum(np.abs(scores[0] - scores[1]) >= abs(difference) - _TOLERANCE))
    p_value = hits / len(swaps) if exact else (hits + 1) / (len(swaps) + 1)
    movable = int(np.any(change != 0, axis=(1, 2, 3)).sum())
    return PermutationTest(difference, p_value, len(names), movable, len(swaps), exact)


def run_mcnemar(first: Answers, second: Answers) -> McNemarTest:
    """Ask whether the clips that only one of two systems answers rightly fall on one side more often than a coin would.

    Exact: with b clips that only the first and c that only the second answers rightly, p is that of b in b + c throws of a
    fair coin, two-sided. It takes clips for independent, which those of one voice are not.

    Args:
        first: Answers of one seed.
        second: The same clips, answered by the other system.

    Raises:
        DataError: If the two did not answer the same clips, or a clip stands there twice.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions (1947).
    """
    check_same_clips([first], [second])
    for answers in (first, second):
        if len(set(answers.ids)) < len(answers.ids):
            raise DataError(
                "McNemar's test counts each clip once.",
                expected="every clip once, as one seed answers it",
                got=f"{len(answers.ids)} answers to {len(set(answers.ids))} clips",
                remedy="give the answers of one seed",
            )
    ours, theirs = ((answers.truth == answers.prediction)[np.argsort(answers.ids)] for answers in (first, second))
    only_first, only_second = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    if only_first + only_second == 0:
        return McNemarTest(0, 0, 1.0, math.nan, "no clip that only one of the two answers rightly")
    from scipy.stats import binomtest  # late: a report without a comparison does without its second of loading

    p_value = float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
    return McNemarTest(only_first, only_second, p_value, only_first / only_second if only_second else math.inf)


def measure_effect(first: Answers | Sequence[Answers], second: Answers | Sequence[Answers], *, metric: str = "ua") -> EffectSize:
    """Measure how large a difference is beside its spread over speakers: ``d_z = mean(d_s) / std(d_s)``.

    d_s is metric(first) - metric(second) on the clips of speaker s, averaged over seeds; the deviation divides by n - 1.

    Args:
        first: Answers of one training, or of K seeds.
        second: The same clips, answered by the other system in as many seeds.
        metric: A key of ``SCORES``.

    Raises:
        DataError: If the two did not answer the same clips under the same seeds.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), section 2.3.5.
    """
    ours, theirs = _pair_seeds(first, second)
    names = _list_speakers(ours)
    one, other = (average_seeds(SCORES[metric](count_by_unit(seeds, names))) for seeds in (ours, theirs))  # (S,)
    if len(names) < 2:
        return EffectSize(math.nan, len(names), "one speaker has no spread over speakers")
    spread = float(np.std(one - other, ddof=1))
    if spread <= _TOLERANCE:
        return EffectSize(math.nan, len(names), "the difference is the same for every speaker")
    return EffectSize(float(np.mean(one - other)) / spread, len(names))


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of several comparisons, so that one false finding among all is as rare as said.

    The i-th smallest of m is multiplied by m - i + 1, never below its predecessor, never above 1.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).

    Example:
        >>> correct_holm([0.03, 0.01, 0.6])
        [0.06, 0.03, 0.6]
    """
    corrected = [math.nan] * len(p_values)
    reached = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = reached
    return corrected


def _pair_seeds(first: Answers | Sequence[Answers], second: Answers | Sequence[Answers]) -> tuple[list[Answers], list[Answers]]:
    ours, theirs = list_seeds(first), list_seeds(second)
    if len(ours) != len(theirs):
        raise DataError(
            "Two systems can be paired only seed by seed.",
            expected=f"answers of {len(ours)} seeds",
            got=f"answers of {len(theirs)} seeds",
            remedy="compare the seeds that both ran",
        )
    for one, other in zip(ours, theirs, strict=True):
        check_same_clips([one], [other])
    return ours, theirs


def _list_speakers(seeds: Sequence[Answers]) -> NDArray[np.str_]:
    return np.unique(np.concatenate([answers.speakers for answers in seeds]))


def _all_swaps(speakers: int) -> Integers:
    """List all ways of swapping; (2^S, S) of 0 and 1."""
    return (np.arange(2**speakers)[:, None] >> np.arange(speakers)) & 1
