from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ser_kd.contracts.errors import DataError
from ser_kd.deploy.live_tensors import LivePeak, Step, find_live_peak, measure_live_tensors


def plain_peak(steps, sizes, answers):
    """The second form: at each step look at every tensor and ask whether it was made and is still wanted."""

    def roots(name, until):
        for step in steps[: until + 1]:
            if name in step.makes:
                return roots(step.reads[0], until) if step.is_view else name
        return name

    last = len(steps) - 1
    born = {name: number for number, step in enumerate(steps) for name in step.makes if not step.is_view}
    wanted = {name: {number} for name, number in born.items()}
    for number, step in enumerate(steps):
        for name in (*step.reads, *step.makes):
            wanted.setdefault(roots(name, last), set()).add(number)
    for name in answers:
        wanted.setdefault(roots(name, last), set()).add(len(steps))
    totals = [sum(sizes.get(name, 0) for name in born if born[name] <= now <= max(wanted[name])) for now in range(len(steps))]
    return max(totals, default=0)


def test_a_chain_with_a_branch_by_hand():
    steps = [
        Step("first", ("in",), ("a",)),  # a
        Step("second", ("a",), ("b",)),  # a b
        Step("third", ("b",), ("c",)),  # a b c: the branch keeps a
        Step("join", ("a", "c"), ("out",)),  # a c out
    ]
    sizes = {"in": 999, "a": 10, "b": 7, "c": 4, "out": 5}
    assert find_live_peak(steps, sizes, ["out"]) == LivePeak(21, "third")


def test_a_view_lives_in_the_memory_of_what_it_shows():
    steps = [
        Step("make", ("in",), ("a",)),
        Step("reshape", ("a",), ("b",), is_view=True),
        Step("again", ("b",), ("c",), is_view=True),
        Step("use", ("c",), ("d",)),
        Step("end", ("d",), ("out",)),
    ]
    sizes = dict.fromkeys("abcd", 10) | {"out": 1}
    assert find_live_peak(steps, sizes, ["out"]).size_bytes == 20


def test_an_answer_lives_to_the_end_and_what_nobody_reads_dies_at_once():
    steps = [Step("one", ("in",), ("kept", "unread")), Step("two", ("in",), ("x",)), Step("three", ("x",), ("y",))]
    sizes = {"kept": 5, "unread": 3, "x": 4, "y": 4}
    assert find_live_peak(steps, sizes, ["kept", "y"]) == LivePeak(13, "three")
    assert find_live_peak([], {}, []) == LivePeak(0, "")


@pytest.mark.parametrize("seed", range(20))
def test_the_walk_equals_a_plain_second_form(seed):
    draw = random.Random(seed)
    names, steps = ["in", "weight"], []
    for number in range(30):
        reads = tuple(draw.sample(names, k=min(len(names), draw.randint(1, 3))))
        made = tuple(f"t{number}_{part}" for part in range(draw.randint(1, 2)))
        steps.append(Step(f"s{number}", reads, made[:1], True) if draw.random() < 0.2 else Step(f"s{number}", reads, made))
        names += steps[-1].makes
    sizes = {name: draw.randint(1, 100) for name in names[2:]}
    answers = draw.sample(names[2:], k=2)
    assert find_live_peak(steps, sizes, answers).size_bytes == plain_peak(steps, sizes, answers)


def test_a_graph_of_known_sizes_as_onnxruntime_runs_it(tmp_path):
    """waveform (1, 1000) -> product (1, 500): 2000 bytes -> its cumulative sum: 2000 -> sum: 4 bytes; weights 1000 x 500."""
    weight = np.full((1000, 500), 0.5, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["waveform", "weight"], ["product"], name="product"),
        helper.make_node("CumSum", ["product", "axis"], ["run"], name="run"),
        helper.make_node("Reshape", ["run", "flat"], ["flattened"], name="flatten"),
        helper.make_node("ReduceMax", ["flattened"], ["top"], name="top", keepdims=0),
    ]
    constants = {"weight": weight, "axis": np.array(1, dtype=np.int64), "flat": np.array([-1], dtype=np.int64)}
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["B", 1000])],
        [helper.make_tensor_value_info("top", TensorProto.FLOAT, [])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    live = measure_live_tensors(tmp_path / "m.onnx", {"waveform": np.ones((1, 1000), dtype=np.float32)})
    assert live.peak == LivePeak(4000, "CumSum run")
    assert live.weights_bytes == 1000 * 500 * 4 + 8 + 8
    assert live.nodes == 4


def make_scan(path, rounds):
    """Sum of squares of rows (rounds, 1000): within a round the square of a row lives, 4000 bytes, beside its sum and the state."""
    body = helper.make_graph(
        [
            helper.make_node("CumSum", ["row", "first"], ["run"], name="run"),
            helper.make_node("MatMul", ["run", "ones"], ["part"], name="part"),
            helper.make_node("Add", ["state", "part"], ["next"], name="add"),
        ],
        "body",
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("row", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("next", TensorProto.FLOAT, [1])],
        [onnx.numpy_helper.from_array(np.ones((1000, 1), dtype=np.float32), "ones")],
    )
    graph = helper.make_graph(
        [helper.make_node("Scan", ["start", "rows"], ["total"], name="rounds", num_scan_inputs=1, body=body)],
        "scan",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [rounds, 1000])],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, [1])],
        [
            onnx.numpy_helper.from_array(np.zeros(1, dtype=np.float32), "start"),
            onnx.numpy_helper.from_array(np.array(0, dtype=np.int64), "first"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.mark.parametrize("rounds", [2, 7])
def test_one_round_of_a_scan_counts_whatever_their_number(rounds, tmp_path):
    make_scan(tmp_path / "m.onnx", rounds)
    live = measure_live_tensors(tmp_path / "m.onnx", {"rows": np.ones((rounds, 1000), dtype=np.float32)})
    assert live.peak == LivePeak(4 + 4000 + 4, "Scan rounds")  # the answer; the running sum and its product with ones
    assert live.nodes >= 1 + 3  # onnxruntime may add some
    assert 4 + 8 + 4000 <= live.weights_bytes < 4100


def test_what_onnxruntime_refuses_is_told(tmp_path):
    (tmp_path / "m.onnx").write_text("no graph")
    with pytest.raises(DataError, match="cannot run the model"):
        measure_live_tensors(tmp_path / "m.onnx", {})
