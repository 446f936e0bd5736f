"""Keep constants that are mostly zeros, such as mel filters, small in the file."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

SMALLEST = 4096
"""Elements below which nothing is gained."""

DENSEST = 0.1
"""Share of values other than zero up to which a constant counts as sparse."""


def shrink_sparse_constants(proto: onnx.ModelProto) -> int:
    """Store sparse float constants as their values and places; a runtime puts them together once, when it loads the file.

    The mel filters of 39 MFCC hold 2,000 values among 131,200: 24 KB instead of 525. ONNX's own sparse tensors are read by few runtimes,
    so this is a scatter into zeros.

    Args:
        proto: Changed in place.

    Returns:
        Bytes saved.
    """
    saved = 0
    nodes: list[onnx.NodeProto] = []
    for initializer in list(proto.graph.initializer):
        if initializer.data_type != onnx.TensorProto.FLOAT or np.prod(initializer.dims, dtype=np.int64) < SMALLEST:
            continue
        values = numpy_helper.to_array(initializer)
        (places,) = np.nonzero(values.ravel())
        if len(places) > DENSEST * values.size:
            continue
        nodes += _scatter(proto.graph, initializer.name, values, places)
        proto.graph.initializer.remove(initializer)
        saved += values.nbytes - 12 * len(places)
    for node in reversed(nodes):
        proto.graph.node.insert(0, node)
    return saved


def _scatter(graph: onnx.GraphProto, name: str, values: np.ndarray, places: np.ndarray) -> list[onnx.NodeProto]:
    parts = {
        "size": np.array([values.size], dtype=np.int64),
        "places": places.astype(np.int64),
        "values": values.ravel()[places],
        "shape": np.array(values.shape, dtype=np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(array, f"{name}.{part}") for part, array in parts.items())
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.float32))
    return [
        helper.make_node("ConstantOfShape", [f"{name}.size"], [f"{name}.zeros"], name=f"{name}.zeros", value=zero),
        helper.make_node(
            "ScatterElements", [f"{name}.zeros", f"{name}.places", f"{name}.values"], [f"{name}.flat"], name=f"{name}.scatter", axis=0
        ),
        helper.make_node("Reshape", [f"{name}.flat", f"{name}.shape"], [name], name=f"{name}.reshape"),
    ]
