"""Throughput on a GPU: teachers and student, bfloat16 or float32, compiled or not; what augmentation and a live teacher cost beside them.

Weights are random: they change no time. Without a CUDA device nothing is measured and nothing is written.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.measuring import Ratio, measure_s, write_result
from benchmarks.teacher_cache import CLASSES, make_batch, make_model
from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.interfaces import Teacher
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cached_teacher import CachedTeacher, fill_shelf
from ser_kd.distill.fitting import fit_statistics
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.relational import RelationalAngle, RelationalDistance
from ser_kd.losses.soft_targets import SoftTargets
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.storage.tensor_shelf import TensorShelf

PEAKS_TFLOPS = {"H200": 989.4, "H100 PCIe": 756.0, "H100": 989.4, "A100": 311.8, "L40S": 362.1, "L4": 121.0, "A10": 125.0}
"""Dense bfloat16 matrix products by NVIDIA's data sheets, in TFLOP/s; the longest name that a device's name holds counts."""

TEACHERS = {"wav2vec 2.0 base": "wav2vec2_base", "wav2vec 2.0 large": "wav2vec2_large_robust"}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        clips: Clips of a batch.
        seconds: Of each.
        rounds: The shortest counts.
        teachers: Encoders of ``conf/encoder`` by name.
        words: Further words of the configuration.
        compiles: Whether compiled forms are measured too.
    """

    clips: int = 64
    seconds: float = 5.27
    rounds: int = 10
    teachers: tuple[tuple[str, str], ...] = tuple(TEACHERS.items())
    words: tuple[str, ...] = ()
    compiles: bool = True


def find_peak_tflops(name: str) -> float | None:
    """Give a device's bfloat16 peak; None where it is not known."""
    held = [known for known in PEAKS_TFLOPS if known in name]
    return PEAKS_TFLOPS[max(held, key=len)] if held else None


class Measurement:
    """Measures on one device.

    Args:
        device: ``cuda``; ``cpu`` serves the tests.
        sizes: How much.
    """

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device = torch.device(device)
        self.sizes = sizes
        self.batch = make_batch(sizes.clips, sizes.seconds).to(self.device)
        self.clips_per_s: dict[str, float] = {}

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def time_s(self, *calls: Callable[[], object]) -> list[float]:
        """Give the seconds of each call on the wall, the device's work included."""

        def wait_for(call: Callable[[], object]) -> None:
            call()
            self.wait()

        return measure_s(*(functools.partial(wait_for, call) for call in calls), rounds=self.sizes.rounds, clock=time.perf_counter)

    def time_forms(self, what: str, make: Callable[[bool, bool], Callable[[], object]]) -> dict[str, float]:
        """Give the seconds of a call's forms by name; ``make`` gives one of (whether bfloat16, whether compiled)."""
        kinds = [(wide, whole) for whole in (False, True) for wide in (False, True) if self.sizes.compiles or not whole]
        names = [("bf16" if wide else "fp32") + (" compiled" if whole else "") for wide, whole in kinds]
        times = dict(zip(names, self.time_s(*(make(wide, whole) for wide, whole in kinds)), strict=True))
        for name, seconds in times.items():
            self.clips_per_s[f"{what}, {name}"] = round(len(self.batch) / seconds, 1)
        return times

    def make_teacher(self, encoder: str) -> nn.Module:
        """Build a teacher with random weights, in evaluation mode."""
        words = ["student=wav2vec2_base", f"encoder@student.encoder={encoder}", "student.encoder.weights=random", *self.sizes.words]
        return make_model(*words).to(self.device).eval()

    def measure_teacher(self, name: str, encoder: str) -> list[Ratio]:
        """Measure a teacher's answers: forms beside each other, and the share of the device's peak."""
        model = self.make_teacher(encoder)
        inputs = self.batch.model_input()
        operations = 2 * count_multiply_accumulates(model, inputs)

        def make(wide: bool, whole: bool) -> Callable[[], object]:
            asked = torch.compile(model) if whole else model

            def answer() -> None:
                with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=wide):
                    asked(inputs)

            return answer

        times = self.time_forms(f"{name}: answers", make)
        ratios = _compare_forms(f"{name}: answers", times)
        peak = find_peak_tflops(torch.cuda.get_device_name()) if self.device.type == "cuda" else None
        if peak is not None:
            best = min(seconds for form, seconds in times.items() if form.startswith("bf16"))
            ratios.append(Ratio(f"{name}: answers in bf16 / the device's bf16 peak ({peak:g} TFLOP/s)", operations / best / peak / 1e12))
        return ratios

    def measure_student(self) -> list[Ratio]:
        """Measure TIM-Net-60's training step: forms, the share of the augmentation, and a live teacher beside a cached one."""
        student = make_model("student=timnet_60").to(self.device)
        fit_statistics(student, [self.batch])
        student.train()
        plain = Objective({"cross_entropy": {"loss": CrossEntropy()}})

        def make(wide: bool, whole: bool) -> Callable[[], object]:
            asked = torch.compile(student) if whole else student
            return lambda: self._step(asked, student, plain, self.batch, wide)

        ratios = _compare_forms("TIM-Net-60: training step", self.time_forms("TIM-Net-60: training step", make))
        chain = build(compose("train", ["corpus=demo", "views=waveform_000"]).views).both
        alone_s, heard_s = self.time_s(
            lambda: self._step(student, student, plain, self.batch, True),
            lambda: self._step(student, student, plain, chain(self.batch), True),
        )
        ratios.append(Ratio("TIM-Net-60: augmentation of system 000 / step with it", 1.0 - alone_s / heard_s))
        return ratios + self._compare_teachers(student)

    def _compare_teachers(self, student: nn.Module) -> list[Ratio]:
        name, encoder = self.sizes.teachers[0]
        teacher = TeacherEnsemble([TeacherMember(self.make_teacher(encoder), TeacherRecord("teacher", None, None, None, [], 0))], CLASSES)
        alone = Objective({"cross_entropy": {"loss": CrossEntropy()}})
        terms = {"soft_targets": SoftTargets(temperature=2.0), "distance": RelationalDistance(), "angle": RelationalAngle()}
        distilled = Objective({"cross_entropy": {"loss": CrossEntropy()}, **{key: {"loss": loss} for key, loss in terms.items()}})
        kept, batch = KeptParts(), self.batch
        with tempfile.TemporaryDirectory() as folder:
            shelf = TensorShelf(Path(folder), {"benchmark": "gpu"})
            fill_shelf(shelf, teacher, kept, [(batch.ids, batch.model_input())])
            cached = CachedTeacher(teacher, kept, shelf, {(key, None): key for key in batch.ids})
            alone_s, cached_s, live_s = self.time_s(
                lambda: self._step(student, student, alone, batch, True),
                lambda: self._step(student, student, distilled, batch, True, cached),
                lambda: self._step(student, student, distilled, batch, True, teacher),
            )
        return [
            Ratio(f"TIM-Net-60, CE + KL + RKD: step with the live {name} / from the cache", live_s / cached_s),
            Ratio("TIM-Net-60: step with CE + KL + RKD from the cache / CE alone", cached_s / alone_s),
        ]

    def _step(
        self, asked: Callable, student: nn.Module, objective: Objective, batch: SpeechBatch, wide: bool, teacher: Teacher | None = None
    ) -> None:
        """Do a forward and a backward pass."""
        inputs = batch.model_input()
        student.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=wide):
            answers = None if teacher is None else teacher.answer(inputs, batch.speakers, batch.ids)
            loss = objective(asked(inputs), batch, answers)[0]
        loss.backward()


def _compare_forms(what: str, times: Mapping[str, float]) -> list[Ratio]:
    """Divide each form's throughput by that of fp32, not compiled."""
    return [Ratio(f"{what}: {form} / fp32, clips per second", times["fp32"] / seconds) for form, seconds in times.items() if form != "fp32"]


def main() -> None:
    """Measure and print, where there is a CUDA device."""
    if not torch.cuda.is_available():
        print("  left out: everything, for there is no CUDA device")
        return
    sizes = Sizes()
    measurement = Measurement("cuda", sizes)
    ratios = [ratio for name, encoder in sizes.teachers for ratio in measurement.measure_teacher(name, encoder)]
    ratios += measurement.measure_student()
    shown = {
        "clips": f"{sizes.clips} of {sizes.seconds:g} s",
        "device": torch.cuda.get_device_name(),
        "clips per second": measurement.clips_per_s,
    }
    write_result("gpu", ratios, shown)


if __name__ == "__main__":
    main()
