"""The GPU benchmark, tiny and on the CPU: that all of it runs, since most machines can run none of it."""

from __future__ import annotations

import pytest

from benchmarks.gpu import Measurement, Sizes, find_peak_tflops

TINY = Sizes(clips=4, seconds=0.6, rounds=1, teachers=(("tiny", "wav2vec2_base"),), words=("scale=tiny",), compiles=False)


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    return Measurement("cpu", TINY)


def test_a_teacher_is_measured_in_both_precisions(measurement: Measurement) -> None:
    (ratio,) = measurement.measure_teacher("tiny", "wav2vec2_base")
    assert ratio.what == "tiny: answers: bf16 / fp32, clips per second"
    fp32, bf16 = (measurement.clips_per_s[f"tiny: answers, {form}"] for form in ("fp32", "bf16"))
    assert ratio.value == pytest.approx(bf16 / fp32, rel=0.05)


def test_the_student_is_measured_with_augmentation_and_teachers(measurement: Measurement) -> None:
    found = {ratio.what: ratio.value for ratio in measurement.measure_student()}
    assert found["TIM-Net-60: augmentation of system 000 / step with it"] < 1.0  # one short round on a busy machine may be below 0
    assert found["TIM-Net-60, CE + KL + RKD: step with the live tiny / from the cache"] > 0.0
    assert len(found) == 4


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H200", 989.4), ("NVIDIA H100 PCIe", 756.0), ("NVIDIA L40S", 362.1), ("NVIDIA L4", 121.0), ("Other", None)]
)
def test_the_peak_is_that_of_the_device(name: str, peak: float | None) -> None:
    assert find_peak_tflops(name) == peak
