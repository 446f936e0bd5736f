"""Run folders as training leaves them, made in milliseconds from a seed."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser_kd.contracts.records import ProtocolRecord, RunRecord, TeacherRecord
from ser_kd.reports.confusion_metrics import METRICS

EMOTIONS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
STUDENT = {"trainable": 241_395, "total": 245_235}
TEACHER = {"trainable": 11_172_423, "total": 11_182_031}


@dataclass(frozen=True)
class FakeRun:
    """What distinguishes one fake run; everything else is realistic and constant."""

    experiment: str = "wav_to_mfcc/student"
    skill: float = 0.55
    fold: int = 0
    seed: int = 0
    identity: str = "4f1c09ab"
    fingerprint: str = "d3m0a71c"
    corpus: str = "demo"
    protocol: str = "demo_sessions5"
    selection: str = "validation"
    validation: str = "next_fold"
    status: str = "finished"
    parameters: tuple[tuple[str, int], ...] = tuple(STUDENT.items())
    teacher: str | None = None
    test_speakers: tuple[str, ...] = ("f01", "m01")
    clips_per_class: int = 6
    classes: tuple[str, ...] = EMOTIONS
    warnings: tuple[str, ...] = ()
    failure: str = ""


@functools.lru_cache(maxsize=256)
def make_predictions(run: FakeRun) -> pd.DataFrame:
    """Answers of a classifier of the given skill; hard classes and hard speakers are the same for every system of a fold."""
    hard = np.random.default_rng([run.fold, 7])
    class_ease = hard.uniform(-0.25, 0.2, len(run.classes))
    clip_luck = hard.random((3, len(run.test_speakers) * len(run.classes) * run.clips_per_class))
    generator = np.random.default_rng([run.fold, run.seed, int(1000 * run.skill)])
    rows = []
    for split in ("validation", "test"):
        number = 0
        for place, speaker in enumerate(run.test_speakers):
            voice = hard.uniform(-0.08, 0.08)
            for truth in range(len(run.classes)):
                for take in range(run.clips_per_class):
                    chance = np.clip(run.skill + class_ease[truth] + voice + (0.05 if take % 2 else -0.05), 0.03, 0.98)
                    luck = 0.6 * clip_luck[0, number] + 0.4 * generator.random()
                    near = (truth + 1 + int(clip_luck[1, number] > 0.6)) % len(run.classes)
                    answer = truth if luck < chance else near if clip_luck[2, number] < 0.7 else int(generator.integers(len(run.classes)))
                    scores = generator.normal(0, 0.7, len(run.classes))
                    scores[answer] = scores.max() + generator.exponential(1.4)
                    shares = np.exp(scores) / np.exp(scores).sum()
                    name = f"{speaker}_{run.classes[truth]}_{take:02d}"
                    row = {"split": split, "id": name, "speaker": speaker, "truth": run.classes[truth], "prediction": run.classes[answer]}
                    row |= {f"probability_{label}": f"{share:.5f}" for label, share in zip(run.classes, shares, strict=True)}
                    row |= {"group_gender": "female" if place % 2 == 0 else "male", "group_intensity": "strong" if take % 2 else "normal"}
                    rows.append(row)
                    number += 1
    return pd.DataFrame(rows)


def count(frame: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    for truth, prediction in zip(frame["truth"], frame["prediction"], strict=True):
        matrix[classes.index(truth), classes.index(prediction)] += 1
    return matrix


def make_record(run: FakeRun, predictions: pd.DataFrame) -> RunRecord:
    test = predictions[predictions["split"] == "test"]
    confusion = count(test, run.classes)
    metrics = {f"test/{name}": float(metric(confusion)) for name, metric in METRICS.items()}
    metrics["validation/ua"] = metrics["test/ua"] - 0.02 + 0.01 * run.fold
    metrics["test/calibration_error"] = 0.08
    for group in ("gender", "intensity"):
        for value, part in test.groupby(f"group_{group}"):
            metrics[f"test/ua_{group}={value}"] = float(METRICS["ua"](count(part, run.classes)))
    teachers = []
    teacher_confusion: dict[str, list[list[int]]] = {}
    if run.teacher:
        metrics["test/teacher_agreement"] = 0.71
        teachers.append(TeacherRecord("resnet", run.teacher, None, run.fingerprint, ["f02", "m02"], TEACHER["total"], {"test/ua": 0.74}))
        taught = count(make_predictions(replace(run, skill=0.75))[lambda frame: frame["split"] == "test"], run.classes)
        teacher_confusion = {"test": taught.tolist()}
    speakers = {
        "train": [f"{sex}{n:02d}" for n in (3, 4, 5) for sex in "fm"],
        "validation": ["f02", "m02"],
        "test": list(run.test_speakers),
    }
    class_counts = {"train": [36] * len(run.classes), "validation": [12] * len(run.classes), "test": confusion.sum(1).tolist()}
    return RunRecord(
        experiment=run.experiment,
        identity=run.identity,
        status=run.status,
        seed=run.seed,
        corpus=run.corpus,
        protocol=ProtocolRecord(
            name=run.protocol,
            fingerprint=run.fingerprint,
            fold=run.fold,
            folds=5,
            validation=run.validation,
            selection=run.selection,
            label_set="merge7",
            classes=list(run.classes),
            counts={name: sum(counts) for name, counts in class_counts.items()},
            speakers=speakers,
            class_counts=class_counts,
            warnings=list(run.warnings),
        ),
        metrics=metrics if run.status == "finished" else {},
        confusion={"test": confusion.tolist()} if run.status == "finished" else {},
        teacher_confusion=teacher_confusion if run.status == "finished" else {},
        teachers=teachers,
        parameters=dict(run.parameters),
        multiply_accumulates=41_300_000,
        input_samples=84_351,
        epochs={"run": 30, "best": 22, "planned": 40},
        timings={"fit_s": 61.4, "test_s": 1.2, "epoch_s": 2.05},
        objective={"alpha": 0.5, "temperature": 4.0, "terms": ["cross_entropy", "soft_targets"]}
        if run.teacher
        else {"terms": ["cross_entropy"]},
        clips_left_out={"f03_sad_07": "empty audio"},
        packages={"torch": "2.11.0", "lightning": "2.6.6", "numpy": "2.4.6", "transformers": "5.23.0"},
        hardware={"processor": "2 cores, x86-64", "memory": "16 GB", "accelerator": "none"},
        git_revision="3fd0c2a9be1147+changes",
        command=f"ser-kd train experiments={run.experiment} corpus={run.corpus} fold={run.fold} seed={run.seed}",
        started_at="2026-11-22T05:41:07+00:00",
        finished_at="2026-11-22T05:42:11+00:00" if run.status != "running" else "",
        notes=["stopped early after epoch 30"],
        failure=run.failure,
    )


@functools.lru_cache(maxsize=256)
def make_curves(run: FakeRun) -> pd.DataFrame:
    """Sparse rows as Lightning's CSV logger writes them: training steps and validation apart."""
    generator = np.random.default_rng([run.fold, run.seed, 3])
    rows = []
    for epoch in range(30):
        decay = np.exp(-epoch / 9)
        for step in range(2):
            parts = {"train/cross_entropy": 0.35 + 1.6 * decay + generator.normal(0, 0.03)}
            if run.teacher:
                parts["train/soft_targets"] = 0.2 + 0.9 * decay + generator.normal(0, 0.02)
            rows.append(
                {"epoch": epoch, "step": 2 * epoch + step, "train/loss": sum(parts.values()) / len(parts), **parts, "learning_rate": 1e-3}
            )
        ua = run.skill * (1 - 0.8 * decay) + generator.normal(0, 0.015)
        rows.append(
            {"epoch": epoch, "step": 2 * epoch + 1, "validation/loss": 0.9 + decay + generator.normal(0, 0.02), "validation/ua": ua}
        )
    # the chosen checkpoint, judged after training
    rows.append({"epoch": 30, "step": 60, "validation/loss": 9.0, "validation/ua": 0.01})
    rows.append({"epoch": 30, "step": 60, "test/ua": 0.5})
    return pd.DataFrame(rows)


def write_run(root: Path, run: FakeRun) -> Path:
    """Write one run folder and give its path."""
    folder = root / run.experiment / run.identity / f"fold={run.fold}" / f"seed={run.seed}"
    (folder / "logs").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"fold: {run.fold}\n")
    predictions = make_predictions(run)
    (folder / "record.json").write_text(make_record(run, predictions).to_json())
    if run.status == "finished":
        predictions.to_csv(folder / "predictions.csv", index=False)
        make_curves(run).to_csv(folder / "logs" / "metrics.csv", index=False)
    return folder


def change_record(folder: Path, **changes: object) -> None:
    """Overwrite top-level keys of a written record."""
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


TRIO = (
    FakeRun("wav_to_mfcc/teacher_scratch", 0.76, identity="a1b2c3d4", parameters=tuple(TEACHER.items())),
    FakeRun("wav_to_mfcc/student", 0.58),
    FakeRun("wav_to_mfcc/ce_kl", 0.68, identity="77e0d1f2", teacher="wav_to_mfcc/teacher_scratch"),
)
"""A teacher, a student alone and a distilled student on one fold of the demo corpus."""
