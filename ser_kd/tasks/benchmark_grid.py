"""The grid of a benchmark: systems in engines, at thread counts and clip lengths."""

from __future__ import annotations

import copy
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.benchmark_record import CostRecord, EngineRecord, LatencyRecord, MemoryRecord
from ser_kd.contracts.errors import DataError
from ser_kd.deploy.engines import ENGINES, Engine, why_not
from ser_kd.deploy.fresh_session import FreshSession, measure_fresh_session
from ser_kd.deploy.graph_halves import GraphHalves, cut_at_features
from ser_kd.deploy.graph_parts import BOUNDARY
from ser_kd.deploy.identity_model import write_identity
from ser_kd.deploy.live_tensors import measure_live_tensors
from ser_kd.deploy.measured_sessions import make_waveform
from ser_kd.deploy.onnx_calls import OnnxFile
from ser_kd.deploy.taking_turns import measure_in_turns
from ser_kd.deploy.torch_calls import TorchModel, count_tensor_bytes
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.runtime import console
from ser_kd.tasks.benchmark_systems import System, take_parameters
from ser_kd.tasks.benchmark_words import BenchmarkArguments

FRESH_PROCESSES = 2
"""So many processes tell load time and highest memory; the smaller number counts."""


@dataclass
class Findings:
    """What was measured so far; see ``BenchmarkRecord``."""

    costs: list[CostRecord] = field(default_factory=list)
    engines: list[EngineRecord] = field(default_factory=list)
    memory: list[MemoryRecord] = field(default_factory=list)
    latency: list[LatencyRecord] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass
class _Cell:
    """One system in one engine, with what it needs there: a torch model, or a file and its halves."""

    system: System
    engine: Engine
    record: EngineRecord
    model: nn.Module | None = None
    path: Path | None = None
    parts: GraphHalves | None = None

    @property
    def name(self) -> str:
        return f"{self.system.record.name} in {self.engine.name}"

    def count_samples(self, seconds: float) -> int:
        """Count the samples it is given: a model file brings clips to length within its graph, for torch they are brought before."""
        samples = _count_samples(self.system, seconds)
        return samples if self.path is not None else self.system.count_heard_samples(samples)

    def open(self, threads: int) -> OnnxFile | TorchModel:
        if self.path is not None:
            return OnnxFile(self.path, self.parts, threads, self.engine.device)
        model = self.model if self.engine.device == "cpu" else copy.deepcopy(self.model)
        return TorchModel(model, threads, self.engine.device, self.engine.compiles)  # type: ignore[arg-type]


def measure_grid(systems: Sequence[System], asked: BenchmarkArguments) -> Findings:
    """Measure everything that was asked for and can be had; the rest is told with its reason.

    Args:
        systems: See ``find_systems``; parameter counts are added to the records of untrained ones.
        asked: Lengths, threads, engines, rounds.

    Raises:
        DataError: If nothing of it can be measured here.
    """
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="ser_kd_") as name:
        folder = Path(name)
        cells = _prepare_cells(systems, asked, folder, found)
        for line in found.left_out:
            console.tell(f"left out: {line}")
        if not cells:
            raise DataError(
                "Nothing of this can be measured here.",
                expected="a system that one of the engines can run",
                got="; ".join(found.left_out),
                remedy="ask for other engines, or export the run: ser-kd export run=RUN_FOLDER",
            )
        _measure_memory(cells, asked.seconds, folder, found)
        with _own_thread_count():
            for threads in asked.threads:
                _measure_latency(cells, threads, asked, found)
    found.engines = [cell.record for cell in cells if any(_is_of(cell, latency) for latency in found.latency)]
    return found


def _prepare_cells(systems: Sequence[System], asked: BenchmarkArguments, folder: Path, found: Findings) -> list[_Cell]:
    cells = []
    engines = []
    for engine in (ENGINES[name] for name in asked.engines):
        if reason := why_not(engine):
            found.left_out.append(f"{engine.name}: {reason}")
        else:
            engines.append(engine)
    precisions = list(dict.fromkeys(engine.precision for engine in engines if engine.runtime == "onnxruntime"))
    for number, system in enumerate(systems):
        model, build_ms = None, 0.0
        if system.make_model is not None:
            console.tell(f"building {system.record.name}")
            start = time.perf_counter()
            model = system.make_model()
            build_ms = 1000.0 * (time.perf_counter() - start)
            take_parameters(system, model)
            found.costs += _count_costs(system, model, asked.seconds)
        system.export_if_untrained(folder / f"export_{number}", precisions)
        parts: dict[Path, GraphHalves | None] = {}
        for engine in engines:
            record = EngineRecord(system.record.name, engine.name, 0, 0.0)
            if engine.runtime == "torch":
                if model is None:
                    found.left_out.append(f"{system.record.name} in {engine.name}: {system.why_no_file}")
                    continue
                record.size_bytes, record.load_ms = count_tensor_bytes(model), build_ms
                cells.append(_Cell(system, engine, record, model))
            elif engine.precision not in system.files:
                found.left_out.append(f"{system.record.name} in {engine.name}: no {engine.precision} model file; {system.why_no_file}")
            else:
                path = system.files[engine.precision]
                if path not in parts:
                    parts[path] = cut_at_features(path, folder / f"parts_{number}_{path.stem}")
                    if parts[path] is None:
                        why = f"no tensor of its graph is called '{BOUNDARY[0]}'"
                        found.left_out.append(f"{system.record.name}, {engine.precision}: front-end and network apart: {why}")
                scores = system.file_scores.get(engine.precision, {})
                record.size_bytes, record.test_ua, record.test_ccc = path.stat().st_size, scores.get("ua"), scores.get("ccc")
                cells.append(_Cell(system, engine, record, None, path, parts[path]))
    return cells


def _count_costs(system: System, model: nn.Module, seconds: Sequence[float]) -> Iterator[CostRecord]:
    for length in seconds:
        inputs = make_waveform(system.count_heard_samples(_count_samples(system, length)))
        told = ModelInput(torch.from_numpy(inputs["waveform"]), torch.from_numpy(inputs["length"]))
        macs = count_multiply_accumulates(model, told)
        yield CostRecord(system.record.name, length, macs, 2 * macs)


def _measure_memory(cells: Sequence[_Cell], seconds: Sequence[float], folder: Path, found: Findings) -> None:
    """Measure live tensors, and in fresh processes load time and highest memory, of model files on the CPU."""
    identity = write_identity(folder / "identity.onnx")
    chosen = [cell for cell in cells if cell.path is not None and cell.engine.device == "cpu"]
    for length in seconds if chosen else ():
        console.tell(f"memory at {length:g} s")
        empty: dict[int, FreshSession] = {}
        for cell in chosen:
            path, samples = cell.path, _count_samples(cell.system, length)
            if path is None:
                continue
            live = measure_live_tensors(path, make_waveform(samples))
            cell.record.weights_bytes = live.weights_bytes
            record = MemoryRecord(cell.system.record.name, cell.engine.name, length, live.peak.size_bytes, live.peak.at)
            found.memory.append(record)
            try:
                if samples not in empty:
                    empty[samples] = _ask_processes(identity, samples)
                fresh = _ask_processes(path, samples)
            except DataError as fault:
                found.left_out.append(f"{cell.name}, high water at {length:g} s: {fault.problem} {fault.got}")
                continue
            record.high_water_bytes, record.identity_bytes = fresh.high_water_bytes, empty[samples].high_water_bytes
            cell.record.load_ms = min(cell.record.load_ms or fresh.load_ms, fresh.load_ms)


def _ask_processes(path: Path, samples: int) -> FreshSession:
    answers = [measure_fresh_session(path, samples) for _ in range(FRESH_PROCESSES)]
    return FreshSession(min(a.load_ms for a in answers), min(a.high_water_bytes for a in answers))


def _measure_latency(cells: Sequence[_Cell], threads: int, asked: BenchmarkArguments, found: Findings) -> None:
    opened = []
    for cell in cells:
        if cell.engine.device == "cuda" and threads != asked.threads[0]:
            continue  # its threads are the device's
        start = time.perf_counter()
        model = cell.open(threads)
        if cell.path is not None and not cell.record.load_ms:
            cell.record.load_ms = 1000.0 * (time.perf_counter() - start)
        opened.append((cell, model))
    for length in asked.seconds:
        told = f"{threads} {'thread' if threads == 1 else 'threads'}, {length:g} s"
        calls = []
        for cell, model in list(opened):
            if cell.engine.compiles:
                console.tell(f"{told}: compiling {cell.system.record.name}")
            try:
                with _quiet_compiler():
                    made = model.make_calls(cell.count_samples(length))
            except Exception as fault:
                if not cell.engine.compiles:
                    raise
                # what torch.compile cannot do with a model is its affair, and no reason to lose the rest
                found.left_out.append(f"{cell.name}, {told}: torch.compile failed: {' '.join(str(fault).split())[:200]}")
                opened.remove((cell, model))
                continue
            if isinstance(model, TorchModel) and model.compile_ms and not cell.record.notes:
                cell.record.load_ms += model.compile_ms
                cell.record.notes.append(f"{model.compile_ms / 1000.0:.0f} s of the load time are compilation")
            calls += [(cell, part, call) for part, call in made.items()]
        console.tell(f"{told}: measuring {len(calls)} calls in turn")
        timings = measure_in_turns([call for _, _, call in calls], asked.rounds, asked.budget_s)
        for (cell, part, _), timing in zip(calls, timings, strict=True):
            found.latency.append(
                LatencyRecord(
                    cell.system.record.name, cell.engine.name, part, threads, length, len(timing.wall_s),
                    timing.percentile_ms(50), timing.percentile_ms(95), timing.shortest_ms, timing.processor_ms,
                )
            )  # fmt: skip


def _count_samples(system: System, seconds: float) -> int:
    return round(seconds * system.record.sample_rate_hz)


def _is_of(cell: _Cell, latency: LatencyRecord) -> bool:
    return (cell.system.record.name, cell.engine.name) == (latency.system, latency.engine)


@contextmanager
def _own_thread_count() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*complex operators.*")  # of the front-end's Fourier transform, which stays eager
        yield
