"""What a cached teacher costs: an epoch of the student alone, with the live teacher, with the teacher's answers from disk.

The teacher is wav2vec 2.0 base with random weights. Wanted: at most 1.15 times the student's own epoch with logits and embeddings, at most
1.5 times with six hidden layers for a student of six layers (soft targets and the multi-level term, as system 001), and an epoch a hundred
times as fast as with the live teacher.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.interfaces import Teacher
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cached_teacher import CachedTeacher, fill_shelf
from ser_kd.distill.fitting import fit_statistics
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.functional.keyed_random import derive_keys, draw_normal
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.multi_level import MultiLevel
from ser_kd.losses.relational import RelationalAngle, RelationalDistance
from ser_kd.losses.soft_targets import SoftTargets
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.storage.tensor_shelf import TensorShelf

SAMPLE_RATE_HZ = 16_000
CLASSES = ("angry", "happy", "neutral", "sad")


def make_batch(clips: int, seconds: float) -> SpeechBatch:
    """Make a batch of noises."""
    samples = round(seconds * SAMPLE_RATE_HZ)
    keys = derive_keys(torch.arange(clips), "benchmark")
    waveforms, lengths = 0.1 * draw_normal(keys, samples), torch.full((clips,), samples)
    ids = [f"clip{row}" for row in range(clips)]
    return SpeechBatch(ids, ["speaker"] * clips, waveforms, lengths, keys, classes=torch.arange(clips) % len(CLASSES))


def make_model(*words: str) -> nn.Module:
    """Build a student of the configuration."""
    return build(compose("train", ["corpus=demo", *words]).student, classes=len(CLASSES))


def make_wav2vec2(layers: int) -> nn.Module:
    """Build wav2vec 2.0 of the base width, random, with all hidden states handed out."""
    encoder = ["weights=random", f"layers={layers}", "hidden_layers=all"]
    return make_model("student=wav2vec2_base", *(f"student.encoder.{word}" for word in encoder))


def run_epoch(student: nn.Module, objective: Objective, batch: SpeechBatch, teacher: Teacher | None) -> None:
    """Train on an epoch of one batch, without the optimizer's step."""
    answers = None if teacher is None else teacher.answer(batch.model_input(), batch.speakers, batch.ids)
    student.zero_grad()
    objective(student(batch.model_input()), batch, answers)[0].backward()


def compare(
    name: str, batch: SpeechBatch, student: nn.Module, terms: dict, kept: KeptParts, teacher: TeacherEnsemble, wanted: float, rounds: int
) -> list[Ratio]:
    """Print what the epochs of one student cost, and give their ratios."""
    student.train()
    fit_statistics(student, [batch])
    label = {"cross_entropy": {"loss": CrossEntropy()}}
    alone, distilled = Objective(label), Objective({**label, **{key: {"loss": loss} for key, loss in terms.items()}})
    with tempfile.TemporaryDirectory() as folder:
        shelf = TensorShelf(Path(folder), {"benchmark": name})
        start = time.process_time()
        fill_shelf(shelf, teacher, kept, [(batch.ids, batch.model_input())])
        live_answer_s = time.process_time() - start
        cached = CachedTeacher(teacher, kept, shelf, {(key, None): key for key in batch.ids})
        plain_s, cached_s, answer_s = measure_s(
            lambda: run_epoch(student, alone, batch, None),
            lambda: run_epoch(student, distilled, batch, cached),
            lambda: cached.answer(batch.model_input(), batch.speakers, batch.ids),
            rounds=rounds,
        )
        size = shelf.size_bytes / len(batch)
    live_s = cached_s - answer_s + live_answer_s
    print(f"{name}: {len(batch)} clips of {batch.waveforms.shape[1] / SAMPLE_RATE_HZ:g} s, {size / 1e3:.1f} kB each on disk")
    found = {"student alone": plain_s, "with the live teacher": live_s, "from the cache": cached_s, "live answers": live_answer_s}
    print(
        "  " + ", ".join(f"{what} {1e3 * seconds:.1f} ms" for what, seconds in found.items()) + f", cached answers {1e3 * answer_s:.2f} ms"
    )
    return [
        Ratio(f"{name}: epoch from the cache / student alone", cached_s / plain_s, at_most=wanted),
        Ratio(f"{name}: epoch with the live teacher / from the cache", live_s / cached_s, at_least=100.0 if wanted < 1.5 else None),
        Ratio(f"{name}: live answers / cached answers", live_answer_s / answer_s),
        Ratio(f"{name}: bytes on disk / bytes of the 16-bit audio", size / (2 * batch.waveforms.shape[1])),
    ]


def main() -> None:
    """Measure on one core and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    teacher = TeacherEnsemble([TeacherMember(make_wav2vec2(12), TeacherRecord("teacher", None, None, None, [], 0))], CLASSES)
    print("an epoch is one batch on one core of the CPU; live answers are measured while the cache is written")
    small = {"soft_targets": SoftTargets(temperature=2.0), "distance": RelationalDistance(), "angle": RelationalAngle()}
    student = make_model("student=timnet_60")
    ratios = compare("TIM-Net-60, logits and embeddings", make_batch(16, 2.0), student, small, KeptParts(), teacher, 1.15, rounds=8)
    pairs = {layer: 2 * layer for layer in range(1, 7)}
    layers = {"soft_targets": SoftTargets(temperature=7.0), "multi_level": MultiLevel(pairs)}
    kept = KeptParts(layers=tuple(pairs.values()), frames_dtype="float16")
    student = make_wav2vec2(6)
    ratios += compare("wav2vec 2.0 of six layers, six hidden layers", make_batch(8, 1.0), student, layers, kept, teacher, 1.5, rounds=2)
    write_result("teacher_cache", ratios, {"threads": 1, "TIM-Net-60": "16 clips of 2 s", "wav2vec 2.0 of six layers": "8 clips of 1 s"})


if __name__ == "__main__":
    main()
