"""What a benchmark can measure: finished runs, model files alone, and experiments with random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.benchmark_record import SystemRecord
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.export_record import EXPORT_FOLDER, SIGN_OFF, ExportRecord
from ser_kd.contracts.suggestions import suggest
from ser_kd.data.collate import choose_evaluation_length
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.deploy.model_file import read_model_metadata
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.deploy.speech_graph import FittedClip, Padding
from ser_kd.distill.fitting import fit_statistics
from ser_kd.models.freezing import count_parameters
from ser_kd.models.named_features import check_hears_waveform
from ser_kd.models.pretrained import keep_random_weights
from ser_kd.runtime import console
from ser_kd.runtime.build import build, build_student
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog
from ser_kd.runtime.composition import compose
from ser_kd.runtime.faults import join_names
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots
from ser_kd.tasks.finished_runs import load_student, read_finished_run, read_run_config
from ser_kd.tasks.text_readers import check_hears
from ser_kd.tasks.untrained_export import export_untrained


@dataclass
class System:
    """One thing to measure.

    Args:
        record: What is told of it.
        make_model: Builds the torch model and loads its weights; None for a model file alone.
        files: Precision -> model file.
        why_no_file: Why other precisions are not there, and what to do.
        labels: Classes in logit order; empty for a model file alone.
        file_scores: Precision -> what its file reached on the test split, where it was signed off: ``ua``, ``ccc``.
        clip_samples: Length of its clips, samples; None where they stay whole, or where its files see to that alone.
        padding: How they are brought to it, as the data module has it.
    """

    record: SystemRecord
    make_model: Callable[[], nn.Module] | None
    files: dict[str, Path] = field(default_factory=dict)
    why_no_file: str = ""
    labels: tuple[str, ...] = ()
    file_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    clip_samples: int | None = None
    padding: Padding = "masked"

    def count_heard_samples(self, samples: int) -> int:
        """Count what the network hears of a clip, which a model file brings to length by itself."""
        if self.clip_samples is None:
            return samples
        return self.clip_samples if self.padding != "masked" else min(samples, self.clip_samples)

    def export_if_untrained(self, folder: Path, precisions: Sequence[str]) -> None:
        """Make the model files of an experiment with random weights; others bring theirs.

        Args:
            folder: Where they are written.
            precisions: Which are wanted.
        """
        if self.record.kind != "untrained" or self.make_model is None or not precisions:
            return
        self.files = export_untrained(
            self.make_model(),
            folder,
            labels=self.labels,
            sample_rate_hz=self.record.sample_rate_hz,
            clip=FittedClip(self.clip_samples, self.padding),
            experiment=self.record.experiment,
            precisions=precisions,
        )
        self.why_no_file = "the export of random weights does not make it"


def find_systems(names: Sequence[str], teacher: str, scale: str) -> list[System]:
    """Find everything that was named, without building a model.

    Args:
        names: Run folders, model files, experiments.
        teacher: Which of them is the teacher; empty where none is.
        scale: Option of ``conf/scale`` for experiments.

    Raises:
        DataError: If a folder holds no finished run, or a file is missing or not ours.
        ConfigError: If a name is no experiment either, or something is named twice.
    """
    systems = [_find_system(name, scale) for name in names]
    for name, system in zip(names, systems, strict=True):
        system.record.role = "teacher" if name == teacher else "student"
    _name_apart([system.record for system in systems])
    return systems


def _find_system(name: str, scale: str) -> System:
    path = Path(name).expanduser()
    if path.suffix == ".onnx":
        return _find_file(name, path)
    experiments = Catalog(find_conf_dir(), find_experiment_roots()).options(EXPERIMENTS_GROUP)
    if name in experiments and not (path / "record.json").is_file():
        return _find_untrained(name, scale)
    if path.is_dir() or "fold=" in name or path.is_absolute() or name.startswith("."):
        return _find_run(name, path)
    raise ConfigError(
        f"'{name}' is nothing that can be measured.",
        expected=f"a run folder, a model file (.onnx), or an experiment: {join_names(experiments)}",
        got=name,
        remedy=suggest(name, experiments) or "correct the name; 'ser-kd list experiments' describes the experiments",
    )


def _find_run(name: str, folder: Path) -> System:
    run = read_finished_run(folder)
    record = SystemRecord(
        run.experiment, "student", "run", name, run.sample_rate_hz, run.experiment, run.identity, run.protocol.fold, run.seed,
        f"{run.protocol.name} {run.protocol.fingerprint}", run.metrics.get("test/ua"), run.metrics.get("test/ccc_mean"),
        dict(run.parameters),
    )  # fmt: skip
    files = {}
    for path in sorted((folder / EXPORT_FOLDER).glob("*.onnx")):
        files[read_model_metadata(path).precision] = path

    def make_model() -> nn.Module:
        model = load_student(folder)[0]
        check_hears_waveform(model, "measured", "leave it out, or name the student that it teaches")
        return model

    system = System(record, make_model, files, f"ser-kd export run={name} makes it", tuple(run.protocol.classes))
    system.file_scores = _read_signed_scores(folder / EXPORT_FOLDER / SIGN_OFF)
    config = read_run_config(folder)
    check_hears(config, name, "benchmarked")
    return _with_clips(system, config.get("datamodule") or {})


def _read_signed_scores(path: Path) -> dict[str, dict[str, float]]:
    """Read precision -> UA or mean CCC on the test split from a sign-off; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        files = ExportRecord.from_json(path.read_text(encoding="utf-8"), str(path)).files
    except DataError as fault:
        console.warn(f"{fault.problem} Scores of its files are left out.")
        return {}
    known = {file.precision: {name: file.metrics.get(name, math.nan) for name in ("ua", "ccc")} for file in files}
    return {precision: {name: value for name, value in told.items() if not math.isnan(value)} for precision, told in known.items()}


def _with_clips(system: System, datamodule: Mapping[str, Any]) -> System:
    """Let a system hear clips as its data module brings them to length."""
    heard_as = datamodule.get("clip_samples"), datamodule.get("padding", "masked"), datamodule.get("evaluation_clips", "fitted")
    system.clip_samples, system.padding = choose_evaluation_length(*heard_as)
    if system.clip_samples is not None and system.padding != "masked":
        system.record.fixed_samples = system.clip_samples
    return system


def _find_file(name: str, path: Path) -> System:
    told: ModelMetadata = read_model_metadata(path)
    protocol = f"{told.protocol} {told.protocol_fingerprint}"
    record = SystemRecord(
        path.name, "student", "file", name, told.sample_rate_hz, told.experiment, told.identity, told.fold, told.seed, protocol
    )
    return System(record, None, {told.precision: path}, f"the file alone is {told.precision}; name its run folder for more")


def _find_untrained(name: str, scale: str) -> System:
    config = compose("train", [f"experiments={name}", f"scale={scale}"])
    check_hears(config, name, "benchmarked")
    data: SpeechDataModule = build(config.datamodule, corpus=build(config.corpus), protocol=build(config.protocol), fold=0, seed=0)
    label_set, rate = data.label_set, data.sample_rate_hz  # asks for no clip

    def make_model() -> nn.Module:
        torch.manual_seed(0)
        model: nn.Module = build_student(config.student, len(label_set), data.protocol.targets != "classes")
        check_hears_waveform(model, "measured", "leave it out, or name the student that it teaches")
        keep_random_weights(model)
        fit_statistics(model, [_make_noise_batch(rate)])  # any statistics do: a model without refuses to answer
        return model.eval()

    source = name if scale == "paper" else f"{name} scale={scale}"
    record = SystemRecord(f"{name} (random)", "student", "untrained", source, rate, name)
    system = System(record, make_model, {}, "its files are made when it is measured", tuple(label_set.labels))
    return _with_clips(system, config.datamodule)


def _make_noise_batch(sample_rate_hz: int) -> SpeechBatch:
    noise = np.random.default_rng(0).standard_normal((2, 2 * sample_rate_hz), dtype=np.float32)
    lengths = torch.full((2,), noise.shape[1], dtype=torch.int64)
    return SpeechBatch(["noise_0", "noise_1"], ["none", "none"], torch.from_numpy(0.1 * noise), lengths, torch.zeros(2, dtype=torch.int64))


def take_parameters(system: System, model: nn.Module) -> None:
    """Put a model's own parameter count into the record."""
    system.record.parameters = count_parameters(model)


def _name_apart(records: Sequence[SystemRecord]) -> None:
    """Give systems of one name what tells them apart: fold and seed, then the identity."""
    for tell in (lambda r: f"fold={r.fold} seed={r.seed}", lambda r: f"@{r.identity[:4]}", lambda r: f"({r.source})"):
        names = [record.name for record in records]
        for record in records:
            if names.count(record.name) > 1:
                record.name = f"{record.name} {tell(record)}"
    names = [record.name for record in records]
    twice = next((record for record in records if names.count(record.name) > 1), None)
    if twice is not None:
        raise ConfigError("A system is named twice.", expected="each system once", got=twice.source, remedy="leave one of them out")
