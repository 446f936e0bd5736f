"""Take out of a quantised graph what rounding shifts on average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ser_kd.deploy.graph_parts import list_reads
from ser_kd.deploy.measured_sessions import open_session, session_options

EMBEDDING = "embedding"


def correct_bias(rounded: onnx.ModelProto, exact: onnx.ModelProto, clips: Iterable[Mapping[str, NDArray]]) -> NDArray | None:
    """Add to the embedding the mean difference that rounding makes on calibration clips, in place.

    Roundings of many layers do not cancel out: each value of the embedding moves by an amount that is much the same for all clips, and
    what is made of it with it. The head reads the corrected embedding.

    Args:
        rounded: The quantised graph.
        exact: The same in float32.
        clips: Calibration clips.

    Returns:
        What is added, (D,) float32; None where the graph has no embedding that something is made of, and nothing is changed.
    """
    graph = rounded.graph
    makers = {name: node for node in graph.node for name in node.output}
    name = EMBEDDING
    while name in makers and not any(name in list_reads(node) for node in graph.node) and makers[name].op_type == "Identity":
        name = makers[name].input[0]  # the head reads what the output is a copy of
    if name not in makers or not any(name in list_reads(node) for node in graph.node):
        return None
    fed = list(clips)
    shift = np.mean(_embed(exact, fed) - _embed(rounded, fed), axis=0).astype(np.float32)
    maker = makers[name]
    uncorrected, added = f"{name}.uncorrected", f"{name}.shift"
    maker.output[list(maker.output).index(name)] = uncorrected
    graph.initializer.append(numpy_helper.from_array(shift, added))
    place = list(graph.node).index(maker)
    graph.node.insert(place + 1, helper.make_node("Add", [uncorrected, added], [name], name=f"{name}.correct"))
    return shift


def _embed(proto: onnx.ModelProto, clips: Iterable[Mapping[str, NDArray]]) -> NDArray:
    session = open_session(proto.SerializeToString(), session_options(threads=0))
    return np.concatenate([session.run([EMBEDDING], dict(clip))[0] for clip in clips])
