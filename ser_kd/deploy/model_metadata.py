"""What a model file says about itself: written at export, read by whoever predicts; no torch needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import DataError

PREFIX = "ser_kd."
"""What our keys begin with among a file's metadata; each value is JSON."""

METADATA_VERSION = 1

PRECISIONS = ("fp32", "int8", "fp16")


@dataclass(frozen=True)
class ModelMetadata:
    """All that a prediction needs beside the graph, and where the model comes from.

    The graph takes ``waveform`` (B, T) float32 and ``length`` (B,) int64 and answers ``output`` (B, classes or
    dimensions) and ``embedding`` (B, D).

    Args:
        output: ``probabilities`` or ``dimensions``, the name of the first output.
        labels: Classes in the order of the probabilities; empty for a model of dimensions alone.
        dimensions: Of arousal, dominance and valence those that were learned, in the order of the answer; empty for a model of classes.
        sample_rate_hz: Rate of the waveform.
        minimum_samples: Shortest waveform the model answers.
        window_samples: Stretch in which longer recordings are heard: the fixed clip, or the longest training clip.
        padding: What the graph does with a clip, in words.
        crops: Whether the graph cuts what is longer than ``window_samples``.
        precision: ``fp32``, ``int8`` or ``fp16``.
        calibration_temperature: What the logits are divided by within the graph; 1 where nothing was fitted.
        experiment: ``<paper_slug>/<variant>``.
        identity: Identity of the run.
        fold: Fold of the run.
        seed: Seed of the run.
        corpus: Corpus it was trained on.
        protocol: Name of the protocol.
        protocol_fingerprint: Hash of ids, labels and split of the protocol.
        checkpoint: ``best`` or ``last`` of the run.
        teachers: Experiments (or names) of its teachers; empty where it learnt alone.
        licences: Licence notes of what it was trained on and started from.
        exporter: What made the graph.
        opset: ONNX operator set.
        ser_kd: Version of this program.
        metadata_version: Of these keys.
    """

    output: str
    labels: list[str]
    dimensions: list[str]
    sample_rate_hz: int
    minimum_samples: int
    window_samples: int
    padding: str
    crops: bool
    precision: str
    calibration_temperature: float
    experiment: str
    identity: str
    fold: int
    seed: int
    corpus: str
    protocol: str
    protocol_fingerprint: str
    checkpoint: str = "best"
    teachers: list[str] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    exporter: str = ""
    opset: int = 0
    ser_kd: str = ""
    metadata_version: int = METADATA_VERSION

    @property
    def answers(self) -> list[str]:
        """Names of what the first output gives, in order."""
        return self.labels if self.output == "probabilities" else self.dimensions

    def to_properties(self) -> dict[str, str]:
        """Give the metadata of an ONNX file: prefixed key -> JSON."""
        return {PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in asdict(self).items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> ModelMetadata:
        """Read an ONNX file's metadata.

        Args:
            properties: Key -> value as the file has them; keys of others are passed over.
            source: Named in errors.

        Raises:
            DataError: If the file is not ours, of another version, or a value is missing, damaged or contradicts another.
        """
        ours = {name.removeprefix(PREFIX): value for name, value in properties.items() if name.startswith(PREFIX)}
        if not ours:
            raise DataError(
                "This is no model of ser_kd.",
                expected="an ONNX file made by 'ser-kd export', with labels and sample rate in its metadata",
                got=f"{source}: {', '.join(sorted(properties)) or 'no metadata'}",
                remedy="export the run: ser-kd export run=RUN_FOLDER",
            )
        try:
            values: dict[str, Any] = {name: json.loads(value) for name, value in ours.items()}
        except json.JSONDecodeError as fault:
            broken = next(name for name, value in ours.items() if not _is_json(value))
            raise _damaged(source, f"{PREFIX}{broken} is {ours[broken]!r}") from fault
        if values.get("metadata_version") != METADATA_VERSION:
            raise DataError(
                "The model file was made by another version of ser_kd.",
                expected=f"metadata_version {METADATA_VERSION}",
                got=f"{source}: metadata_version {values.get('metadata_version')}",
                remedy="predict with the version that made it, or export the run again",
            )
        try:
            metadata = cls(**values)
        except TypeError as fault:
            raise _damaged(source, str(fault).removeprefix("ModelMetadata.__init__() ")) from fault
        metadata._check(source)
        return metadata

    def _check(self, source: str) -> None:
        kinds = {
            "labels": _is_list_of_names, "dimensions": _is_list_of_names, "teachers": _is_list_of_names, "licences": _is_list_of_names,
            "sample_rate_hz": _is_positive, "minimum_samples": _is_positive, "window_samples": _is_positive,
            "calibration_temperature": lambda value: isinstance(value, int | float) and value > 0,
        }  # fmt: skip
        for name, is_right in kinds.items():
            if not is_right(getattr(self, name)):
                raise _damaged(source, f"{PREFIX}{name} is {getattr(self, name)!r}")
        if not isinstance(self.crops, bool):
            raise _damaged(source, f"{PREFIX}crops is {self.crops!r}")
        if self.minimum_samples > self.window_samples:
            raise _damaged(source, f"minimum_samples {self.minimum_samples} above window_samples {self.window_samples}")
        if self.precision not in PRECISIONS or self.output not in ("probabilities", "dimensions") or not self.answers:
            raise _damaged(source, f"output {self.output!r}, precision {self.precision!r}, {len(self.answers)} names")
        if len(set(self.answers)) != len(self.answers) or not set(self.dimensions) <= set(DIMENSIONS):
            raise _damaged(source, f"names {', '.join(self.answers)}")

    def check_width(self, width: int, source: str) -> None:
        """Check that the graph answers as many numbers as there are names.

        Raises:
            DataError: If it does not.
        """
        if width != len(self.answers):
            raise _damaged(source, f"{len(self.answers)} names ({', '.join(self.answers)}) for {width} outputs")


def _damaged(source: str, found: str) -> DataError:
    return DataError(
        "The metadata of the model file is damaged.",
        expected="the keys and values that 'ser-kd export' writes",
        got=f"{source}: {found}",
        remedy="copy the file again, or export the run again",
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)
