"""Turn a speech graph into one ONNX file with its metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnxscript.optimizer
import torch
from torch import Tensor

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ParityError
from ser_kd.deploy.graph_parts import BOUNDARY, list_bodies, settle_weights
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.deploy.onnx_model import INPUTS
from ser_kd.deploy.sparse_constants import shrink_sparse_constants
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph, has_inference_forms
from ser_kd.models.speech_model import SpeechModel
from ser_kd.storage.atomic import replace_file

OPSET = 20
"""ONNX operator set of every export; onnxruntime reads it from 1.17 on."""

LARGEST_FOLDED = 4096
"""Elements of the largest constant that is computed at export instead of at loading."""

LONGEST_SAMPLES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class ExportedGraph:
    """A graph without metadata.

    Args:
        proto: The ONNX model; its outputs are the answer and ``embedding``.
        exporter: What made it, and why the first choice did not where it did not.
        opset: ONNX operator set.
    """

    proto: onnx.ModelProto
    exporter: str
    opset: int


def export_graph(graph: SpeechGraph, example_samples: int) -> ExportedGraph:
    """Export a graph for any number of clips of any length.

    The exporter that works on ``torch.export`` comes first; where it cannot take a model, the older one that traces.

    Args:
        graph: What is exported.
        example_samples: T of the example it is traced with.

    Raises:
        ParityError: If no exporter can take the model, or what came is not valid ONNX.
    """
    example = make_example(graph, example_samples)
    with torch.no_grad():
        names = list(graph(*example))
    try:
        with _quiet():
            proto, exporter = _export_dynamo(graph, example, names), f"torch {torch.__version__}, torch.onnx with dynamo"
    except Exception as first:  # whatever an exporter raises, the other may succeed
        reason = str(first).strip().splitlines() or [""]
        try:
            with _quiet():
                proto = _export_traced(graph, example, names)
        except Exception as second:
            raise ParityError(
                "The model cannot be turned into ONNX.",
                expected="operations that an exporter of torch knows",
                got=f"with dynamo: {reason[0][:300]}; traced: {str(second).strip().splitlines()[0][:300]}",
                remedy="please report it with the run's config.yaml",
            ) from second
        exporter = f"torch {torch.__version__}, torch.onnx traced (with dynamo: {type(first).__name__}: {reason[0][:160]})"
    _tidy(proto)
    settle_weights(proto)
    return ExportedGraph(proto, exporter, next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")))


def export_precisions(
    model: SpeechModel, clip: FittedClip, temperature: float, precisions: Iterable[str], example_samples: int
) -> dict[str, ExportedGraph]:
    """Export the float32 graph that each precision is made from: one for all, unless the model has a form of its own for some.

    Args:
        model: Trained.
        clip: How clips are brought to length.
        temperature: What the logits are divided by before the softmax.
        precisions: Of fp32, int8 and fp16.
        example_samples: T of the example it is traced with.

    Returns:
        Precision -> graph, in float32.

    Raises:
        ConfigError: If the model cannot answer from sound alone.
        ParityError: If no exporter can take it.
    """
    if has_inference_forms(model):
        return {one: export_graph(SpeechGraph(model, clip, temperature, one), example_samples) for one in precisions}
    return dict.fromkeys(precisions, export_graph(SpeechGraph(model, clip, temperature), example_samples))


def make_example(graph: SpeechGraph, samples: int) -> tuple[Tensor, Tensor]:
    """Make three clips of different lengths: no size of 1, which an exporter takes for a constant.

    They are longer than ``samples`` where the encoder asks for more frames (``example_frames``) and clips may be longer.
    """
    generator = torch.Generator().manual_seed(0)
    wanted = getattr(graph.model.encoder, "example_frames", 0)
    while True:
        waveform = 0.05 * torch.randn(3, samples, generator=generator)
        lengths = torch.tensor([samples, (3 * samples) // 4, samples // 2])
        if not wanted or graph.clip(waveform, lengths)[0].shape[1] < samples or _count_frames(graph, waveform, lengths) >= wanted:
            return waveform, lengths
        samples *= 2


def _count_frames(graph: SpeechGraph, waveform: Tensor, lengths: Tensor) -> int:
    fitted, kept = graph.clip(waveform, lengths)
    with torch.no_grad():
        frames = graph.model.extract(ModelInput(fitted, kept)).frames
    return 0 if frames is None else frames.shape[1]


def write_model(proto: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Write a model with its metadata, checked, whole or not at all; sparse constants of ``proto`` are made small for it.

    Raises:
        ParityError: If it is not valid ONNX.
        DataError: If the file cannot be written.
    """
    shrink_sparse_constants(proto)
    told = [value for value in proto.graph.value_info if value.name in BOUNDARY]
    del proto.graph.value_info[:]  # of the others a runtime infers the shapes
    proto.graph.value_info.extend(told)
    del proto.metadata_props[:]
    for name, value in metadata.to_properties().items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value
    with replace_file(path) as part:
        onnx.save(proto, str(part))
        check_valid(part)


def check_valid(path: Path) -> None:
    """Check a file with ONNX's own checker, shapes included.

    Raises:
        ParityError: If it finds a fault.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise ParityError(
            "What was exported is not valid ONNX.",
            expected="a graph that onnx.checker accepts",
            got=str(fault).strip().splitlines()[0],
            remedy="please report it with the run's config.yaml",
        ) from fault


def _export_dynamo(graph: SpeechGraph, example: tuple[Tensor, Tensor], names: list[str]) -> onnx.ModelProto:
    clips = torch.export.Dim("clips", min=1, max=2**16)
    samples = torch.export.Dim("samples", min=1, max=LONGEST_SAMPLES)
    program = torch.onnx.export(
        graph, example, dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
        input_names=list(INPUTS), output_names=names, dynamic_shapes=({0: clips, 1: samples}, {0: clips}), optimize=False,
    )  # fmt: skip
    if program is None:  # dynamo=True gives a program; told to the type checker
        raise RuntimeError("the exporter gave nothing")
    # Normalisations are folded into convolutions; what small tables make stays small in the file, and the runtime makes it at loading.
    onnxscript.optimizer.optimize_ir(program.model, output_size_limit=LARGEST_FOLDED)
    return program.model_proto


def _export_traced(graph: SpeechGraph, example: tuple[Tensor, Tensor], names: list[str]) -> onnx.ModelProto:
    axes = {"waveform": {0: "clips", 1: "samples"}, "length": {0: "clips"}}
    axes |= {name: {0: "clips", 1: "frames"} if name == "features" else {0: "clips"} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        torch.onnx.export(
            _AsTuple(graph), example, str(path), dynamo=False, opset_version=OPSET,
            input_names=list(INPUTS), output_names=names, dynamic_axes=axes,
        )  # fmt: skip
        return onnx.load(str(path))


class _AsTuple(torch.nn.Module):
    """The tracing exporter knows no dictionary among the outputs."""

    def __init__(self, graph: SpeechGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, waveform: Tensor, length: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.graph(waveform, length).values())


def _tidy(proto: onnx.ModelProto) -> None:
    """Take out what only the exporter needed: source lines of this machine, and the boundary among the outputs."""
    kept = [output for output in proto.graph.output if output.name not in BOUNDARY]
    inner = [output for output in proto.graph.output if output.name in BOUNDARY]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    proto.graph.value_info.extend(inner)
    _forget_source(proto.graph)
    proto.graph.name = "ser_kd"
    proto.producer_name = "ser_kd"
    del proto.functions[:]


def _forget_source(graph: onnx.GraphProto) -> None:
    """Take source lines out of a graph and of the bodies of its loops and branches."""
    for owner in [graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        if hasattr(owner, "metadata_props"):
            del owner.metadata_props[:]
        owner.doc_string = ""
    for node in graph.node:
        for body in list_bodies(node):
            _forget_source(body)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks for their own makers out of the output."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
