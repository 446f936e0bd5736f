import gc

import pytest

from ser_kd.deploy.taking_turns import LEAST_TURNS, Timing, measure_in_turns, plan_turns


class Machine:
    """A clock that only calls move; a call takes its seconds, and the diary says who ran."""

    def __init__(self):
        self.now = 0.0
        self.diary = []

    def clock(self):
        return self.now

    def call(self, name, seconds, slowed=lambda: 1.0):
        def run():
            self.diary.append(name)
            self.now += seconds * slowed()

        return run


def measure(machine, calls, rounds, budget_s):
    return measure_in_turns(calls, rounds, budget_s, machine.clock, machine.clock)


def test_slow_calls_take_turns_and_the_order_turns_round():
    machine = Machine()
    calls = [machine.call(name, 1.0) for name in "abc"]
    timings = measure(machine, calls, rounds=3, budget_s=100.0)
    assert "".join(machine.diary) == "aabbcc" + "abc" + "cba" + "abc"
    assert [timing.wall_s for timing in timings] == [[1.0] * 3] * 3


def test_noise_of_one_half_of_the_time_hits_all_calls_alike():
    machine = Machine()
    calls = [
        machine.call("a", 1.0, lambda: 2.0 if machine.now > 60.0 else 1.0),
        machine.call("b", 1.0, lambda: 2.0 if machine.now > 60 else 1.0),
    ]
    first, second = measure(machine, calls, rounds=40, budget_s=1000.0)
    assert abs(first.wall_s.count(2.0) - second.wall_s.count(2.0)) <= 1
    assert first.percentile_ms(50) == second.percentile_ms(50)
    assert 10 < first.wall_s.count(2.0) < 30


def test_a_fast_call_is_warmed_up_and_made_several_times_per_turn():
    machine = Machine()
    fast, slow = measure(machine, [machine.call("f", 0.002), machine.call("s", 1.0)], rounds=6, budget_s=100.0)
    assert len(fast.wall_s) == 6 * 8
    assert len(slow.wall_s) == 6
    assert "".join(machine.diary).startswith("ffss" + "fffffffff" + "s" + "s" + "fffffffff")


def test_a_slow_call_takes_part_in_fewer_rounds_spread_over_all():
    plan = plan_turns(1.0, rounds=20, budget_s=10.0)
    assert (plan.turns, plan.calls, plan.warms_up) == (10, 1, False)
    assert [number for number in range(20) if plan.takes_part(number, 20)] == list(range(1, 20, 2))


@pytest.mark.parametrize(("rounds", "turns"), [(20, LEAST_TURNS), (3, 3)])
def test_a_budget_too_small_still_gives_the_least(rounds, turns):
    plan = plan_turns(60.0, rounds, budget_s=1.0)
    assert plan.turns == turns
    assert sum(plan.takes_part(number, rounds) for number in range(rounds)) == turns


def test_percentiles_and_shortest():
    timing = Timing([0.004, 0.001, 0.002, 0.003, 0.005], [0.5, 0.4, 0.3, 0.2, 0.1])
    assert timing.percentile_ms(50) == pytest.approx(3.0)
    assert timing.percentile_ms(95) == pytest.approx(4.8)
    assert timing.shortest_ms == pytest.approx(1.0)
    assert timing.processor_ms == pytest.approx(100.0)


def test_garbage_collection_waits_and_comes_back():
    seen = []
    machine = Machine()

    def call():
        seen.append(gc.isenabled())
        machine.now += 1.0

    measure(machine, [call], rounds=2, budget_s=10.0)
    assert seen[2:] == [False, False]
    assert gc.isenabled()
