"""Masks of a quantised graph, so that maps stay in int8 from one convolution to the next."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ser_kd.deploy.graph_parts import list_reads

_CAST = "Cast"
_TRUTHS = frozenset({"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Not", "And", "Or"})
"""Operators that answer true or false."""

_SHAPED = frozenset({"Unsqueeze", "Squeeze", "Reshape", "Expand", "Slice", "Transpose", "Gather", "Identity"})
"""Operators that give values other places and leave them as they are."""

_FULL = "ser_kd.full"


def round_before_masking(proto: onnx.ModelProto) -> int:
    """Turn each product of a rounded map and a mask into a minimum of its uint8 values, in place.

    A quantised graph rounds what a layer answers and reads it back as floats; what stands between two layers, such as a mask of zeros and
    ones, then happens in float32 and is rounded once more. With values of zero and above, as behind a ReLU, zero is 0 in uint8 too, and
    min(q, 0 or 255) reads back as exactly the masked map. A maximum over places picks among rounded values and rounds nothing. So the same
    ranges serve on both sides, the second rounding goes, and a runtime joins all into integer operations.

    Args:
        proto: A graph in QDQ form.

    Returns:
        How many masks were turned.
    """
    graph = proto.graph
    constants = {initializer.name: initializer for initializer in graph.initializer}
    turned = 0
    for product in [node for node in graph.node if node.op_type == "Mul"]:
        makers = _list_makers(graph)
        for values, mask in (product.input, reversed(product.input)):
            ranges = _find_ranges(makers, values, constants)
            if ranges is not None and _is_mask(makers, mask):
                _turn(graph, product, values, mask, ranges)
                turned += 1
                break
    _remove_unread(graph)
    return turned


def _list_makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def _find_ranges(makers: dict[str, onnx.NodeProto], name: str, constants: dict[str, onnx.TensorProto]) -> tuple[str, str] | None:
    """Find scale and zero point of rounded values of zero and above, seen through a maximum over places; None for any others."""
    node = makers.get(name)
    if node is not None and node.op_type == "MaxPool":
        node = makers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
        return None
    zero = constants.get(node.input[2])
    if zero is None or zero.data_type != onnx.TensorProto.UINT8 or numpy_helper.to_array(zero).any():
        return None
    return node.input[1], node.input[2]


def _is_mask(makers: dict[str, onnx.NodeProto], name: str) -> bool:
    node = makers.get(name)
    while node is not None and node.op_type in _SHAPED:
        node = makers.get(node.input[0])
    if node is None or node.op_type != _CAST:
        return False
    told = makers.get(node.input[0])
    while told is not None and told.op_type in _SHAPED:
        told = makers.get(told.input[0])
    return told is not None and told.op_type in _TRUTHS


def _turn(graph: onnx.GraphProto, product: onnx.NodeProto, values: str, mask: str, ranges: tuple[str, str]) -> None:
    """Put a minimum in the place of a product."""
    name, answer = product.name or product.output[0], product.output[0]
    cap = _add_cap(graph, mask)
    made = helper.make_node("QuantizeLinear", [values, *ranges], [f"{answer}.open"], name=f"{name}.round")
    capped = helper.make_node("Min", [f"{answer}.open", cap], [f"{answer}.rounded"], name=f"{name}.cap")
    read = helper.make_node("DequantizeLinear", [f"{answer}.rounded", *ranges], [answer], name=f"{name}.read")
    source = _list_makers(graph)[values]
    nodes = [capped, read]
    if source.op_type == "DequantizeLinear":  # rounded already, in these ranges
        capped.input[0] = source.input[0]
    else:
        nodes.insert(0, made)
    _insert(graph, product, nodes)
    graph.node.remove(product)
    _drop_second_rounding(graph, answer)


def _add_cap(graph: onnx.GraphProto, mask: str) -> str:
    """Make 0 or 255 in uint8 of a mask, once."""
    cap = f"{mask}.cap"
    makers = _list_makers(graph)
    if cap not in makers:
        if all(initializer.name != _FULL for initializer in graph.initializer):
            graph.initializer.append(numpy_helper.from_array(np.array(255, dtype=np.float32), _FULL))
        full = helper.make_node("Mul", [mask, _FULL], [f"{cap}.float"], name=f"{cap}.float")
        _insert(graph, makers[mask], [full, helper.make_node(_CAST, [f"{cap}.float"], [cap], name=cap, to=onnx.TensorProto.UINT8)])
    return cap


def _drop_second_rounding(graph: onnx.GraphProto, name: str) -> None:
    """Hand on rounded values as they are where they would be rounded once more at once, in ranges of their own."""
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
        return
    again = readers[0]
    reads = [node for node in graph.node if again.output[0] in node.input]
    if any(node.op_type != "DequantizeLinear" for node in reads):
        return
    for read in reads:
        for node in graph.node:
            for place, heard in enumerate(node.input):
                if heard == read.output[0]:
                    node.input[place] = name
        graph.node.remove(read)
    graph.node.remove(again)


def _remove_unread(graph: onnx.GraphProto) -> None:
    """Remove what nobody reads any more: a runtime would compute it all the same."""
    answers = {output.name for output in graph.output}
    while True:
        read = answers.union(*(list_reads(node) for node in graph.node))
        unread = [node for node in graph.node if not read.intersection(node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    kept = [initializer for initializer in graph.initializer if initializer.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _insert(graph: onnx.GraphProto, behind: onnx.NodeProto, nodes: Iterable[onnx.NodeProto]) -> None:
    place = next(number for number, node in enumerate(graph.node) if node is behind or node.output == behind.output)
    for offset, node in enumerate(nodes, 1):
        graph.node.insert(place + offset, node)
