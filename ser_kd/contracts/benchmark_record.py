"""What models cost when they answer, as plain data: latency, memory, sizes, and one system beside another."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_record

PARTS = ("whole", "frontend", "network")
"""Raw waveform to answer; raw waveform to features; features to answer."""


@dataclass
class SystemRecord:
    """One model that was measured.

    Args:
        name: How tables call it; unique within the record.
        role: ``teacher`` or ``student``.
        kind: ``run`` (a finished run's folder), ``file`` (a model file alone) or ``untrained`` (an experiment with random weights, whose
            latency is that of trained ones).
        source: What was named on the command line.
        sample_rate_hz: Rate of the waveform it hears.
        experiment: ``<paper_slug>/<variant>``; empty where unknown.
        identity: Identity of its run; empty where there is none.
        fold: Fold of its run; None where there is none.
        seed: Seed of its run; None where there is none.
        protocol: Name and fingerprint of its protocol; empty where there is none.
        test_ua: Unweighted average recall on the test split, of its run's record and so in full precision; None where unknown.
        test_ccc: The same of a run that learned dimensions: mean concordance over arousal, dominance and valence.
        parameters: ``trainable`` and ``total`` (with running statistics); empty for a model file alone.
        fixed_samples: Length that it brings every clip to, so that longer ones cost no more; None where it hears clips as they are.
    """

    name: str
    role: str
    kind: str
    source: str
    sample_rate_hz: int
    experiment: str = ""
    identity: str = ""
    fold: int | None = None
    seed: int | None = None
    protocol: str = ""
    test_ua: float | None = None
    test_ccc: float | None = None
    parameters: dict[str, int] = field(default_factory=dict)
    fixed_samples: int | None = None


@dataclass
class CostRecord:
    """Arithmetic of one system at one length; Fourier transforms and element-wise work are not counted.

    Args:
        system: Its name.
        seconds: Length of the clip.
        multiply_accumulates: Of convolutions, matrix products and attention.
        flops: Twice as many floating-point operations.
    """

    system: str
    seconds: float
    multiply_accumulates: int
    flops: int


@dataclass
class EngineRecord:
    """One system in one engine, whatever the length.

    Args:
        system: Its name.
        engine: Such as ``onnx_fp32``.
        size_bytes: Of the model file; for torch the tensors of the model as they lie in memory.
        load_ms: Until it can answer: a session in a fresh process, or building the model and reading its weights (and compiling it).
        weights_bytes: Weights in the graph as onnxruntime optimises it; None for torch.
        test_ua: Unweighted average recall of this very file on the test split, from its sign-off; None where there is none.
        test_ccc: The same as mean concordance.
        notes: What a reader must know.
    """

    system: str
    engine: str
    size_bytes: int
    load_ms: float
    weights_bytes: int | None = None
    test_ua: float | None = None
    test_ccc: float | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class MemoryRecord:
    """Memory that one answer about one clip takes, one thread.

    Args:
        system: Its name.
        engine: An engine of onnxruntime.
        seconds: Length of the clip.
        live_bytes: Largest sum of intermediate tensors alive at once, weights and the waveform itself apart.
        live_at: The node at which they are.
        high_water_bytes: Highest resident memory of a fresh process that answers; None where it was not measured.
        identity_bytes: The same for a model that hands its inputs on.
    """

    system: str
    engine: str
    seconds: float
    live_bytes: int
    live_at: str
    high_water_bytes: int | None = None
    identity_bytes: int | None = None

    @property
    def above_identity_bytes(self) -> int | None:
        """What the model adds to a process that runs onnxruntime."""
        if self.high_water_bytes is None or self.identity_bytes is None:
            return None
        return max(0, self.high_water_bytes - self.identity_bytes)


@dataclass
class LatencyRecord:
    """How long one answer about one clip takes; batch of 1.

    Args:
        system: Its name.
        engine: Such as ``onnx_fp32``.
        part: One of ``PARTS``.
        threads: Threads within an operator.
        seconds: Length of the clip.
        calls: Calls that were measured.
        p50_ms: Median of the wall time, milliseconds.
        p95_ms: 95th percentile of the wall time.
        shortest_ms: Shortest wall time: what the least disturbed call took.
        processor_ms: Shortest processor time, summed over threads.
    """

    system: str
    engine: str
    part: str
    threads: int
    seconds: float
    calls: int
    p50_ms: float
    p95_ms: float
    shortest_ms: float
    processor_ms: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of speech, by the median."""
        return self.p50_ms / 1000.0 / self.seconds


@dataclass
class RatioRecord:
    """One number divided by another of the same record.

    Args:
        what: ``latency``, ``frontend / network``, ``parameters``, ``multiply-accumulates``, ``size``, ``live tensors`` or ``high water``.
        system: The system below the line.
        teacher: The system above it; for ``frontend / network`` empty, for both are of ``system``.
        value: The ratio; of latencies by their medians.
        engine: Of both; empty where it has none.
        part: Of both latencies; empty for others.
        threads: Of both latencies; None for others.
        seconds: Of both; None where the length does not matter.
        shortest: The ratio of the shortest times, which noise on the machine disturbs least; None for others than times.
    """

    what: str
    system: str
    teacher: str
    value: float
    engine: str = ""
    part: str = ""
    threads: int | None = None
    seconds: float | None = None
    shortest: float | None = None


_LISTS: dict[str, Any] = {
    "systems": SystemRecord, "costs": CostRecord, "engines": EngineRecord, "memory": MemoryRecord, "latency": LatencyRecord,
    "ratios": RatioRecord,
}  # fmt: skip


@dataclass
class BenchmarkRecord:
    """Everything one benchmark found, and on what.

    Args:
        systems: What was measured, in the order in which it was named.
        costs: Arithmetic by system and length.
        engines: Sizes and load times.
        memory: Memory by length.
        latency: Times by engine, part, threads and length.
        ratios: See ``RatioRecord``.
        left_out: What could not be measured here, and why.
        seconds: Lengths of the clips.
        threads: Thread counts.
        rounds: Rounds in which the measured calls took turns, at most.
        budget_s: Time per measured call and setting, about.
        hardware: Processor, cores, memory, accelerator.
        packages: Package -> version.
        git_revision: As in ``RunRecord``.
        command: The command line that makes this benchmark again.
        started_at: ISO time, UTC.
        finished_at: ISO time, UTC.
    """

    systems: list[SystemRecord]
    costs: list[CostRecord]
    engines: list[EngineRecord]
    memory: list[MemoryRecord]
    latency: list[LatencyRecord]
    ratios: list[RatioRecord]
    left_out: list[str]
    seconds: list[float]
    threads: list[int]
    rounds: int
    budget_s: float
    hardware: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    command: str = ""
    started_at: str = ""
    finished_at: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Write the record as strict JSON."""
        return format_record(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "benchmark.json") -> BenchmarkRecord:
        """Read the record back; unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        again = "measure again: ser-kd benchmark SYSTEM …"
        return restore_record(cls, text, source, holds="a benchmark", remedy=again, again=again, restore=_restore)

    def find_latency(self, system: str, engine: str, part: str, threads: int, seconds: float) -> LatencyRecord | None:
        """Find one measured time; None where it was not measured."""
        key = (system, engine, part, threads, seconds)
        return next((cell for cell in self.latency if (cell.system, cell.engine, cell.part, cell.threads, cell.seconds) == key), None)

    def find_system(self, name: str) -> SystemRecord:
        """Give a system by its name.

        Raises:
            KeyError: If it is not among those that were measured.
        """
        for system in self.systems:
            if system.name == name:
                return system
        raise KeyError(name)

    def find_engine(self, system: str, engine: str) -> EngineRecord | None:
        """Find what is known of one engine of one system; None where it was not measured."""
        return next((item for item in self.engines if (item.system, item.engine) == (system, engine)), None)


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, **{name: [kind(**part) for part in data[name]] for name, kind in _LISTS.items()}}
