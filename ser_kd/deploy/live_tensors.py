"""How much memory the intermediate tensors of a graph need at its peak."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ser_kd.deploy.graph_parts import list_bodies, list_reads
from ser_kd.deploy.measured_sessions import open_session, session_options

VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Operators whose output is their first input under another shape, without memory of its own."""


@dataclass(frozen=True)
class Step:
    """One node of a graph.

    Args:
        name: Its operator and name.
        reads: Tensors it reads.
        makes: Tensors it makes.
        is_view: Whether what it makes is what it reads first, under another shape.
        inner_bytes: What a loop needs at the peak of one round, beside what it reads and makes.
    """

    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    is_view: bool = False
    inner_bytes: int = 0


@dataclass(frozen=True)
class LivePeak:
    """Where a graph needs most.

    Args:
        size_bytes: Sum of all tensors alive there.
        at: The node.
    """

    size_bytes: int
    at: str


@dataclass(frozen=True)
class LiveTensors:
    """What a graph keeps in memory, as onnxruntime optimises it.

    Args:
        peak: Where most intermediate tensors are alive.
        weights_bytes: Its weights, constants included.
        nodes: How many nodes it has.
    """

    peak: LivePeak
    weights_bytes: int
    nodes: int


def find_live_peak(steps: Sequence[Step], sizes: Mapping[str, int], answers: Collection[str]) -> LivePeak:
    """Find the largest sum of tensors that are alive at once.

    A tensor lives from the step that makes it to the last one that reads it, answers to the end; at a step both what it reads and what it
    makes are there. A view lives in the memory of what it is a view of. No operator is taken to write over its input, as a runtime may do.

    Args:
        steps: Nodes in the order in which they run.
        sizes: Bytes of each tensor that counts; others (weights, the graph's inputs) take nothing.
        answers: Outputs of the graph.
    """
    owner: dict[str, str] = {}
    last_use: dict[str, int] = {}
    for number, step in enumerate(steps):
        for name in step.makes:
            owner[name] = owner.get(step.reads[0], step.reads[0]) if step.is_view else name
        for name in (*step.reads, *step.makes):
            last_use[owner.get(name, name)] = number
    for name in answers:
        last_use[owner.get(name, name)] = len(steps)
    ends: dict[int, list[str]] = {}
    for name, number in last_use.items():
        ends.setdefault(number, []).append(name)
    alive: set[str] = set()
    total, peak = 0, LivePeak(0, "")
    for number, step in enumerate(steps):
        for name in step.makes:
            if owner[name] == name:
                alive.add(name)
                total += sizes.get(name, 0)
        if total + step.inner_bytes > peak.size_bytes:
            peak = LivePeak(total + step.inner_bytes, step.name)
        for name in ends.get(number, ()):
            if name in alive:
                alive.remove(name)
                total -= sizes.get(name, 0)
    return peak


def measure_live_tensors(path: Path, inputs: Mapping[str, NDArray]) -> LiveTensors:
    """Measure what a model file keeps in memory for one input.

    The graph is taken as onnxruntime optimises it on this machine, run once with every intermediate tensor as an output for shapes and
    types, and walked through node by node. Of a scan the first round is walked through likewise; what happens within other loops and
    branches counts as their node's outputs.

    Args:
        path: Model file.
        inputs: The graph's inputs by name.
    """
    with tempfile.TemporaryDirectory(prefix="ser_kd_") as folder:
        optimized = Path(folder) / "optimized.onnx"
        options = session_options(threads=1)
        options.optimized_model_filepath = str(optimized)
        open_session(path, options)
        graph_file = onnx.load(str(optimized))
    peak, nodes = _walk(graph_file, inputs)
    return LiveTensors(peak, _measure_weights(graph_file.graph), nodes)


def _walk(model: onnx.ModelProto, inputs: Mapping[str, NDArray]) -> tuple[LivePeak, int]:
    """Run a graph and find its peak and how many nodes it has."""
    made = _run_probed(model, inputs)
    known = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in inputs.items()} | made
    steps, nodes = [], 0
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        inner = _walk_round(model, node, known) if node.op_type == "Scan" else None
        nodes += 1 + (inner[1] if inner else 0)
        reads, makes = tuple(list_reads(node)), tuple(filter(None, node.output))
        steps.append(Step(f"{node.op_type} {node.name}".strip(), reads, makes, node.op_type in VIEWS, inner[0].size_bytes if inner else 0))
    sizes = {name: value.tensor_size_in_bytes() for name, value in made.items() if value.is_tensor()}
    return find_live_peak(steps, sizes, [output.name for output in model.graph.output]), nodes


def _run_probed(model: onnx.ModelProto, inputs: Mapping[str, NDArray]) -> dict[str, onnxruntime.OrtValue]:
    """Give all that the graph's nodes make for an input."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    answers = {output.name for output in model.graph.output}
    made = [name for node in model.graph.node for name in node.output if name and name not in answers]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = session_options(threads=1)
    # it is optimised already; optimising it once more could remove what is asked for
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(probed.SerializeToString(), options)
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in inputs.items()}
    answered = session.run_with_ort_values(None, values)
    return dict(zip([output.name for output in session.get_outputs()], answered, strict=True))


def _walk_round(model: onnx.ModelProto, node: onnx.NodeProto, known: Mapping[str, onnxruntime.OrtValue]) -> tuple[LivePeak, int] | None:
    """Walk through the first round of a scan over its inputs' first axis; None where there is no round."""
    (body,) = list_bodies(node)
    scanned = next(attribute.i for attribute in node.attribute if attribute.name == "num_scan_inputs")
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    fed: dict[str, NDArray] = {}
    for place, (name, heard) in enumerate(zip(node.input, body.input, strict=True)):
        value = known[name].numpy() if name in known else onnx.numpy_helper.to_array(constants[name])
        if place >= len(node.input) - scanned:
            if not len(value):
                return None
            value = np.asarray(value[0])
        fed[heard.name] = value
    around = [name for name in list_reads(node) if name not in node.input]
    fed |= {name: known[name].numpy() for name in around if name in known}
    types = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in fed.items()
    ]
    weights = [*body.initializer, *(constants[name] for name in around if name in constants)]
    graph = onnx.helper.make_graph(body.node, "round", types, body.output, weights)
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions)
    return _walk(alone, fed)


def _measure_weights(graph: onnx.GraphProto) -> int:
    constants = [
        attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute if attribute.name == "value"
    ]
    inner = sum(_measure_weights(body) for node in graph.node for body in list_bodies(node))
    return inner + sum(_tensor_bytes(tensor) for tensor in [*graph.initializer, *constants])


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    bits = 4 if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4) else None
    return (count * bits + 7) // 8 if bits else count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
