"""Model files of a few nodes, made as tests need them: what they answer can be said in one line of numpy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ser_kd.deploy.model_metadata import ModelMetadata

RATE = 1000
LABELS = ["loud", "middle", "quiet"]
METADATA = ModelMetadata(
    output="probabilities", labels=LABELS, dimensions=[], sample_rate_hz=RATE, minimum_samples=50, window_samples=400,
    padding="masked", crops=False,
    precision="fp32", calibration_temperature=1.0, experiment="tiny/levels", identity="abc123", fold=0, seed=0, corpus="demo",
    protocol="by_speaker", protocol_fingerprint="0123456789ab",
)  # fmt: skip
DIMENSIONAL = dataclasses.replace(METADATA, output="dimensions", labels=[], dimensions=["valence", "arousal", "dominance"])


def embed(waveform: np.ndarray) -> np.ndarray:
    """What a tiny model answers as the embedding of a clip: its level, and its first and last sample, which tell where it was cut."""
    return np.array([np.abs(waveform).sum() / len(waveform), waveform[0], waveform[-1]], dtype=np.float32)


def classify(waveform: np.ndarray) -> np.ndarray:
    """What it answers as probabilities: the softmax of (20 level, 2, -20 level)."""
    logits = embed(waveform)[0] * np.array([20.0, 0.0, -20.0]) + np.array([0.0, 2.0, 0.0])
    return (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)


def write_tiny_model(path: Path, metadata: ModelMetadata = METADATA, properties: dict[str, str] | None = None, **renamed: str) -> Path:
    """Write one.

    Args:
        path: Where to.
        metadata: What it says about itself; dimensions are its embedding.
        properties: In place of the metadata's.
        renamed: Other names of inputs and outputs, such as ``length="lengths"``.
    """
    names = {name: renamed.get(name, name) for name in ("waveform", "length", metadata.output, "embedding")}
    constants = {
        "slopes": np.array([[20.0, 0.0, -20.0]], dtype=np.float32), "offsets": np.array([[0.0, 2.0, 0.0]], dtype=np.float32),
        "time": np.array([1]), "first": np.array([0]), "last": np.array([-1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Abs", [names["waveform"]], ["size"]),
        helper.make_node("ReduceSum", ["size", "time"], ["sum"], keepdims=1),
        helper.make_node("Cast", [names["length"]], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["count", "time"], ["counts"]),
        helper.make_node("Div", ["sum", "counts"], ["level"]),
        helper.make_node("Gather", [names["waveform"], "first"], ["beginning"], axis=1),
        helper.make_node("Gather", [names["waveform"], "last"], ["end"], axis=1),
        helper.make_node("Concat", ["level", "beginning", "end"], [names["embedding"]], axis=1),
        helper.make_node("MatMul", ["level", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offsets"], ["logits"]),
    ]
    if metadata.output == "probabilities":
        nodes.append(helper.make_node("Softmax", ["logits"], [names["probabilities"]], axis=1))
    else:
        nodes.append(helper.make_node("Identity", [names["embedding"]], [names["dimensions"]]))
    inputs = [("waveform", TensorProto.FLOAT, ["B", "T"]), ("length", TensorProto.INT64, ["B"])]
    outputs = [(metadata.output, TensorProto.FLOAT, ["B", 3]), ("embedding", TensorProto.FLOAT, ["B", 3])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(names[name], kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(names[name], kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata.to_properties() if properties is None else properties)
    onnx.save(model, path)
    return path
