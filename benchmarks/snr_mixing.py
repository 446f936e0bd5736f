"""Noise at a wanted signal-to-noise ratio on 64 clips of 3 s: ours against audiomentations and torch-audiomentations.

Ours holds the noises in memory, resampled once; audiomentations reads and resamples a stretch of a file for each clip. So two
collections are tried: files at the rate of the speech, its best case, and files at 19,980 Hz, the rate of NOISEX-92.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import SpeechBatch
from ser_kd.data.clip_bank import ClipBank
from ser_kd.functional.keyed_random import derive_keys, draw_normal
from ser_kd.runtime.memory import keep_freed_memory
from ser_kd.transforms.background_noise import BackgroundNoise

CLIPS, SECONDS, RATE_HZ, SNR_DB, NOISES, NOISE_SECONDS = 64, 3, 16_000, 10.0, 15, 60
PEERS = "'make bench' installs the peers (benchmarks/peers.txt)"


def write_noises(folder: Path, rate_hz: int) -> None:
    """Write files of noise."""
    generator = np.random.default_rng(0)
    for number in range(NOISES):
        samples = 0.1 * generator.standard_normal(rate_hz * NOISE_SECONDS)
        soundfile.write(folder / f"{number}.wav", samples.astype(np.float32), rate_hz, subtype="PCM_16")


def make_peer(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Give audiomentations' mixing of one clip.

    Raises:
        ImportError: If it is not installed.
    """
    from audiomentations import AddBackgroundNoise

    mix = AddBackgroundNoise(str(folder), SNR_DB, SNR_DB, p=1.0)
    return lambda clip: mix(clip, sample_rate=RATE_HZ)


def try_torch_peer(folder: Path, waveforms: torch.Tensor) -> str | float:
    """Give the seconds that torch-audiomentations takes, or why it does not run."""
    try:
        from torch_audiomentations import AddBackgroundNoise

        mix = AddBackgroundNoise(str(folder), SNR_DB, SNR_DB, p=1.0, sample_rate=RATE_HZ, output_type="dict")
        return measure_s(lambda: mix(waveforms[:, None], sample_rate=RATE_HZ), rounds=3)[0]
    except ImportError:
        return f"torch-audiomentations is not installed; {PEERS}"
    except Exception as fault:
        return f"torch-audiomentations does not run beside torchaudio 2.11: {type(fault).__name__}: {fault}"


def find_error_db(noisy: np.ndarray, speech: np.ndarray) -> float:
    """Give by how much a measured ratio differs from the wanted one at most."""
    levels = [np.sqrt((part.astype(np.float64) ** 2).mean(axis=1)) for part in (speech, noisy - speech)]
    return float(np.abs(20 * np.log10(levels[0] / levels[1]) - SNR_DB).max())


def main() -> None:
    """Measure on one core."""
    warnings.filterwarnings("ignore", module="audiomentations|torch_audiomentations|torchaudio")
    torch.set_num_threads(1)
    keep_freed_memory()  # as the trainings do
    keys = derive_keys(torch.arange(CLIPS), "benchmark")
    waveforms = 0.1 * draw_normal(keys, SECONDS * RATE_HZ)
    names = [str(number) for number in range(CLIPS)]
    batch = SpeechBatch(names, names, waveforms, torch.full((CLIPS,), waveforms.shape[1]), keys)
    clips = waveforms.numpy()
    ratios, left_out, sizes = [], [], {"clips": CLIPS, "seconds": SECONDS, "threads": 1}
    print(f"noise at {SNR_DB:g} dB on {CLIPS} clips of {SECONDS} s, one thread")
    for rate_hz, wanted in ((RATE_HZ, None), (19_980, 10.0)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_noises(folder, rate_hz)
            mix = BackgroundNoise(ClipBank(folder, RATE_HZ), SNR_DB, SNR_DB, probability=1.0)
            if not ratios:
                noisy = mix(batch).waveforms.numpy()
                ratios.append(Ratio("largest error of the measured ratio, dB", find_error_db(noisy, clips), at_most=0.1))
            try:
                peer = make_peer(folder)
            except ImportError:
                left_out.append(f"audiomentations is not installed; {PEERS}")
                continue
            ours_s, theirs_s = measure_s(lambda m=mix: m(batch), lambda p=peer: [p(clip) for clip in clips], rounds=7)
            print(f"  noises at {rate_hz:,} Hz: ours {1e3 * ours_s:.1f} ms, audiomentations {1e3 * theirs_s:.1f} ms")
            ratios.append(Ratio(f"audiomentations / ours, noises of {rate_hz:,} Hz", theirs_s / ours_s, at_least=wanted))
            sizes[f"{rate_hz} Hz ms"] = [round(1e3 * ours_s, 2), round(1e3 * theirs_s, 2)]
            if rate_hz == RATE_HZ:
                found = try_torch_peer(folder, waveforms)
                if isinstance(found, str):
                    left_out.append(found)
                else:
                    ratios.append(Ratio("torch-audiomentations / ours", found / ours_s))
    write_result("snr_mixing", ratios, sizes, left_out)


if __name__ == "__main__":
    main()
