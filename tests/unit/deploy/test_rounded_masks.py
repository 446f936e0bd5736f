import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ser_kd.deploy.rounded_masks import round_before_masking

SCALE = np.array(0.013, dtype=np.float32)
CHANNELS, SIZE = 6, 12


def make_graph(zero=0, pool=False, mask="truth", again=True):
    """A map that is rounded, read back, multiplied by a mask, perhaps after a maximum, and rounded once more."""
    nodes = [
        helper.make_node("QuantizeLinear", ["map", "scale", "zero"], ["rounded"], name="round"),
        helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["read"], name="read"),
    ]
    values = "read"
    if pool:
        nodes.append(helper.make_node("MaxPool", ["read"], ["pooled"], name="pool", kernel_shape=[3], pads=[1, 1]))
        values = "pooled"
    made = {
        "truth": [helper.make_node("Less", ["place", "end"], ["inside"]), helper.make_node("Cast", ["inside"], ["m"], to=1)],
        "gate": [helper.make_node("Cast", ["place"], ["float"], to=1), helper.make_node("Sigmoid", ["float"], ["m"])],
        "number": [helper.make_node("Cast", ["place"], ["m"], to=1)],
    }[mask]
    nodes += [*made, helper.make_node("Unsqueeze", ["m", "axes"], ["mask"], name="mask")]
    nodes.append(helper.make_node("Mul", [values, "mask"], ["masked"], name="product"))
    last = "masked"
    if again:
        nodes.append(helper.make_node("QuantizeLinear", ["masked", "other_scale", "zero"], ["once_more"], name="again"))
        nodes.append(helper.make_node("DequantizeLinear", ["once_more", "other_scale", "zero"], ["reread"], name="reread"))
        last = "reread"
    nodes.append(helper.make_node("Identity", [last], ["answer"], name="end"))
    constants = {
        "scale": SCALE,
        "other_scale": np.array(0.0131, dtype=np.float32),
        "zero": np.array(zero, dtype=np.uint8),
        "place": np.arange(SIZE, dtype=np.int64),
        "axes": np.array([0, 1], dtype=np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, CHANNELS, SIZE]),
        helper.make_tensor_value_info("end", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, CHANNELS, SIZE])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(proto):
    onnx.checker.check_model(proto)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    heard = np.abs(np.random.default_rng(0).standard_normal((1, CHANNELS, SIZE))).astype(np.float32)
    return session.run(None, {"map": heard, "end": np.array([7])})[0]


@pytest.mark.parametrize("pool", [False, True])
def test_a_minimum_of_rounded_values_is_the_masked_map_bit_for_bit(pool):
    exact = run(make_graph(pool=pool, again=False))
    proto = make_graph(pool=pool, again=False)
    assert round_before_masking(proto) == 1
    assert "product" not in [node.name for node in proto.graph.node]
    assert "Min" in [node.op_type for node in proto.graph.node]
    assert exact[:, :, :7].any()
    assert not exact[:, :, 8:].any()
    assert np.array_equal(run(proto), exact)


def test_what_is_rounded_twice_is_rounded_once():
    proto = make_graph()
    assert round_before_masking(proto) == 1
    assert [node.op_type for node in proto.graph.node].count("QuantizeLinear") == 1
    assert "other_scale" not in [initializer.name for initializer in proto.graph.initializer]
    assert np.array_equal(run(proto), run(make_graph(again=False)))


@pytest.mark.parametrize("case", [{"zero": 3}, {"mask": "gate"}, {"mask": "number"}], ids=str)
def test_other_products_stay(case):
    """Values below zero, a gate of the network, and numbers that are no truths."""
    proto = make_graph(**case)
    before = proto.SerializeToString()
    assert round_before_masking(proto) == 0
    assert proto.SerializeToString() == before
