"""What a system answers in noise, condition by condition, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_metrics, restore_record

ROBUSTNESS_FOLDER = "robustness"
"""Folder beside a run (or below one's model file) where its records lie."""

CLEAN = "clean"
"""Name of the condition without noise."""

Key = tuple[str, float | None]
"""Noise and ratio in decibels of a condition; (``CLEAN``, None) without noise."""


@dataclass
class NoiseCondition:
    """What a system answered under one noise at one ratio.

    Args:
        noise: Type of the noise, or ``clean``.
        snr_db: Signal-to-noise ratio, decibels; None for clean speech.
        answers: Class index of each clip, in the order of the record's ``ids``.
        metrics: ``ua``, ``wa``, ``f1_macro``, ``f1_weighted``.
    """

    noise: str
    snr_db: float | None
    answers: list[int]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What tells it from others of its record."""
        return self.noise, self.snr_db


@dataclass
class RobustnessRecord:
    """One model on the test clips of one fold, under conditions that grow in number as they are computed.

    Two records compare where ``fingerprint``, ``fold`` and ``setting`` are equal: each clip then met the same stretch of noise, at every
    ratio and before every model.

    Args:
        experiment: Experiment of the run.
        identity: Identity of the run.
        fold: Fold of the run.
        seed: Seed of the run.
        kind: ``run`` (torch) or ``file`` (an exported model).
        precision: Of a file: ``fp32``, ``int8``, ``fp16``; ``fp32`` for a run.
        checkpoint: ``best`` or ``last``.
        enhancement: Name of what stands before the model, such as ``vad_nmf``; empty for nothing.
        enhancement_setting: Hash of its settings; empty for nothing.
        corpus: Corpus name.
        protocol: Protocol name.
        fingerprint: Protocol fingerprint.
        classes: Classes in the order of the indices.
        teachers: Identities of the run's teachers.
        distilled: Whether it had a teacher.
        noise: What the noises are, as ``NoiseCorpus.describe`` tells it.
        setting: Hash of noises, level and seed of the noise.
        level: What counts as level of the speech: ``rms``, ``active_speech`` or ``p56``.
        noise_seed: Seed of the stretches.
        heard: Type of noise -> what training heard of it: ``never``, ``type`` (other stretches of it) or ``stretch`` (the very same
            recording, as where published systems do not split their noises).
        ids: N utterance ids.
        speakers: N speakers.
        truth: N class indices.
        conditions: Those computed so far.
        model_hash: Of the model file or checkpoint that answered: another one under the same name is judged anew.
        warnings: Whatever a reader must know to compare.
        packages: Package -> version.
        git_revision: As in ``RunRecord``.
        command: The command line that makes this again.
        updated_at: ISO time, UTC.
    """

    experiment: str
    identity: str
    fold: int
    seed: int
    kind: str
    precision: str
    checkpoint: str
    enhancement: str
    enhancement_setting: str
    corpus: str
    protocol: str
    fingerprint: str
    classes: list[str]
    teachers: list[str]
    distilled: bool
    noise: dict[str, Any]
    setting: str
    level: str
    noise_seed: int
    heard: dict[str, str]
    ids: list[str]
    speakers: list[str]
    truth: list[int]
    conditions: list[NoiseCondition] = field(default_factory=list)
    model_hash: str = ""
    warnings: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    command: str = ""
    updated_at: str = ""
    schema_version: int = SCHEMA_VERSION

    def find(self, noise: str, snr_db: float | None) -> NoiseCondition | None:
        """Give a condition, or None where it was not computed."""
        return next((condition for condition in self.conditions if condition.key == (noise, snr_db)), None)

    def to_json(self) -> str:
        """Write the record as strict JSON; lists of clips are written into one line each."""
        data = asdict(self)
        for name in ("ids", "speakers"):
            data[name] = "\t".join(data[name])
        data["truth"] = _join(self.truth)
        for part, condition in zip(data["conditions"], self.conditions, strict=True):
            part["answers"] = _join(condition.answers)
        return format_record(data)

    @classmethod
    def from_json(cls, text: str, source: str = "robustness.json") -> RobustnessRecord:
        """Read the record back; null metrics become NaN, unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        again = "delete the file and run 'ser-kd robustness' again"
        return restore_record(cls, text, source, holds="a record of robustness", remedy=again, again=again, restore=_restore)


def _join(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    def split(text: str) -> list[int]:
        return [_read_index(part) for part in text.split()]

    clips = {name: data[name].split("\t") if data[name] else [] for name in ("ids", "speakers")}
    truth = split(data["truth"])
    conditions = []
    for part in data["conditions"]:
        condition = NoiseCondition(**{**restore_metrics(part), "answers": split(part["answers"])})
        if len(condition.answers) != len(truth):
            raise TypeError(f"{len(truth)} answers to {condition.noise}, of which there are {len(condition.answers)}")
        conditions.append(condition)
    if not len(clips["ids"]) == len(clips["speakers"]) == len(truth):
        raise TypeError(f"as many ids and speakers as truths ({len(truth)})")
    return {**data, **clips, "truth": truth, "conditions": conditions}


def _read_index(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise TypeError(f"class indices; one is {text!r}")
    return int(text)
