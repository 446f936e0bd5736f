"""How long a user waits for an answer that needs no training: ``--help``, a typo, the import; beside the import of torch and lightning."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.measuring import Ratio, measure_s, write_result

CALLS = {
    "ser-kd --help": ["-m", "ser_kd", "--help"],
    "ser-kd train --help": ["-m", "ser_kd", "train", "--help"],
    "a typo": ["-m", "ser_kd", "train", "experiments=wav_to_mfcc/studnt"],
    "import ser_kd": ["-c", "import ser_kd"],
    "python alone": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import lightning": ["-c", "import lightning"],
}


def main() -> None:
    """Measure in fresh processes, files in the cache."""

    def call(words: list[str]) -> None:
        subprocess.run([sys.executable, *words], capture_output=True, check=False, env={**os.environ, "COLUMNS": "120"})

    # the processor time of children is what counts on a shared machine
    times = measure_s(*(lambda words=words: call(words) for words in CALLS.values()), rounds=5, clock=read_children_s)
    found = dict(zip(CALLS, times, strict=True))
    for name, seconds in found.items():
        print(f"  {name:<22} {seconds:.2f} s")
    write_result(
        "start_up",
        [
            Ratio("ser-kd --help, seconds of processor time", found["ser-kd --help"], at_most=1.0),
            Ratio("ser-kd train --help, seconds of processor time", found["ser-kd train --help"], at_most=1.0),
            Ratio("a typo, seconds of processor time", found["a typo"], at_most=1.0),
            Ratio("import torch / ser-kd --help", found["import torch"] / found["ser-kd --help"]),
            Ratio("import lightning / ser-kd --help", found["import lightning"] / found["ser-kd --help"]),
        ],
        {f"{name}, s": round(seconds, 3) for name, seconds in found.items()},
    )


def read_children_s() -> float:
    """Give the processor time of all finished child processes, seconds."""
    used = os.times()
    return used.children_user + used.children_system


if __name__ == "__main__":
    main()
