"""What a second process gives on two cores: two workers of a cross-validation against one, and one training shared by two processes.

All on the demo corpus (the extra "demo"), in runs folders that are thrown away.
Wall-clock time of whole trainings, once each: nothing else should run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Ratio, write_result

TRAININGS = 4
EPOCHS = {"demo/student": 8, "demo/teacher": 2}
"""TIM-Net of 12 filters, with many small batch normalisations, and a spectrogram ResNet."""


def run(runs: Path, *words: str, threads: int | None = None) -> float:
    """Call ``ser-kd`` and give its seconds on the wall.

    Raises:
        RuntimeError: With what it printed, if it failed.
    """
    environment = {**os.environ, "SER_KD_RUNS": str(runs), **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "ser_kd", *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ser-kd {' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


def find_fit_s(runs: Path) -> float:
    """Give the seconds that the one training in a runs folder spent on its epochs."""
    (path,) = runs.rglob("record.json")
    return float(json.loads(path.read_text())["timings"]["fit_s"])


def main() -> None:
    """Measure on two cores and print."""
    if len(os.sched_getaffinity(0)) < 2:
        print("  left out: everything, for there is one core")
        return
    seconds: dict[str, float] = {}
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "warm", "train", *choose("demo/student"), "dry_run=true")  # makes the corpus
        many = ["cross-validate", *choose("demo/student"), "folds=[0]", f"seeds=[{','.join(map(str, range(TRAININGS)))}]"]
        for workers in (1, 2):
            seconds[f"{TRAININGS} trainings, workers={workers}"] = run(folder / f"workers_{workers}", *many, f"workers={workers}")
        one_s, two_s = seconds.values()
        ratios.append(Ratio(f"cross-validation of {TRAININGS} trainings: one worker of two threads / two workers of one", one_s / two_s))
        for experiment in EPOCHS:
            found = time_forms(experiment, folder / experiment)
            seconds |= {f"{experiment}, {form}": value for form, value in found.items()}
            for form in ("two processes", "two processes, own statistics"):
                ratios.append(Ratio(f"{experiment}, epochs: one thread / {form}", found["one thread"] / found[form]))
            ratios.append(Ratio(f"{experiment}, epochs: one thread / two threads", found["one thread"] / found["two threads"]))
    write_result("scaling", ratios, {"epochs": EPOCHS, "seconds": {what: round(value, 1) for what, value in seconds.items()}})


def choose(experiment: str) -> list[str]:
    """Give the words of a training."""
    return [f"experiments={experiment}", "logger=csv", "trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS[experiment]}"]


def time_forms(experiment: str, folder: Path) -> dict[str, float]:
    """Give the seconds of one training's epochs: in one process, and shared by two (DDP, gloo) of one thread each."""
    shared = ["trainer=ddp", "trainer.devices=2"]
    forms: dict[str, tuple[int, list[str]]] = {
        "one thread": (1, []),
        "two threads": (2, []),
        "two processes": (1, shared),
        "two processes, own statistics": (1, [*shared, "trainer.sync_batchnorm=false"]),
    }
    for form, (threads, words) in forms.items():
        run(folder / form, "train", *choose(experiment), *words, threads=threads)
    return {form: find_fit_s(folder / form) for form in forms}


if __name__ == "__main__":
    main()
