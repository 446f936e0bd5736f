"""What an export leaves behind as plain data: its files, how far they are from the trained model, and whether they may ship."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_metrics, restore_record

EXPORT_FOLDER = "export"
"""Where a run's model files lie, within its folder."""

SIGN_OFF, SIGN_OFF_PAGE, CARD, BENCHMARK = "sign_off.json", "sign_off.md", "README.md", "benchmark.json"
"""What lies beside the model files: this record, its page, the model card, and what was measured of them."""


@dataclass
class Gate:
    """One condition of the sign-off.

    Args:
        name: What is judged.
        value: What was found.
        bound: What is allowed.
        at_least: Whether the bound is the lowest value allowed instead of the highest.
    """

    name: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value is allowed; NaN never is."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def describe(self) -> str:
        """Tell value and bound in words."""
        return f"{self.name} {self.value:.4g}, wanted at {'least' if self.at_least else 'most'} {self.bound:g}"


@dataclass
class ExportedFile:
    """One model file and how it compares with the trained model on the test split.

    Metrics: ``max_difference`` and ``mean_difference`` of probabilities (or dimensions) against torch, ``argmax_agreement``,
    ``ragged_difference`` (a batch of three lengths against three single calls), ``shortest_difference`` (the shortest clip allowed),
    and of the file itself ``ua``, ``wa``, ``calibration_error``, ``log_loss`` or ``ccc_<dimension>``; ``<metric>_torch`` is the model's own
    and ``<metric>_change`` the file's less the model's.

    Args:
        precision: ``fp32``, ``int8`` or ``fp16``.
        file: Name within the export folder.
        bytes: Its size.
        exporter: What made the graph.
        opset: ONNX operator set.
        provider: Execution provider of onnxruntime that it was judged with.
        clips: Clips it was judged on.
        method: How it was quantised or converted; empty for fp32.
        calibration_clips: Ids of the training clips whose ranges were taken for static quantisation.
        calibration_speakers: Their speakers.
        metrics: See above.
        gates: Conditions of the sign-off.
        notes: Free remarks.
    """

    precision: str
    file: str
    bytes: int
    exporter: str
    opset: int
    provider: str
    clips: int
    method: str = ""
    calibration_clips: list[str] = field(default_factory=list)
    calibration_speakers: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def signed_off(self) -> bool:
        """Whether every condition holds."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)


@dataclass
class ExportRecord:
    """Everything a report or a model card needs to know of an export.

    Args:
        experiment: Experiment of the run.
        identity: Identity of the run.
        fold: Fold of the run.
        seed: Seed of the run.
        checkpoint: ``best`` or ``last``.
        metadata: What the files say of themselves, without precision.
        metrics: Calibration: ``calibration_error`` and ``log_loss`` of validation and test as ``<split>/<metric>``, with
            ``_before`` where no temperature divides the logits.
        undefined: Metric name -> why it is NaN.
        files: One for each precision.
        packages: Package -> version.
        hardware: Processor, cores, memory, accelerator.
        git_revision: As in ``RunRecord``.
        command: The command line that makes this export again.
        finished_at: ISO time, UTC.
        notes: Free remarks.
    """

    experiment: str
    identity: str
    fold: int
    seed: int
    checkpoint: str
    metadata: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    files: list[ExportedFile] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    command: str = ""
    finished_at: str = ""
    notes: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def signed_off(self) -> bool:
        """Whether every file may ship."""
        return bool(self.files) and all(file.signed_off for file in self.files)

    def to_json(self) -> str:
        """Write the record as strict JSON; NaN becomes null."""
        return format_record(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "sign_off.json") -> ExportRecord:
        """Read the record back; null metrics become NaN, unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        again = "export the run again: ser-kd export run=…"
        return restore_record(cls, text, source, holds="an export", remedy=again, again=again, restore=_restore)


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    return {**restore_metrics(data), "files": [_restore_file(file) for file in data["files"]]}


def _restore_file(data: dict[str, Any]) -> ExportedFile:
    gates = [Gate(**{**gate, "value": float("nan") if gate["value"] is None else gate["value"]}) for gate in data["gates"]]
    return ExportedFile(**{**restore_metrics(data), "gates": gates})
