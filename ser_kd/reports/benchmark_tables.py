"""A benchmark's numbers as tables, for the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ser_kd.contracts.benchmark_record import BenchmarkRecord, EngineRecord, MemoryRecord, RatioRecord
from ser_kd.reports.tables import NOTHING, Column, Table, format_count, format_share, render_markdown, render_plain

KINDS = {"run": "trained", "file": "as in the file", "untrained": "random"}
"""What stands under weights."""


def latency_table(record: BenchmarkRecord) -> Table:
    """One row per system, engine, thread count and length."""
    heads = ("system", "engine")
    numbers = ("threads", "clip s", "p50 ms", "p95 ms", "front-end ms", "network ms", "front / net", "real-time factor", "calls")
    rows = []
    for cell in (cell for cell in record.latency if cell.part == "whole"):
        halves = [record.find_latency(cell.system, cell.engine, part, cell.threads, cell.seconds) for part in ("frontend", "network")]
        front, network = (NOTHING if half is None else format_ms(half.p50_ms) for half in halves)
        ratio = NOTHING if None in halves else f"{halves[0].p50_ms / halves[1].p50_ms:.2f}"  # type: ignore[union-attr]
        rows.append(
            (
                cell.system, cell.engine, str(cell.threads), f"{cell.seconds:g}", format_ms(cell.p50_ms), format_ms(cell.p95_ms), front,
                network, ratio, _format_small(cell.real_time_factor), str(cell.calls),
            )
        )  # fmt: skip
    notes = (
        "wall time of one answer about one clip, raw waveform to answer; front-end and network are medians of their own calls;",
        "the real-time factor is the median divided by the length of the clip",
    )
    return Table(tuple(map(Column, heads)) + _numbers(numbers), tuple(rows), (" ".join(notes),), "Latency")


def system_table(record: BenchmarkRecord) -> Table:
    """One row per system: what it is, and its arithmetic at each length."""
    costs = {(cost.system, cost.seconds): cost for cost in record.costs}
    lengths = [seconds for seconds in record.seconds if any(cost.seconds == seconds for cost in record.costs)]
    has_ccc = any(system.test_ccc is not None for system in record.systems)
    has_ua = not has_ccc or any(system.test_ua is not None for system in record.systems)
    rows = []
    for system in record.systems:
        scores = [*([system.test_ua] if has_ua else []), *([system.test_ccc] if has_ccc else [])]
        told = [costs.get((system.name, seconds)) for seconds in lengths]
        rows.append(
            (
                system.name, system.role, KINDS.get(system.kind, system.kind),
                *(format_share(math.nan if score is None else score) for score in scores),
                format_count(system.parameters.get("trainable")), format_count(system.parameters.get("total")),
                *(NOTHING if cost is None else _format_millions(cost.multiply_accumulates) for cost in told),
                *(NOTHING if cost is None else _format_millions(cost.flops) for cost in told),
            )
        )  # fmt: skip
    heads = (
        *(["test UA"] if has_ua else []),
        *(["test CCC"] if has_ccc else []),
        "trainable",
        "parameters",
        *(f"M MACs, {s:g} s" for s in lengths),
        *(f"M FLOPs, {s:g} s" for s in lengths),
    )
    notes = ["M: millions; one multiply-accumulate (MAC) is two floating-point operations; Fourier transforms are not counted"]
    for system in record.systems:
        if system.fixed_samples is not None:
            length = f"{system.fixed_samples:,} samples ({system.fixed_samples / system.sample_rate_hz:.2f} s)"
            notes.append(f"{system.name} brings every clip to {length}, so that its length changes little")
    if any(system.kind == "untrained" for system in record.systems):
        notes.append("random weights: latency, sizes and memory do not depend on them")
    return Table((Column("system"), Column("role"), Column("weights"), *_numbers(heads)), tuple(rows), tuple(notes), "Systems")


def engine_table(record: BenchmarkRecord) -> Table:
    """One row per system and engine: size, load time, and memory at each length."""
    lengths = [seconds for seconds in record.seconds if any(item.seconds == seconds for item in record.memory)]
    memory = {(item.system, item.engine, item.seconds): item for item in record.memory}
    rows = []
    for engine in record.engines:
        told = [memory.get((engine.system, engine.engine, seconds)) for seconds in lengths]
        rows.append(
            (
                engine.system, engine.engine, format_mb(engine.size_bytes), _format_load(engine.load_ms), format_mb(engine.weights_bytes),
                *(NOTHING if item is None else format_mb(item.live_bytes) for item in told),
                *(NOTHING if item is None else format_mb(item.above_identity_bytes) for item in told),
            )
        )  # fmt: skip
    heads = ("size MB", "load", "weights MB", *(f"live MB, {s:g} s" for s in lengths), *(f"process MB, {s:g} s" for s in lengths))
    notes = (
        "MB: 10^6 bytes; size: the model file, for torch its tensors; load: until a session in a fresh process can answer, for torch "
        "building the model and reading its weights (and compiling it)",
        "live: most intermediate tensors alive at once in the graph as onnxruntime optimises it, weights and waveform apart; process: "
        "highest resident memory of a fresh process above one that runs a model handing its inputs on; one thread",
        *(f"{engine.system} in {engine.engine}: {note}" for engine in record.engines for note in engine.notes),
    )
    return Table((Column("system"), Column("engine"), *_numbers(heads)), tuple(rows), notes, "Sizes and memory")


def ratio_table(record: BenchmarkRecord) -> Table | None:
    """One row per ratio of teacher and student; None where there is no teacher."""
    told = [ratio for ratio in record.ratios if ratio.teacher]
    if not told:
        return None
    rows = tuple(
        (
            ratio.system, _name_ratio(ratio), ratio.engine or NOTHING, NOTHING if ratio.threads is None else str(ratio.threads),
            NOTHING if ratio.seconds is None else f"{ratio.seconds:g}", format_ratio(ratio.value),
            NOTHING if ratio.shortest is None else format_ratio(ratio.shortest),
        )
        for ratio in told
    )  # fmt: skip
    columns = (Column("student"), Column("what"), Column("engine"), *_numbers(("threads", "clip s", "ratio", "of shortest")))
    notes = (f"{told[0].teacher} divided by the student; of times: of medians, and of the shortest calls, which noise disturbs least",)
    return Table(columns, rows, notes, "Teacher / student")


def list_tables(record: BenchmarkRecord) -> list[Table]:
    """List a benchmark's tables in the order in which they are read."""
    tables = [latency_table(record), engine_table(record), system_table(record), ratio_table(record)]
    return [table for table in tables if table is not None and table.rows]


def render_benchmark_plain(record: BenchmarkRecord, width: int = 140) -> str:
    """Render for a terminal."""
    tables = [render_plain(table, width) for table in list_tables(record)]
    left_out = [f"left out: {line}" for line in record.left_out]
    return "\n".join([*tables, describe_conditions(record), *left_out, ""])


def render_benchmark_markdown(record: BenchmarkRecord, figures: Sequence[str] = ()) -> str:
    """Render everything as Markdown.

    Args:
        record: The benchmark.
        figures: File names of the pictures beside it.
    """
    lines = ["# Benchmark", "", describe_conditions(record), "", f"`{record.command}`", ""]
    for table in list_tables(record):
        lines += [f"## {table.title}", "", render_markdown(table)]
    if figures:
        lines += ["## Accuracy against cost", "", *(f"![accuracy against cost]({figure})\n" for figure in figures)]
    if record.left_out:
        lines += ["## Left out", "", *(f"- {line}" for line in record.left_out), ""]
    packages = ", ".join(f"{name} {version}" for name, version in record.packages.items())
    return "\n".join([*lines, "## Versions", "", f"{packages}; revision {record.git_revision or 'unknown'}", ""])


def describe_conditions(record: BenchmarkRecord) -> str:
    """Say in one line on what and how it was measured."""
    first = [name for name in ("processor", "cores", "memory", "accelerator", "system") if name in record.hardware]
    names = [*first, *(name for name in sorted(record.hardware) if name not in first)]
    machine = ", ".join(f"{name.replace('_', ' ')} {record.hardware[name]}" for name in names)
    how = f"at most {record.rounds} rounds in turn, about {record.budget_s:g} s per call and setting"
    return f"Measured {record.finished_at[:10]} on {machine}; {how}."


def format_ms(value: float) -> str:
    """Write milliseconds with three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_mb(size: int | None) -> str:
    """Write bytes as millions of bytes."""
    return NOTHING if size is None else f"{size / 1e6:,.0f}" if size >= 1e8 else f"{size / 1e6:.1f}"


def format_ratio(value: float) -> str:
    """Write a ratio with three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def find_memory(record: BenchmarkRecord, system: str, engine: str, seconds: float) -> MemoryRecord | None:
    """Find the memory of one system in one engine at one length; None where it was not measured."""
    return next((item for item in record.memory if (item.system, item.engine, item.seconds) == (system, engine, seconds)), None)


def long_table(record: BenchmarkRecord) -> Table:
    """Every measured time at full precision with the sizes beside it, for programs."""
    names = (
        "system", "role", "weights", "engine", "part", "threads", "seconds", "calls", "p50_ms", "p95_ms", "shortest_ms", "processor_ms",
        "real_time_factor", "size_bytes", "load_ms", "weights_bytes", "live_bytes", "high_water_bytes", "identity_bytes",
        "parameters_trainable", "parameters_total", "multiply_accumulates", "flops", "test_ua", "test_ccc",
    )  # fmt: skip
    systems = {system.name: system for system in record.systems}
    costs = {(cost.system, cost.seconds): cost for cost in record.costs}
    rows = []
    for cell in record.latency:
        system, cost = systems[cell.system], costs.get((cell.system, cell.seconds))
        engine = record.find_engine(cell.system, cell.engine) or EngineRecord(cell.system, cell.engine, 0, math.nan)
        memory = find_memory(record, cell.system, cell.engine, cell.seconds)
        values = (
            cell.system, system.role, KINDS.get(system.kind, system.kind), cell.engine, cell.part, cell.threads, cell.seconds, cell.calls,
            cell.p50_ms, cell.p95_ms, cell.shortest_ms, cell.processor_ms, cell.real_time_factor, engine.size_bytes, engine.load_ms,
            engine.weights_bytes, memory and memory.live_bytes, memory and memory.high_water_bytes, memory and memory.identity_bytes,
            system.parameters.get("trainable"), system.parameters.get("total"), cost and cost.multiply_accumulates, cost and cost.flops,
            system.test_ua, system.test_ccc,
        )  # fmt: skip
        rows.append(tuple("" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in values))
    return Table(tuple(map(Column, names)), tuple(rows))


def _numbers(names: tuple[str, ...]) -> tuple[Column, ...]:
    return tuple(Column(name, "right") for name in names)


def _name_ratio(ratio: RatioRecord) -> str:
    parts = {"whole": "raw waveform to answer", "network": "network alone"}
    return f"{ratio.what}, {parts.get(ratio.part, ratio.part)}" if ratio.part else ratio.what


def _format_small(value: float) -> str:
    return f"{value:.2g}"


def _format_millions(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count < 1e9 else f"{count / 1e6:,.0f}"


def _format_load(value: float) -> str:
    return f"{value / 1000.0:,.1f} s" if value >= 1000 else f"{value:,.0f} ms"
