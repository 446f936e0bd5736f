"""39 MFCC of 64 clips of 5.27 s: ours, as it trains, against librosa; and how far the numbers come apart."""

from __future__ import annotations

import librosa
import numpy as np
import torch

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import ModelInput
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.runtime.memory import keep_freed_memory

CLIPS, SAMPLES, RATE_HZ = 64, 84_351, 16_000


def main() -> None:
    """Measure on one core."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the trainings do
    frontend = Mfcc(39).eval()
    time_s = torch.arange(SAMPLES) / RATE_HZ
    pitches_hz = torch.linspace(90.0, 250.0, CLIPS)[:, None]
    waveforms = 0.003 * torch.randn(CLIPS, SAMPLES, generator=torch.Generator().manual_seed(0))
    for partial in range(1, 12):
        waveforms += 0.1 / partial * torch.sin(2 * torch.pi * partial * pitches_hz * time_s)
    inputs = ModelInput(waveforms, torch.full((CLIPS,), SAMPLES))
    clips = waveforms.numpy()

    def theirs() -> np.ndarray:
        return np.stack([librosa.feature.mfcc(y=clip, sr=RATE_HZ, n_mfcc=39, n_fft=2048, hop_length=512, n_mels=128).T for clip in clips])

    with torch.no_grad():
        found = frontend(inputs).frames.numpy()
    expected = theirs()
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    with torch.no_grad():
        ours_s, theirs_s = measure_s(lambda: frontend(inputs), theirs, rounds=5)
    print(f"39 MFCC of {CLIPS} clips of {SAMPLES / RATE_HZ:.2f} s, one thread: ours {1e3 * ours_s:.0f} ms, librosa {1e3 * theirs_s:.0f} ms")
    write_result(
        "mfcc",
        [Ratio("librosa / ours", theirs_s / ours_s), Ratio("largest difference / largest coefficient", float(apart), at_most=1e-3)],
        {"clips": CLIPS, "samples": SAMPLES, "threads": 1, "ms": [round(1e3 * ours_s, 1), round(1e3 * theirs_s, 1)]},
    )


if __name__ == "__main__":
    main()
