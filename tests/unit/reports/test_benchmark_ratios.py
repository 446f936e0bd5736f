from __future__ import annotations

import pytest
from fake_benchmark import STUDENT, TEACHER, make_benchmark

from ser_kd.reports.benchmark_ratios import FRONTEND_TO_NETWORK, compare_systems


def find(ratios, what, **wanted):
    return [r for r in ratios if r.what == what and all(getattr(r, name) == value for name, value in wanted.items())]


def test_the_teacher_stands_above_the_line_at_the_same_setting():
    record = make_benchmark()
    record.latency[0].p50_ms = 6.0  # student, eager, whole, 1 s: 3 ms before
    ratios = compare_systems(record)
    assert [r.value for r in find(ratios, "latency", part="whole", engine="eager", seconds=1.0)] == [pytest.approx(50.0)]
    assert [r.shortest for r in find(ratios, "latency", part="whole", engine="eager", seconds=1.0)] == [pytest.approx(100.0)]
    assert [r.value for r in find(ratios, "latency", part="network", engine="onnx_fp32", seconds=5.27)] == [pytest.approx(100.0)]
    assert not find(ratios, "latency", part="frontend")
    assert {(r.system, r.teacher) for r in ratios if r.what != FRONTEND_TO_NETWORK} == {(STUDENT, TEACHER)}


def test_front_ends_are_divided_by_their_own_networks():
    ratios = find(compare_systems(make_benchmark()), FRONTEND_TO_NETWORK)
    assert len(ratios) == 8
    assert {(r.value, r.teacher) for r in ratios} == {(2.0, "")}


def test_sizes_and_counts():
    ratios = compare_systems(make_benchmark())
    assert [r.value for r in find(ratios, "parameters")] == [50.0]
    assert [r.value for r in find(ratios, "multiply-accumulates")] == [pytest.approx(100.0)] * 2
    assert [(r.engine, r.value) for r in find(ratios, "size")] == [("eager", 100.0), ("onnx_fp32", 100.0)]
    assert [r.value for r in find(ratios, "live tensors")] == [100.0, 100.0]
    assert [r.value for r in find(ratios, "high water")] == [100.0, 100.0]


def test_what_only_one_of_them_has_is_left_out():
    record = make_benchmark()
    record.latency = [cell for cell in record.latency if cell.system == STUDENT or cell.engine == "eager"]
    record.costs = [cost for cost in record.costs if cost.system == STUDENT]
    record.systems[1].parameters = {}
    ratios = compare_systems(record)
    assert {r.engine for r in find(ratios, "latency")} == {"eager"}
    assert not find(ratios, "multiply-accumulates")
    assert not find(ratios, "parameters")


def test_without_a_teacher_only_halves_are_compared():
    record = make_benchmark()
    record.systems[1].role = "student"
    assert {r.what for r in compare_systems(record)} == {FRONTEND_TO_NETWORK}
