"""Which part of an exported graph is front-end, which is network, and where its weights lie."""

from __future__ import annotations

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
