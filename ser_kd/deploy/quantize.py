"""Smaller and faster forms of an exported graph: int8 and fp16, with the front-end left in float32."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import helper

from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.graph_parts import list_network_nodes, list_weighted_nodes, weight_sizes

Method = Literal["static", "dynamic"]

SMALLEST_WEIGHT = 1024
"""Elements below which a layer stays float32: it would save nothing and lose something."""


def choose_method(proto: onnx.ModelProto) -> Method:
    """Choose static quantisation where convolutions hold most of the network's weights, else dynamic, as transformers want it."""
    sizes = weight_sizes(proto)
    elements: Counter[str] = Counter()
    for node in list_weighted_nodes(proto, smallest=1):
        elements[node.op_type] += sizes[node.input[1]]
    return "static" if 2 * elements["Conv"] >= sum(elements.values()) else "dynamic"


def quantize_statically(proto: onnx.ModelProto, clips: Iterable[Mapping[str, np.ndarray]]) -> onnx.ModelProto:
    """Quantise weights by channel and activations by ranges found on calibration clips (QDQ, extreme values).

    Only what the layers hear and answer is quantised: a map that also goes past a layer, to a gate or a sum, stays float32 there.
    Otherwise each of TIM-Net's blocks rounds the map it hands on, and 16 % of its decisions change instead of 2 %.

    Args:
        proto: Exported graph, float32; it is not changed.
        clips: Inputs of calibration clips by name, from training speakers.

    Raises:
        ConfigError: If there is nothing to quantise, or no clip.
    """
    from onnxruntime import quantization  # late: it takes most of a second

    isolated = _isolate_inputs(proto)
    named = [node.name for node in list_weighted_nodes(isolated, SMALLEST_WEIGHT)]
    _check_anything(named)
    fed = list(clips)
    if not fed:
        raise ConfigError(
            "Static quantisation needs calibration clips.", expected="one clip or more", got="none", remedy="set calibration_clips"
        )

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[Mapping[str, np.ndarray]] = iter(fed)

        def get_next(self) -> dict[str, np.ndarray] | None:
            clip = next(self.rest, None)
            return None if clip is None else dict(clip)

    with _quiet(), _files(isolated) as (given, made):
        quantization.quantize_static(
            given, made, Reader(), quant_format=quantization.QuantFormat.QDQ, nodes_to_quantize=named, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )  # fmt: skip
        return onnx.load(made)


def quantize_dynamically(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise the weights of matrix products by channel; activations get their ranges clip by clip, while the model runs.

    Args:
        proto: Exported graph, float32; it is not changed.

    Raises:
        ConfigError: If there is nothing to quantise.
    """
    from onnxruntime import quantization  # late: it takes most of a second

    named = [node.name for node in list_weighted_nodes(proto, SMALLEST_WEIGHT, ("MatMul", "Gemm"))]
    _check_anything(named)
    with _quiet(), _files(proto) as (given, made):
        quantization.quantize_dynamic(
            given, made, op_types_to_quantize=["MatMul", "Gemm"], nodes_to_quantize=named, per_channel=True, reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(made)


def convert_to_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the network into float16; front-end, softmax, inputs and outputs stay float32. For the CUDA provider.

    Args:
        proto: Exported graph, float32; it is not changed.
    """
    from onnxruntime.transformers import float16  # late: it takes most of a second

    network = {node.name for node in list_network_nodes(proto)}
    kept = [node.name for node in proto.graph.node if node.name not in network or node.op_type == "Softmax"]
    copied = onnx.ModelProto.FromString(proto.SerializeToString())
    with _quiet():
        return float16.convert_float_to_float16(copied, keep_io_types=True, node_block_list=kept)


def _isolate_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give each layer that is to be quantised a name of its own for what it hears."""
    copied = onnx.ModelProto.FromString(proto.SerializeToString())
    chosen = {node.name for node in list_weighted_nodes(copied, SMALLEST_WEIGHT)}
    consumers = Counter(name for node in copied.graph.node for name in node.input)
    nodes = []
    for node in copied.graph.node:
        if node.name in chosen and consumers[node.input[0]] > 1:
            heard = f"{node.name}.heard"
            nodes.append(helper.make_node("Identity", [node.input[0]], [heard], name=heard))
            node.input[0] = heard
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return copied


def _check_anything(nodes: list[str]) -> None:
    if not nodes:
        raise ConfigError(
            "There is no layer to quantise.",
            expected=f"a convolution or matrix product of {SMALLEST_WEIGHT:,} weights or more behind the front-end",
            got="none",
            remedy="leave int8 out of precision",
        )


@contextmanager
def _files(proto: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        onnx.save(proto, str(given))
        yield str(given), str(made)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep out the library's advice to preprocess: that would write large constants back into the file."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
