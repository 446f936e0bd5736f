"""The least a model file can be, to tell a model's memory from that of the runtime."""

from __future__ import annotations

from pathlib import Path

import onnx


def write_identity(path: Path) -> Path:
    """Write a model file that hands its inputs on: what a process needs that runs onnxruntime at all."""
    inputs = [("waveform", onnx.TensorProto.FLOAT, ["B", "T"]), ("length", onnx.TensorProto.INT64, ["B"])]
    nodes = [onnx.helper.make_node("Identity", [name], [f"same_{name}"]) for name, _, _ in inputs]
    graph = onnx.helper.make_graph(
        nodes,
        "identity",
        [onnx.helper.make_tensor_value_info(*value) for value in inputs],
        [onnx.helper.make_tensor_value_info(f"same_{name}", kind, shape) for name, kind, shape in inputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
