"""Judge a teacher by itself, without a student: what it is worth on the arousal, dominance and valence of a corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import describe_left_out
from ser_kd.data.protocols.all_clips import AllClips
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.metrics.panel import MetricPanel, PanelResult
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.environment import git_revision, installed_packages
from ser_kd.runtime.progress import quieten_libraries
from ser_kd.runtime.recording import now, write_evaluation
from ser_kd.tasks.prepared_clips import add_teacher_features, extract_features
from ser_kd.tasks.published_teachers import check_published, describe_published, list_warnings
from ser_kd.tasks.teachers import identify_teacher, make_teacher
from ser_kd.tasks.text_readers import check_reads

COMBINED = "ensemble"


def evaluate_teacher(config: DictConfig, command: str) -> tuple[CrossCorpusRecord, Path]:
    """Ask a teacher about every annotated clip of a corpus, whole, and write what it says and how good that is.

    Metrics of its combined answer are named as in a run (``ccc_arousal``, …), those of a member ``<member>/ccc_arousal``.

    Args:
        config: Checked configuration of ``conf/evaluate.yaml`` with a teacher and a corpus.
        command: Command line that makes the evaluation again.

    Returns:
        The evaluation's record and the file it was written to, ``teachers/<identity>/evaluations/<corpus>.json`` below the runs.

    Raises:
        ConfigError: If a member is named by its experiment, or does not answer with dimensions.
        DataError: If weights are missing, or no clip is annotated.
        LeakageError: If a member has heard clips of the corpus.
    """
    quieten_libraries("offline")
    spec: TeacherSpec = build(config.teacher)
    _check_members(spec)
    data = SpeechDataModule(
        corpus=build(config.corpus), protocol=AllClips(targets="dimensions"), batch_size=config.batch_size, cache_dir=config.paths.cache,
        transcripts=config.transcripts, on_missing_text=config.on_missing_text or "error",
    )  # fmt: skip
    check_published(spec, data.sample_rate_hz, needs_weights=True)
    with console.progress("decoding audio") as data.progress:
        data.setup()
    runs_root = Path(config.paths.runs)
    teacher = make_teacher(spec, data.fold, data.corpus.name, 0, runs_root)
    models = [member.model for member in teacher.members]
    check_reads(models, {key: config[key] for key in ("transcripts", "on_missing_text") if config[key] is not None}, "the teacher")
    if any(getattr(model, "reads_text", False) for model in models):
        data.check_texts(["test"])
    add_teacher_features(data, teacher.members)
    licences = describe_published(teacher.members)
    for line in licences:
        console.note(line)
    extract_features(data, told=licences)
    results, rows = _judge(teacher, data)
    identity = identify_teacher(teacher)
    record = CrossCorpusRecord(
        name=data.corpus.name,
        experiment=f"teacher of {' and '.join(member.name for member in teacher.members)}",
        identity=identity,
        fold=0,
        seed=0,
        trained_on="; ".join(dict.fromkeys(member.record.corpus or "unknown" for member in teacher.members)),
        corpus=data.corpus.name,
        fingerprint=data.fold.fingerprint,
        checkpoint="best",
        restricted=False,
        classes=[],
        mapping={},
        unmapped={},
        absent=[],
        clips=len(data.fold.test),
        class_counts=[],
        speakers=len(data.fold.speakers("test")),
        metrics={_name(who, metric): value for who, result in results.items() for metric, value in result.values.items()},
        undefined={_name(who, metric): reason for who, result in results.items() for metric, reason in result.undefined.items()},
        sample_rate_hz=data.sample_rate_hz,
        clips_left_out=dict(data.manifest.left_out),
        warnings=[*list_warnings(teacher.members), *describe_published(teacher.members), *data.manifest.notes],
        packages=installed_packages(),
        git_revision=git_revision(Path(__file__).parent),
        command=command,
        finished_at=now(),
    )
    return record, write_evaluation(runs_root / "teachers" / identity, record, rows)


def show_teacher(record: CrossCorpusRecord, place: Path) -> None:
    """Print what a teacher is worth: a row for each dimension and its mean, a column for each member."""
    console.heading(f"{record.experiment}: all of {record.corpus}, {record.clips} annotated clips of {record.speakers} speakers")
    members = list(dict.fromkeys(name.partition("/")[0] for name in record.metrics if "/" in name))
    who = [COMBINED, *members]
    console.columns(
        ["CCC", *who],
        [(name, *(_show(record.metrics.get(_name(one, f"ccc_{name}"), math.nan)) for one in who)) for name in (*DIMENSIONS, "mean")],
    )
    for text in record.warnings:
        if not text.startswith("teacher "):  # told at the start
            console.warn(text)
    if record.clips_left_out:
        console.warn(describe_left_out(record.clips_left_out))
    console.show(f"\nwritten: {place} and {place.with_suffix('.csv').name}")


def _check_members(spec: TeacherSpec) -> None:
    named = [name for name, source in spec.sources.items() if source.get("experiment") is not None]
    if named or spec.needs_validation:
        raise ConfigError(
            "A teacher that is judged by itself belongs to no fold.",
            expected="published models (path) and runs named by their folder (run), with weights that need no validation clips",
            got=", ".join(f"{name} by its experiment" for name in named)
            or f"weights={spec.weights}, calibrate={spec.calibrate}, answers={spec.answers}",
            remedy="give teacher.members.NAME.run=FOLDER"
            if named
            else "set teacher.weights=uniform teacher.calibrate=false teacher.answers=all",
        )


@torch.no_grad()
def _judge(teacher: TeacherEnsemble, data: SpeechDataModule) -> tuple[dict[str, PanelResult], list[dict[str, Any]]]:
    """Give the metrics of the combined answer and of each member, and a row for each clip."""
    names = [COMBINED, *(member.name for member in teacher.members)] if len(teacher.members) > 1 else [COMBINED]
    panels = {name: MetricPanel([], group_values=data.group_values, dimensions=True) for name in names}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: list[dict[str, Any]] = []
    with console.progress("asking the teacher") as progress:
        for batch in data.test_dataloader():
            answers = teacher.answer(batch.model_input().to(device), batch.speakers)
            said = {
                name: outputs.dimensions.float().cpu()
                for name, outputs in {COMBINED: answers.combined, **answers.members}.items()
                if outputs.dimensions is not None  # refused before
            }
            for name, panel in panels.items():
                panel.update(Outputs(dimensions=said[name]), batch)
            rows += _tell_clips(batch, {name: said[name] for name in names})
            progress(len(rows), len(data.fold.test))
    return {name: panel.compute() for name, panel in panels.items()}, rows


def _tell_clips(batch: SpeechBatch, said: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Give the columns ``truth_<dimension>``, ``prediction_<dimension>`` and those of each member; what nobody knows is empty."""
    truth = torch.full((len(batch), len(DIMENSIONS)), torch.nan) if batch.dimensions is None else batch.dimensions
    rows = []
    for row, (clip, speaker) in enumerate(zip(batch.ids, batch.speakers, strict=True)):
        told: dict[str, Any] = {"split": "all", "id": clip, "speaker": speaker}
        known = zip(DIMENSIONS, truth[row].tolist(), strict=True)
        told |= {f"truth_{name}": "" if math.isnan(value) else value for name, value in known}
        for who, values in said.items():
            prefix = "prediction" if who == COMBINED else f"{who}_prediction"
            given = zip(DIMENSIONS, values[row].tolist(), strict=True)
            told |= {f"{prefix}_{name}": "" if math.isnan(value) else value for name, value in given}
        rows.append(told)
    return rows


def _name(who: str, metric: str) -> str:
    return metric if who == COMBINED else f"{who}/{metric}"


def _show(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"
