"""Smaller and faster forms of an exported graph: int8 and fp16, with the front-end left in float32."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import helper

from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.graph_parts import BOUNDARY, list_network_nodes, list_weighted_nodes, weight_sizes
from ser_kd.deploy.rounded_masks import round_before_masking
from ser_kd.deploy.rounding_bias import correct_bias

Method = Literal["static", "dynamic"]

PRODUCTS = ("MatMul", "Gemm")

SMALLEST_CONVOLUTION, SMALLEST_PRODUCT = 256, 1024
"""Weights below which a layer stays float32: a head of a few classes would save nothing and lose answers."""


@dataclass(frozen=True)
class ConvertedGraph:
    """A graph in another precision.

    Args:
        proto: The graph.
        method: How it was made, in words; empty for fp32.
    """

    proto: onnx.ModelProto
    method: str = ""


def convert_graph(
    proto: onnx.ModelProto, precision: str, method: Method | Literal["auto"], read_clips: Callable[[], Sequence[Mapping[str, np.ndarray]]]
) -> ConvertedGraph:
    """Give an exported graph in the wanted precision.

    Args:
        proto: Exported graph, float32; it is not changed.
        precision: ``fp32``, ``int8`` or ``fp16``.
        method: How int8 is made; "auto" is ``choose_method``.
        read_clips: Gives calibration clips, from training speakers; only static quantisation asks.

    Raises:
        ConfigError: If there is nothing to quantise, or no clip.
    """
    if precision == "fp32":
        return ConvertedGraph(proto)
    if precision == "fp16":
        return ConvertedGraph(convert_to_half(proto), "float16 behind the front-end")
    if (choose_method(proto) if method == "auto" else method) == "dynamic":
        return ConvertedGraph(quantize_dynamically(proto), "dynamic int8 of matrix products")
    clips = read_clips()
    told = f"static int8 (QDQ) of convolutions and matrix products behind the front-end, ranges of {len(clips)} clips"
    return ConvertedGraph(quantize_statically(proto, clips), told)


def choose_method(proto: onnx.ModelProto) -> Method:
    """Choose static quantisation where convolutions hold most of the network's weights, or some and nothing attends; else dynamic.

    Transformers want it dynamic; by them, not by linear layers, Wav2Small's pooling (85 % of its weights) is told apart.
    """
    sizes = weight_sizes(proto)
    elements: Counter[str] = Counter()
    for node in list_weighted_nodes(proto, smallest=1):
        elements[node.op_type] += sizes[node.input[1]]
    if 2 * elements["Conv"] >= sum(elements.values()):
        return "static"
    given = {name for node in proto.graph.node for name in node.output if node.op_type != "Constant"}
    attends = any(node.op_type == "MatMul" and given.issuperset(node.input[:2]) for node in list_network_nodes(proto))
    return "static" if elements["Conv"] and not attends else "dynamic"


def quantize_statically(proto: onnx.ModelProto, clips: Iterable[Mapping[str, np.ndarray]]) -> onnx.ModelProto:
    """Quantise weights by channel and activations by ranges found on calibration clips (QDQ, extreme values).

    What rounding shifts on average on the calibration clips is taken out again (see ``correct_bias``).
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
    named = [node.name for node in [*_list_layers(isolated), *_list_rectifiers(isolated)]]
    _check_anything(named, f"behind the front-end a convolution of {SMALLEST_CONVOLUTION} weights or a product of {SMALLEST_PRODUCT:,}")
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
        rounded = onnx.load(made)
    round_before_masking(rounded)
    correct_bias(rounded, proto, fed)
    return rounded


def quantize_dynamically(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise the weights of matrix products by channel; activations get their ranges clip by clip, while the model runs.

    Args:
        proto: Exported graph, float32; it is not changed.

    Raises:
        ConfigError: If there is nothing to quantise.
    """
    from onnxruntime import quantization  # late: it takes most of a second

    named = [node.name for node in list_weighted_nodes(proto, SMALLEST_PRODUCT, PRODUCTS)]
    _check_anything(named, f"behind the front-end a product of {SMALLEST_PRODUCT:,} weights (method=static takes convolutions, too)")
    bare = onnx.ModelProto.FromString(proto.SerializeToString())
    boundary = [value for value in bare.graph.value_info if value.name in BOUNDARY]
    del bare.graph.value_info[:]  # the library turns products around and trips over shapes that were noted before
    with _quiet(), _files(bare) as (given, made):
        quantization.quantize_dynamic(
            given, made, op_types_to_quantize=list(PRODUCTS), nodes_to_quantize=named, per_channel=True, reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        quantized = onnx.load(made)
    quantized.graph.value_info.extend(boundary)
    return quantized


def convert_to_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the network into float16; front-end, softmax, inputs and outputs stay float32. For the CUDA provider.

    Args:
        proto: Exported graph, float32; it is not changed.
    """
    from onnxruntime.transformers import float16  # late: it takes most of a second
    from onnxruntime.transformers.onnx_model import OnnxModel

    copied = onnx.ModelProto.FromString(proto.SerializeToString())
    network = list_network_nodes(copied)
    part = _cut_network(copied, network)
    with _quiet():
        half = float16.convert_float_to_float16(part, keep_io_types=True, op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, "Softmax"])
    names = {node.name for node in network}
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in copied.graph.node if node.name not in names]
    del copied.graph.node[:]
    copied.graph.node.extend([*kept, *half.graph.node])
    heard = {name for node in kept for name in node.input}
    initializers = [initializer for initializer in copied.graph.initializer if initializer.name in heard]
    del copied.graph.initializer[:]
    copied.graph.initializer.extend([*initializers, *half.graph.initializer])
    boundary = [value for value in copied.graph.value_info if value.name in BOUNDARY]
    del copied.graph.value_info[:]
    copied.graph.value_info.extend(boundary)
    OnnxModel(copied).topological_sort()
    return copied


def _cut_network(proto: onnx.ModelProto, network: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Give the network as a model of its own, whose constants bear other names than the front-end's."""
    inferred = onnx.shape_inference.infer_shapes(proto)
    types = {value.name: value for value in [*inferred.graph.value_info, *inferred.graph.input, *proto.graph.value_info]}
    made = {name for node in network for name in node.output}
    constants = {initializer.name: initializer for initializer in proto.graph.initializer}
    entering = dict.fromkeys(name for node in network for name in node.input if name and name not in made and name not in constants)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in network]
    used: dict[str, onnx.TensorProto] = {}
    for node in nodes:
        for place, name in enumerate(node.input):
            if name in constants:
                node.input[place] = f"network.{name}"
                used[name] = constants[name]
    initializers = []
    for name, constant in used.items():
        renamed = onnx.TensorProto.FromString(constant.SerializeToString())
        renamed.name = f"network.{name}"
        initializers.append(renamed)
    graph = helper.make_graph(nodes, "network", [types[name] for name in entering], list(proto.graph.output), initializers)
    return helper.make_model(graph, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)


def _list_layers(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the layers that static quantisation takes."""
    return [*_list_convolutions(proto), *list_weighted_nodes(proto, SMALLEST_PRODUCT, PRODUCTS)]


def _list_convolutions(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return list_weighted_nodes(proto, SMALLEST_CONVOLUTION, ("Conv",))


def _list_rectifiers(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List each ReLU that alone hears a quantised convolution: it is rounded as one with it, and nothing below zero takes up its range."""
    answers = {node.output[0] for node in _list_convolutions(proto)}
    readers = Counter(name for node in proto.graph.node for name in node.input)
    return [node for node in proto.graph.node if node.op_type == "Relu" and node.input[0] in answers and readers[node.input[0]] == 1]


def _isolate_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give each layer that is to be quantised a name of its own for what it hears."""
    copied = onnx.ModelProto.FromString(proto.SerializeToString())
    chosen = {node.name for node in _list_layers(copied)}
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


def _check_anything(nodes: list[str], wanted: str) -> None:
    if not nodes:
        raise ConfigError(
            "There is no layer to quantise.",
            expected=wanted,
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
