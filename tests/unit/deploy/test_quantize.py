import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.quantize import choose_method, convert_to_half, quantize_dynamically, quantize_statically


def make_model(nodes, weights):
    values = [
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["clips", "samples"]),
        helper.make_tensor_value_info("length", TensorProto.INT64, ["clips"]),
    ]
    graph = helper.make_graph(
        nodes, "g", values, [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )  # fmt: skip
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9))


RANDOM = np.random.default_rng(0)
CHANNELS = 24
FRONTEND = [
    helper.make_node("Unsqueeze", ["waveform", "axis"], ["one"], name="one"),
    helper.make_node("Conv", ["one", "kernels"], ["features"], name="frontend", strides=[8]),  # a front-end's own convolution
]
WEIGHTS = {
    "axis": np.array([1], dtype=np.int64),
    "kernels": RANDOM.standard_normal((CHANNELS, 1, 64)).astype(np.float32),
    "weights": RANDOM.standard_normal((CHANNELS, CHANNELS, 3)).astype(np.float32),
}
RESIDUAL = [
    *FRONTEND,
    helper.make_node("Conv", ["features", "weights"], ["gate"], name="gate", pads=[1, 1]),
    helper.make_node("Add", ["features", "gate"], ["answer"], name="sum"),
]


def clip(seed=0, samples=800):
    return {
        "waveform": np.random.default_rng(seed).standard_normal((1, samples)).astype(np.float32),
        "length": np.array([samples], dtype=np.int64),
    }


def run(proto, feeds):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["answer"], {name: feeds[name] for name in [given.name for given in session.get_inputs()]})[0]


def constants(proto):
    return {initializer.name: numpy_helper.to_array(initializer).dtype for initializer in proto.graph.initializer}


def test_what_goes_past_a_quantised_layer_is_not_rounded():
    """With weights of zero the sum is the features themselves, to the last bit."""
    proto = make_model(RESIDUAL, WEIGHTS | {"weights": np.zeros_like(WEIGHTS["weights"])})
    quantized = quantize_statically(proto, [clip(seed) for seed in range(3)])
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph.node)
    assert np.array_equal(run(quantized, clip(9)), run(proto, clip(9)))


def test_static_quantisation_is_close_and_leaves_the_front_end():
    proto = make_model(RESIDUAL, WEIGHTS)
    before = proto.SerializeToString()
    quantized = quantize_statically(proto, [clip(seed) for seed in range(5)])
    assert proto.SerializeToString() == before
    exact, rounded = run(proto, clip(9)), run(quantized, clip(9))
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    kinds = constants(quantized)
    assert kinds["kernels"] == np.float32
    assert kinds["weights_quantized"] == np.int8


def test_dynamic_quantisation_takes_products_and_leaves_convolutions():
    nodes = [
        *FRONTEND,
        helper.make_node("Transpose", ["features"], ["turned"], name="turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "wide"], ["answer"], name="product"),
    ]
    proto = make_model(
        nodes, {"axis": WEIGHTS["axis"], "kernels": WEIGHTS["kernels"], "wide": RANDOM.standard_normal((CHANNELS, 64)).astype("f")}
    )
    quantized = quantize_dynamically(proto)
    exact, rounded = run(proto, clip(1)), run(quantized, clip(1))
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    assert constants(quantized)["kernels"] == np.float32
    assert constants(quantized)["wide_quantized"] == np.int8


def test_the_method_follows_where_the_weights_lie():
    assert choose_method(make_model(RESIDUAL, WEIGHTS)) == "static"
    product = [*FRONTEND, helper.make_node("MatMul", ["features", "wide"], ["answer"], name="product")]
    assert choose_method(make_model(product, {**{k: WEIGHTS[k] for k in ("axis", "kernels")}, "wide": np.ones((93, 50), "f")})) == "dynamic"


def test_a_convolutional_network_with_a_wide_pooling_is_no_transformer():
    weights = WEIGHTS | {"wide": np.ones((100, 50), "f")}
    pooled = [*RESIDUAL[:-1], helper.make_node("MatMul", ["gate", "wide"], ["token"], name="product")]
    summed = helper.make_node("ReduceSum", ["token"], ["answer"], name="sum")
    assert choose_method(make_model([*pooled, summed], weights)) == "static"
    attended = [
        helper.make_node("Transpose", ["token"], ["key"], name="turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["token", "key"], ["answer"], name="attention"),
    ]
    assert choose_method(make_model([*pooled, *attended], weights)) == "dynamic"


def test_nothing_to_quantise_is_told():
    nodes = [*FRONTEND, helper.make_node("Relu", ["features"], ["answer"], name="relu")]
    proto = make_model(nodes, {name: WEIGHTS[name] for name in ("axis", "kernels")})
    for quantize in (lambda: quantize_statically(proto, [clip()]), lambda: quantize_dynamically(proto)):
        with pytest.raises(ConfigError, match="no layer to quantise"):
            quantize()


def test_static_quantisation_needs_clips():
    with pytest.raises(ConfigError, match="calibration clips"):
        quantize_statically(make_model(RESIDUAL, WEIGHTS), [])


def test_a_graph_without_named_features_is_told():
    proto = make_model(RESIDUAL, WEIGHTS)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = "maps" if name == "features" else name
    with pytest.raises(DataError, match="front-end and network apart"):
        choose_method(proto)


def test_half_precision_stays_behind_the_front_end():
    proto = make_model(RESIDUAL, WEIGHTS)
    half = convert_to_half(proto)
    kinds = constants(half)
    assert kinds["kernels"] == np.float32
    assert kinds["network.weights"] == np.float16
    assert "weights" not in kinds
    exact, rounded = run(proto, clip(2)), run(half, clip(2))
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.01 * np.abs(exact).max()
    # the waveform itself is never rounded
    first = next(node for node in half.graph.node if "waveform" in node.input)
    assert first.op_type == "Unsqueeze"
