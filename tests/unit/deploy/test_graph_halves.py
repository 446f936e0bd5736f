from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from ser_kd.deploy.graph_halves import cut_at_features
from ser_kd.deploy.measured_sessions import make_waveform
from ser_kd.deploy.onnx_calls import OnnxFile


def write_model(path, features="features"):
    """|waveform| as (B, T, 1) features, their mean over valid samples, two classes; the mask is the front-end's and the network's."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value=onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "one")),
        helper.make_node("Constant", [], ["last"], value=onnx.numpy_helper.from_array(np.array([-1], dtype=np.int64), "last")),
        helper.make_node("Shape", ["waveform"], ["samples"], start=1),
        helper.make_node("Squeeze", ["samples"], ["count"]),
        helper.make_node("Range", ["zero", "count", "step"], ["places"]),
        helper.make_node("Unsqueeze", ["length", "one"], ["ends"]),
        helper.make_node("Less", ["places", "ends"], ["valid"]),
        helper.make_node("Cast", ["valid"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["waveform"], ["loud"]),
        helper.make_node("Mul", ["loud", "mask"], ["heard"]),
        helper.make_node("Unsqueeze", ["heard", "last"], [features]),
        helper.make_node("ReduceSum", [features, "one"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["clips"], keepdims=1),
        helper.make_node("Div", ["total", "clips"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = {
        "zero": np.array(0, dtype=np.int64), "step": np.array(1, dtype=np.int64),
        "weight": np.array([[2.0, -3.0]], dtype=np.float32), "bias": np.array([0.1, 0.2], dtype=np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["B", "T"]),
            helper.make_tensor_value_info("length", TensorProto.INT64, ["B"]),
        ],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", 1]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_both_halves_together_answer_as_the_whole(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    parts = cut_at_features(path, tmp_path / "parts")
    onnx.checker.check_model(str(parts.frontend))
    onnx.checker.check_model(str(parts.network))
    calls = OnnxFile(path, parts, threads=1).make_calls(800)
    assert set(calls) == {"whole", "frontend", "network"}
    for whole, network in zip(calls["whole"](), calls["network"](), strict=True):
        np.testing.assert_array_equal(whole, network)
    waveform = make_waveform(800)["waveform"]
    np.testing.assert_allclose(calls["frontend"]()[0], np.abs(waveform)[..., None])


def test_each_node_stands_in_exactly_one_half_and_constants_where_they_are_read(tmp_path):
    path = write_model(tmp_path / "m.onnx")
    parts = cut_at_features(path, tmp_path / "parts")
    whole, front, network = (onnx.load(str(file)).graph for file in (path, parts.frontend, parts.network))
    kinds = [[node.op_type for node in graph.node if node.op_type != "Constant"] for graph in (whole, front, network)]
    assert sorted(kinds[0]) == sorted(kinds[1] + kinds[2])
    assert kinds[2] == ["ReduceSum", "ReduceSum", "Div", "Gemm", "Softmax"]
    assert [value.name for value in network.input] == ["features", "mask"]
    assert {tensor.name for tensor in network.initializer} == {"weight", "bias"}
    assert sum(node.op_type == "Constant" for node in network.node) == 1


def test_a_graph_without_named_features_is_not_cut(tmp_path):
    path = write_model(tmp_path / "m.onnx", features="frames")
    assert cut_at_features(path, tmp_path / "parts") is None
    assert set(OnnxFile(path, None, threads=1).make_calls(400)) == {"whole"}
