import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ser_kd.deploy.sparse_constants import shrink_sparse_constants


def make_product(weights):
    node = helper.make_node("MatMul", ["x", "weights"], ["y"], name="product")
    shapes = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights.shape[0]])]
    answer = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights.shape[1]])]
    graph = helper.make_graph([node], "g", shapes, answer, [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(proto, x):
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_a_sparse_matrix_is_put_together_again():
    random = np.random.default_rng(0)
    weights = np.where(random.random((100, 80)) < 0.03, random.standard_normal((100, 80)), 0.0).astype(np.float32)
    x = random.standard_normal((5, 100)).astype(np.float32)
    proto = make_product(weights)
    before, size = run(proto, x), proto.ByteSize()
    saved = shrink_sparse_constants(proto)
    assert np.array_equal(run(proto, x), before)
    assert saved > 0.8 * weights.nbytes
    assert proto.ByteSize() < size / 4


def test_dense_and_small_constants_stay():
    for weights in (np.ones((100, 80), np.float32), np.eye(10, dtype=np.float32)):
        proto = make_product(weights)
        assert shrink_sparse_constants(proto) == 0
        assert [node.op_type for node in proto.graph.node] == ["MatMul"]


def test_a_matrix_of_zeros_alone():
    proto = make_product(np.zeros((100, 80), np.float32))
    shrink_sparse_constants(proto)
    assert not run(proto, np.ones((2, 100), np.float32)).any()
