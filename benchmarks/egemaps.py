"""eGeMAPS descriptors of clips of 3 s: files per second as training gets them, one process and two workers, against a plain opensmile loop.

From audio files to frames in the cache, and once more from the cache; the plain loop reads the same files and keeps nothing. Wall-clock
time, the shortest of two rounds that take turns. Needs the extra "opensmile".
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import Ratio, write_result
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.clip_features import ClipFeatures
from ser_kd.data.decoded_audio import decode_corpus
from ser_kd.frontends.egemaps import Egemaps
from ser_kd.storage.audio_files import read_audio, write_wav

CLIPS, SECONDS, RATE_HZ, ROUNDS = 256, 3, 16_000, 2


def write_clips(folder: Path) -> list[Utterance]:
    """Write voices of other pitches, with pauses and a floor of noise."""
    random, time_s = np.random.default_rng(0), np.arange(SECONDS * RATE_HZ) / RATE_HZ
    clips = []
    for number, pitch_hz in enumerate(np.linspace(90.0, 250.0, CLIPS)):
        phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 2 * time_s))) / RATE_HZ
        voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 0.7 * time_s + number) > -0.3)
        path = folder / f"{number:03d}.wav"
        write_wav(path, (0.1 * voice + 0.003 * random.standard_normal(len(time_s))).astype(np.float32), RATE_HZ)
        clips.append(Utterance(path.stem, path, "a"))
    return clips


def extract(clips: list[Utterance], cache: Path, workers: int) -> ClipFeatures:
    """Go the way of a training: decode into the cache, extract what is missing."""
    audio = decode_corpus(clips, RATE_HZ, cache)
    features = ClipFeatures({"egemaps_lld": Egemaps()}, workers)
    features.complete(audio, [clip.id for clip in clips], cache / "features", tell=lambda line: None)
    return features


def loop(clips: list[Utterance]) -> list[np.ndarray]:
    """Read and extract file by file, as opensmile's own pages do."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
    return [smile.process_signal(read_audio(clip.path, RATE_HZ), RATE_HZ).to_numpy() for clip in clips]


def main() -> None:
    """Measure on the wall and print."""
    if importlib.util.find_spec("opensmile") is None:
        print("  left out: everything, for opensmile is not installed")
        return
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    left_out = []
    if cores < 2 or load > cores:  # others would get what a second worker should
        left_out = [f"two workers: {cores} cores and a load of {load:.1f} before the first call"]
    names = ["plain loop", "one process", *([] if left_out else ["two workers"]), "from the cache"]
    seconds = dict.fromkeys(names, float("inf"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder)
        plain = loop(clips)  # warms up both sides
        for turn in range(ROUNDS):
            for what in names:
                start = time.perf_counter()
                if what == "plain loop":
                    loop(clips)
                else:
                    cache = folder / f"cache {turn} {'one process' if what == 'from the cache' else what}"
                    features = extract(clips, cache, workers=2 if what == "two workers" else 1)
                seconds[what] = min(seconds[what], time.perf_counter() - start)
        apart = max(
            float(np.abs(features.read(c.id)["egemaps_lld"].frames.numpy() - theirs).max()) for c, theirs in zip(clips, plain, strict=True)
        )
    rates = {what: CLIPS / spent for what, spent in seconds.items()}
    print(f"{CLIPS} clips of {SECONDS} s: " + ", ".join(f"{what} {rate:.1f} files/s" for what, rate in rates.items()))
    ratios = [
        Ratio("largest difference from opensmile's own descriptors", apart, at_most=0.0),
        Ratio("files per second: one process / plain opensmile loop", rates["one process"] / rates["plain loop"]),
        Ratio("files per second: from the cache / plain opensmile loop", rates["from the cache"] / rates["plain loop"]),
    ]
    if not left_out:
        ratios.insert(2, Ratio("files per second: two workers / one process", rates["two workers"] / rates["one process"]))
    sizes = {"clips": CLIPS, "seconds": SECONDS, "rounds": ROUNDS, "files_per_s": {what: round(rate, 1) for what, rate in rates.items()}}
    write_result("egemaps", ratios, sizes, left_out)


if __name__ == "__main__":
    main()
