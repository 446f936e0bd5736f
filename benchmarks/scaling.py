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

TRAININGS, EPOCHS = 4, 8
SHARED = ["logger=csv", "trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}"]


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
    seeds = f"seeds=[{','.join(map(str, range(TRAININGS)))}]"
    many = ["cross-validate", "experiments=demo/student", "folds=[0]", seeds, *SHARED]
    train = ["train", "experiments=demo/student", *SHARED]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "warm", *train, "dry_run=true")  # makes the corpus
        one_s = run(folder / "one", *many, "workers=1")
        two_s = run(folder / "two", *many, "workers=2")
        for threads in (1, 2):
            run(folder / f"threads_{threads}", *train, threads=threads)
        run(folder / "ddp", *train, "trainer=ddp", "trainer.devices=2", threads=1)
        alone_s, threaded_s, shared_s = (find_fit_s(folder / part) for part in ("threads_1", "threads_2", "ddp"))
    ratios = [
        Ratio(f"cross-validation of {TRAININGS} trainings: one worker of two threads / two workers of one", one_s / two_s),
        Ratio("one training's epochs: one process of one thread / two processes (DDP, gloo) of one", alone_s / shared_s),
        Ratio("one training's epochs: one process of two threads / two processes (DDP, gloo) of one", threaded_s / shared_s),
    ]
    seconds = {"one worker": one_s, "two workers": two_s, "one thread": alone_s, "two threads": threaded_s, "two processes": shared_s}
    write_result("scaling", ratios, {"epochs": EPOCHS, "seconds": {what: round(value, 1) for what, value in seconds.items()}})


if __name__ == "__main__":
    main()
