import json

import pytest

from ser_kd.contracts.benchmark_record import (
    BenchmarkRecord,
    CostRecord,
    EngineRecord,
    LatencyRecord,
    MemoryRecord,
    RatioRecord,
    SystemRecord,
)
from ser_kd.contracts.errors import DataError

RECORD = BenchmarkRecord(
    systems=[SystemRecord("a", "student", "run", "runs/a", 16_000, "x/a", "d98f", 0, 1, "p f", 0.5, {"trainable": 1, "total": 2})],
    costs=[CostRecord("a", 1.0, 10, 20)],
    engines=[EngineRecord("a", "eager", 100, 5.0, None, 0.4, ["a note"])],
    memory=[MemoryRecord("a", "onnx_fp32", 1.0, 50, "Add", 900, 700)],
    latency=[LatencyRecord("a", "eager", "whole", 1, 2.0, 3, 4.0, 5.0, 3.5, 3.4)],
    ratios=[RatioRecord("size", "a", "t", 3.0, "eager")],
    left_out=["compiled: no compiler"],
    seconds=[1.0, 2.0],
    threads=[1],
    rounds=3,
    budget_s=1.0,
    hardware={"cores": "2"},
    packages={"torch": "2"},
    command="ser-kd benchmark runs/a",
)


def test_what_is_written_is_read_back():
    assert BenchmarkRecord.from_json(RECORD.to_json()) == RECORD


def test_derived_numbers_are_what_they_say():
    assert RECORD.latency[0].real_time_factor == pytest.approx(0.002)
    assert RECORD.memory[0].above_identity_bytes == 200
    assert MemoryRecord("a", "onnx_fp32", 1.0, 50, "Add").above_identity_bytes is None


def test_cells_are_found_by_all_that_tells_them_apart():
    assert RECORD.find_latency("a", "eager", "whole", 1, 2.0) is RECORD.latency[0]
    assert RECORD.find_latency("a", "eager", "network", 1, 2.0) is None
    assert RECORD.find_engine("a", "eager") is RECORD.engines[0]
    assert RECORD.find_engine("b", "eager") is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema_version": 99}, "another version"),
        ({"surprise": 1}, "surprise"),
        ({"latency": [{"system": "a"}]}, "missing"),
        ({"costs": None}, "does not hold"),
    ],
)
def test_what_is_no_benchmark_is_refused(change, told):
    data = json.loads(RECORD.to_json()) | change
    with pytest.raises(DataError, match=told):
        BenchmarkRecord.from_json(json.dumps(data), "there.json")


def test_a_missing_key_is_refused():
    data = json.loads(RECORD.to_json())
    del data["engines"]
    with pytest.raises(DataError, match="engines"):
        BenchmarkRecord.from_json(json.dumps(data))
