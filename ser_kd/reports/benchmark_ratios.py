"""One system of a benchmark beside another, and a front-end beside its network, as ratios."""

from __future__ import annotations

from collections.abc import Iterator

from ser_kd.contracts.benchmark_record import BenchmarkRecord, RatioRecord

FRONTEND_TO_NETWORK = "frontend / network"


def compare_systems(record: BenchmarkRecord) -> list[RatioRecord]:
    """Give every ratio a benchmark's numbers allow.

    Teacher / student for whatever both have at the same setting: latency of the whole and of the network alone, parameters,
    multiply-accumulates, size, live tensors, and highest memory above a model that does nothing. Front-end / network for each system.

    Args:
        record: All but its ratios.
    """
    teacher = next((system.name for system in record.systems if system.role == "teacher"), None)
    students = [system.name for system in record.systems if system.role != "teacher"]
    ratios = list(_compare_halves(record))
    for student in students if teacher is not None else ():
        ratios += [*_compare_latency(record, student, str(teacher)), *_compare_costs(record, student, str(teacher))]
    return ratios


def _compare_halves(record: BenchmarkRecord) -> Iterator[RatioRecord]:
    for front in (cell for cell in record.latency if cell.part == "frontend"):
        network = record.find_latency(front.system, front.engine, "network", front.threads, front.seconds)
        if network is not None:
            yield RatioRecord(
                FRONTEND_TO_NETWORK, front.system, "", front.p50_ms / network.p50_ms, front.engine, "", front.threads, front.seconds,
                front.shortest_ms / network.shortest_ms,
            )  # fmt: skip


def _compare_latency(record: BenchmarkRecord, student: str, teacher: str) -> Iterator[RatioRecord]:
    for mine in (cell for cell in record.latency if cell.system == student and cell.part != "frontend"):
        theirs = record.find_latency(teacher, mine.engine, mine.part, mine.threads, mine.seconds)
        if theirs is not None:
            yield RatioRecord(
                "latency", student, teacher, theirs.p50_ms / mine.p50_ms, mine.engine, mine.part, mine.threads, mine.seconds,
                theirs.shortest_ms / mine.shortest_ms,
            )  # fmt: skip


def _compare_costs(record: BenchmarkRecord, student: str, teacher: str) -> Iterator[RatioRecord]:
    totals = {system.name: system.parameters.get("total", 0) for system in record.systems}
    if totals[student] and totals[teacher]:
        yield RatioRecord("parameters", student, teacher, totals[teacher] / totals[student])
    macs = {(cost.system, cost.seconds): cost.multiply_accumulates for cost in record.costs}
    sizes = {(engine.system, engine.engine): engine.size_bytes for engine in record.engines}
    live = {(item.system, item.engine, item.seconds): item.live_bytes for item in record.memory}
    high = {(item.system, item.engine, item.seconds): item.above_identity_bytes or 0 for item in record.memory}
    for seconds in record.seconds:
        if macs.get((student, seconds)) and (teacher, seconds) in macs:
            ratio = macs[teacher, seconds] / macs[student, seconds]
            yield RatioRecord("multiply-accumulates", student, teacher, ratio, seconds=seconds)
    for (system, engine), size in sizes.items():
        if system == student and size and (teacher, engine) in sizes:
            yield RatioRecord("size", student, teacher, sizes[teacher, engine] / size, engine)
    for what, measured in (("live tensors", live), ("high water", high)):
        for (system, engine, seconds), size in measured.items():
            if system == student and size and measured.get((teacher, engine, seconds)):
                yield RatioRecord(what, student, teacher, measured[teacher, engine, seconds] / size, engine, seconds=seconds)
