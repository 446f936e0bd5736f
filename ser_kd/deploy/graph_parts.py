"""Which part of an exported graph is front-end, which is network, and where its weights lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from ser_kd.contracts.errors import DataError

BOUNDARY = ("features", "feature_lengths")
"""Names within the graph of what the front-end hands to the network; they are no outputs."""

WEIGHTED = ("Conv", "MatMul", "Gemm")


def list_network_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the nodes that work on features, in the graph's order; all others belong to the front-end.

    Raises:
        DataError: If the graph does not name its features.
    """
    known = {BOUNDARY[0]}
    found = []
    for node in proto.graph.node:
        if known.intersection(node.input):
            known.update(node.output)
            found.append(node)
    if not found:
        raise DataError(
            "The model file does not tell front-end and network apart.",
            expected=f"a value named '{BOUNDARY[0]}' within the graph",
            got="none",
            remedy="export the run again: ser-kd export run=RUN_FOLDER",
        )
    return found


def list_weighted_nodes(proto: onnx.ModelProto, smallest: int, operators: tuple[str, ...] = WEIGHTED) -> list[onnx.NodeProto]:
    """List the network's convolutions and products with constant weights of at least ``smallest`` elements."""
    sizes = weight_sizes(proto)
    return [node for node in list_network_nodes(proto) if node.op_type in operators and sizes.get(node.input[1], 0) >= smallest]


def weight_sizes(proto: onnx.ModelProto) -> dict[str, int]:
    """Give the elements of each constant by its name."""
    return {initializer.name: int(np.prod(initializer.dims, dtype=np.int64)) for initializer in proto.graph.initializer}


def list_bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """List the graphs within a node: what a loop repeats, the branches of a choice."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def list_reads(node: onnx.NodeProto) -> Iterator[str]:
    """List what a node reads, for loops and branches also what their bodies read of the graph around them."""
    yield from filter(None, node.input)
    for body in list_bodies(node):
        own = {name for inner in body.node for name in inner.output} | {value.name for value in (*body.input, *body.initializer)}
        yield from (name for inner in body.node for name in list_reads(inner) if name not in own)
        yield from (output.name for output in body.output if output.name not in own)


def settle_weights(proto: onnx.ModelProto) -> None:
    """Move weights that only one body reads into it, in place: from outside a runtime does not lay them out for its fast kernels."""
    graph = proto.graph
    for node in graph.node:
        for body in list_bodies(node):
            others = {name for other in graph.node if other is not node for name in list_reads(other)}
            others.update(node.input, (output.name for output in graph.output))
            inside = {name for inner in body.node for name in list_reads(inner)} - others
            moved = [initializer for initializer in graph.initializer if initializer.name in inside]
            body.initializer.extend(moved)
            for initializer in moved:
                graph.initializer.remove(initializer)
