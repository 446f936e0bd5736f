"""A model file cut into its front-end and its network, so that each can be measured alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from ser_kd.deploy.graph_parts import BOUNDARY, list_reads
from ser_kd.deploy.measured_sessions import open_session, session_options


@dataclass(frozen=True)
class GraphHalves:
    """The two halves of a model file.

    Args:
        frontend: ``waveform`` and ``length`` to ``features`` and whatever else the network needs (masks, sizes), which is little.
        network: All that to the model's outputs.
    """

    frontend: Path
    network: Path


def cut_at_features(path: Path, folder: Path) -> GraphHalves | None:
    """Cut a model file where the exporter named ``features``.

    Every node on the way to ``features`` and ``feature_lengths`` is the front-end, every other one the network, so that both together do
    exactly what the whole does. Constants go to whoever reads them.

    Args:
        path: Model file.
        folder: Where the two files are written.

    Returns:
        The halves; None where the graph has no tensor of that name, or nothing lies on one side of it.
    """
    model = onnx.load(str(path))
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    constants = {name: node for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    maker = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    if BOUNDARY[0] not in maker:
        return None
    before = _find_ancestors(nodes, maker, [name for name in BOUNDARY if name in maker])
    front = [node for number, node in enumerate(nodes) if number in before]
    behind = [node for number, node in enumerate(nodes) if number not in before]
    if not behind:
        return None
    made_in_front = {name for node in front for name in node.output if name}
    answers = [output.name for output in model.graph.output]
    crossing = sorted({name for node in behind for name in list_reads(node)} | set(answers))
    crossing = [name for name in crossing if name in made_in_front and name not in answers]
    crossing = [BOUNDARY[0], *(name for name in crossing if name != BOUNDARY[0])]
    inputs = list(model.graph.input)
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    untyped = [onnx.ValueInfoProto(name=name) for name in crossing]
    told = _ask_types(_write_part(model, front, constants, inputs, untyped, folder / "frontend.onnx"))
    boundary = [known.get(value.name, value) for value in told]
    frontend = _write_part(model, front, constants, inputs, boundary, folder / "frontend.onnx")
    direct = {name for node in behind for name in list_reads(node)}
    network_inputs = [*boundary, *(value for value in inputs if value.name in direct)]
    outputs = [output for output in model.graph.output if output.name not in made_in_front]
    return GraphHalves(frontend, _write_part(model, behind, constants, network_inputs, outputs, folder / "network.onnx"))


def _find_ancestors(nodes: Sequence[onnx.NodeProto], maker: dict[str, int], names: Iterable[str]) -> set[int]:
    """Give the numbers of all nodes that some tensors come from."""
    waiting, found = [maker[name] for name in names], set[int]()
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [maker[name] for name in list_reads(nodes[number]) if name in maker]
    return found


def _write_part(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    path: Path,
) -> Path:
    read = {name for node in nodes for name in list_reads(node)}
    made = {name for node in nodes for name in node.output}
    own_constants = {id(constants[name]): constants[name] for name in read if name in constants}.values()
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    known = [value for value in model.graph.value_info if value.name in made]
    graph = onnx.helper.make_graph([*own_constants, *nodes], path.stem, inputs, outputs, weights, value_info=known)
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(part, str(path))
    return path


def _ask_types(path: Path) -> list[onnx.ValueInfoProto]:
    """Ask onnxruntime for types and shapes of a file's outputs, for graphs that do not say those of their inner tensors."""
    told = []
    for output in open_session(path, session_options(threads=1)).get_outputs():
        # its names are ONNX's own in small letters: tensor(float), tensor(int64)
        kind = onnx.TensorProto.DataType.Value(output.type.removeprefix("tensor(").removesuffix(")").upper())
        told.append(onnx.helper.make_tensor_value_info(output.name, kind, output.shape))
    return told
