"""Latency on a shared machine: calls take turns, so that whatever slows the machine for a while slows all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

LEAST_TURNS = 5
"""Even a call that outruns its budget is measured so often, or in every round where there are fewer."""

_FAST_TURN_S = 0.02
_SLOW_CALL_S = 0.25
_MOST_CALLS = 8

Clock = Callable[[], float]


@dataclass
class Timing:
    """What was measured of one call.

    Args:
        wall_s: Seconds that passed, one per measured call.
        processor_s: Seconds of processor time of all threads of this process, likewise.
    """

    wall_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Give a percentile of the wall time in milliseconds, linear between neighbours.

        Args:
            share: Percent, 50 for the median.
        """
        return 1000.0 * float(np.percentile(self.wall_s, share))

    @property
    def shortest_ms(self) -> float:
        """The least disturbed call, milliseconds of wall time."""
        return 1000.0 * min(self.wall_s)

    @property
    def processor_ms(self) -> float:
        """The least processor time of a call, milliseconds."""
        return 1000.0 * min(self.processor_s)


@dataclass(frozen=True)
class Plan:
    """How often a call is made.

    Args:
        turns: In how many rounds it takes part.
        calls: Measured calls of one turn.
        warms_up: Whether each turn begins with a call that does not count, because the others' turns emptied the caches.
    """

    turns: int
    calls: int
    warms_up: bool

    def takes_part(self, round_number: int, rounds: int) -> bool:
        """Tell whether a round, counted from 0, is one of its turns; they are spread evenly over all rounds."""
        return (round_number + 1) * self.turns // rounds > round_number * self.turns // rounds


def plan_turns(estimate_s: float, rounds: int, budget_s: float) -> Plan:
    """Plan how often a call is made: fast ones several times per turn, slow ones in fewer rounds.

    Args:
        estimate_s: How long the call takes, about.
        rounds: Rounds in all.
        budget_s: What all its turns may take, about; ``LEAST_TURNS`` come first.

    Example:
        >>> plan_turns(0.001, rounds=20, budget_s=5.0), plan_turns(1.0, rounds=20, budget_s=8.0)
        (Plan(turns=20, calls=8, warms_up=True), Plan(turns=8, calls=1, warms_up=False))
    """
    estimate_s = max(estimate_s, 1e-9)
    calls = int(min(_MOST_CALLS, max(1.0, _FAST_TURN_S / estimate_s)))
    warms_up = estimate_s < _SLOW_CALL_S
    turn_s = estimate_s * (calls + warms_up)
    return Plan(min(rounds, max(LEAST_TURNS, int(budget_s / turn_s))), calls, warms_up)


def measure_in_turns(
    calls: Sequence[Callable[[], object]],
    rounds: int,
    budget_s: float,
    clock: Clock = time.perf_counter,
    processor_clock: Clock = time.process_time,
) -> list[Timing]:
    """Measure calls against each other.

    In each round every call has one turn; odd rounds go backwards, so that no call always follows the same one. Python's garbage
    collection waits until the end. Two calls of each do not count: the first, which may set things up, and one that says how long it takes.

    Args:
        calls: What is measured.
        rounds: Rounds at most; see ``plan_turns``.
        budget_s: Seconds per call, about.
        clock: Gives wall time in seconds.
        processor_clock: Gives processor time in seconds.

    Returns:
        One timing per call, in order.
    """
    plans = [plan_turns(_estimate(call, clock), rounds, budget_s) for call in calls]
    timings = [Timing() for _ in calls]
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            order = range(len(calls)) if number % 2 == 0 else range(len(calls) - 1, -1, -1)
            for place in order:
                if plans[place].takes_part(number, rounds):
                    _take_turn(calls[place], plans[place], timings[place], clock, processor_clock)
    finally:
        if collects:
            gc.enable()
    return timings


def _estimate(call: Callable[[], object], clock: Clock) -> float:
    call()
    start = clock()
    call()
    return clock() - start


def _take_turn(call: Callable[[], object], plan: Plan, timing: Timing, clock: Clock, processor_clock: Clock) -> None:
    if plan.warms_up:
        call()
    for _ in range(plan.calls):
        processor_start, start = processor_clock(), clock()
        call()
        stop, processor_stop = clock(), processor_clock()
        timing.wall_s.append(stop - start)
        timing.processor_s.append(processor_stop - processor_start)
