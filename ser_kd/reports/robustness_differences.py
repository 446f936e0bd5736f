"""How far systems lie apart in noise, over all types and ratios, and whether that could be chance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from ser_kd.contracts.robustness_record import CLEAN, Key
from ser_kd.reports.paired_tests import correct_holm, permute_speakers
from ser_kd.reports.robustness_systems import RobustnessBoard, RobustSystem
from ser_kd.reports.significance import Interval, bootstrap_difference


@dataclass(frozen=True)
class Difference:
    """One system less another on the same clips under the same noises.

    Args:
        first: The system.
        second: With whom it is compared.
        in_noise: Difference of UA, mean over the conditions, with its interval.
        p_value: Two-sided, of swapping the two systems' answers speaker by speaker, under all conditions together.
        p_corrected: The same after Holm, over all pairs of the board.
        on_clean: Difference of UA on clean speech with its interval; None where not both have it.
        conditions: Noises times ratios that both have.
    """

    first: RobustSystem
    second: RobustSystem
    in_noise: Interval
    p_value: float
    p_corrected: float
    on_clean: Interval | None
    conditions: int


def find_differences(board: RobustnessBoard) -> list[Difference]:
    """Compare all pairs of a board's systems, each on the folds and under the conditions that both have.

    A clip stands once for each condition, as a clip under several seeds does: a resample draws its speaker under all conditions at once,
    and a permutation swaps it under all at once.

    Returns:
        One per pair that shares a condition and was run under as many seeds; the better one stands first.
    """
    found = [
        difference for one, other in itertools.combinations(board.systems, 2) if (difference := _compare(board, one, other)) is not None
    ]
    corrected = correct_holm([difference.p_value for difference in found])
    made = [replace(difference, p_corrected=p) for difference, p in zip(found, corrected, strict=True)]
    return sorted(made, key=lambda difference: -difference.in_noise.value)


def _compare(board: RobustnessBoard, one: RobustSystem, other: RobustSystem) -> Difference | None:
    shared = sorted(set(one.folds) & set(other.folds))
    if not shared or one.seeds != other.seeds:
        return None
    one, other = one.on_folds(shared), other.on_folds(shared)
    cells: list[Key] = [(noise, ratio) for noise in board.noises for ratio in board.ratios]
    cells = [cell for cell in cells if cell in one.answers and cell in other.answers]
    if not cells:
        return None
    ours, theirs = ([answers for cell in cells for answers in system.answers[cell]] for system in (one, other))
    test = permute_speakers(ours, theirs)
    if test.difference < 0:
        (one, ours), (other, theirs) = (other, theirs), (one, ours)
    clean: Key = (CLEAN, None)
    on_clean = None
    if clean in one.answers and clean in other.answers:
        on_clean = bootstrap_difference(one.answers[clean], other.answers[clean], resamples=board.resamples)
    in_noise = bootstrap_difference(ours, theirs, resamples=board.resamples)
    return Difference(one, other, in_noise, test.p_value, test.p_value, on_clean, len(cells))
