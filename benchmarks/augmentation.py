"""What the augmentation of system 000 costs: per transform, beside torchaudio's pitch shift, and beside a training step."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torchaudio

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import SpeechBatch
from ser_kd.data.synthetic_rooms import SyntheticRooms
from ser_kd.distill.fitting import fit_statistics
from ser_kd.functional.keyed_random import derive_keys, draw_normal
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.runtime.memory import keep_freed_memory
from ser_kd.transforms.background_noise import BackgroundNoise
from ser_kd.transforms.impulse_response import ImpulseResponse
from ser_kd.transforms.pitch_shift import PitchShift
from ser_kd.transforms.random_transform import RandomTransform
from ser_kd.transforms.speed import Speed

CLIPS = 64
SAMPLES = 84_351
SAMPLE_RATE_HZ = 16_000
CLASSES = 7


def make_batch(clips: int) -> SpeechBatch:
    """Make buzzing clips with a noise floor, full width."""
    keys = derive_keys(torch.arange(clips), "benchmark")
    time_s = torch.arange(SAMPLES) / SAMPLE_RATE_HZ
    pitches_hz = torch.linspace(90.0, 250.0, clips)[:, None]
    waveforms = 0.003 * draw_normal(keys, SAMPLES)
    for partial in range(1, 12):
        waveforms += 0.1 / partial * torch.sin(2 * torch.pi * partial * pitches_hz * time_s)
    return SpeechBatch(
        ids=[f"clip{number}" for number in range(clips)],
        speakers=["speaker"] * clips,
        waveforms=waveforms,
        lengths=torch.full((clips,), SAMPLES),
        keys=keys,
    )


def measure_ms(call: Callable[[], object], rounds: int = 3) -> float:
    """Give the shortest of some rounds in milliseconds."""
    return 1e3 * measure_s(call, rounds=rounds)[0]


def measure_training_step_ms(batch: SpeechBatch) -> float:
    """Give the milliseconds of TIM-Net-60's forward and backward pass with its MFCC."""
    config = compose("train", ["corpus=demo", "student=timnet_60", "datamodule=fixed_84351"])
    student = build(config.student, classes=CLASSES)
    fit_statistics(student, [batch])
    student.train()
    inputs, classes = batch.model_input(), torch.arange(CLIPS) % CLASSES

    def step() -> None:
        student.zero_grad()
        torch.nn.functional.cross_entropy(student(inputs).logits, classes).backward()

    return measure_ms(step)


def main() -> None:
    """Measure on one core and print."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the trainings do
    batch, single = make_batch(CLIPS), make_batch(1)
    chain = build(compose("train", ["corpus=demo", "views=waveform_000"]).views).both
    print(f"{CLIPS} clips of {SAMPLES / SAMPLE_RATE_HZ:.2f} s, one core of the CPU; milliseconds per clip of the batch")
    rooms = SyntheticRooms()
    more: list[RandomTransform[SpeechBatch]] = [Speed(padding="center"), BackgroundNoise(rooms), ImpulseResponse(rooms)]
    for transform in [*chain.transforms, *more]:
        found_ms = measure_ms(functools.partial(transform, batch)) / CLIPS
        print(f"  {type(transform).__name__:<16} probability {transform.probability:g} {found_ms:8.2f}")
    whole_ms = measure_ms(functools.partial(chain, batch))
    print(f"  {'chain of 000':<32} {whole_ms / CLIPS:8.2f}")

    ours_ms = measure_ms(functools.partial(PitchShift(4.0, 4.0, 1.0, probability=1.0), single))
    theirs_ms = measure_ms(lambda: torchaudio.functional.pitch_shift(single.waveforms, SAMPLE_RATE_HZ, 4), rounds=1)
    print(f"one clip, 4 semitones up: {ours_ms:.1f} ms, torchaudio's pitch_shift {theirs_ms:.0f} ms")
    step_ms = measure_training_step_ms(batch)
    print(f"training step of TIM-Net-60 on the batch: {step_ms:.0f} ms, chain of 000: {whole_ms:.0f} ms")
    write_result(
        "augmentation",
        [
            Ratio("torchaudio's pitch_shift / PitchShift, one clip of 5.27 s, 4 semitones", theirs_ms / ours_ms, at_least=10.0),
            Ratio("chain of 000 / training step of TIM-Net-60 with its MFCC", whole_ms / step_ms),
        ],
        {
            "clips": CLIPS,
            "samples": SAMPLES,
            "threads": 1,
            "chain, ms a clip": round(whole_ms / CLIPS, 2),
            "step, ms": round(step_ms),
            "pitch shift, ms": [round(ours_ms, 1), round(theirs_ms)],
        },
    )


if __name__ == "__main__":
    main()
