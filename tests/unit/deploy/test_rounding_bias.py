import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ser_kd.deploy.measured_sessions import open_session, session_options
from ser_kd.deploy.rounding_bias import correct_bias

WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def make_graph(offset, copied=False, headless=False):
    """waveform (B, 4) -> embedding (B, 3), off by an offset -> answer: twice that."""
    last = "inner" if copied else "embedding"
    nodes = [
        helper.make_node("MatMul", ["waveform", "weight"], ["product"], name="product"),
        helper.make_node("Add", ["product", "offset"], [last], name="offset"),
        *([helper.make_node("Identity", ["inner"], ["embedding"], name="copy")] if copied else []),
        helper.make_node("Mul", ["waveform" if headless else last, "two"], ["answer"], name="head"),
    ]
    constants = {"weight": WEIGHT, "offset": np.array(offset, dtype=np.float32), "two": np.array(2, dtype=np.float32)}
    inputs = [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["B", 4])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 4 if headless and name == "answer" else 3])
        for name in ("embedding", "answer")
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def clips(count, seed=0):
    return [{"waveform": clip[None]} for clip in np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)]


def run(proto, clip):
    onnx.checker.check_model(proto)
    return open_session(proto.SerializeToString(), session_options(1)).run(["embedding", "answer"], clip)


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_shifted_is_put_back_for_embedding_and_answer(copied):
    exact, rounded = make_graph([0.0, 0.0, 0.0], copied), make_graph([0.5, -0.25, 0.0], copied)
    shift = correct_bias(rounded, exact, clips(5))
    np.testing.assert_allclose(shift, [-0.5, 0.25, 0.0], atol=1e-6)
    (other,) = clips(1, seed=9)
    for found, expected in zip(run(rounded, other), run(exact, other), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_embedding_that_nothing_is_made_of_stays():
    exact, rounded = make_graph([0.0, 0.0, 0.0], headless=True), make_graph([0.5, 0.0, 0.0], headless=True)
    before = rounded.SerializeToString()
    assert correct_bias(rounded, exact, clips(2)) is None
    assert rounded.SerializeToString() == before
