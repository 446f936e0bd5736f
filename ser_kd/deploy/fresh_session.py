"""Load time and highest memory of a model file, measured in a process that does nothing else: ``python -m ser_kd.deploy.fresh_session``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.errors import DataError

_CALLS = 3


@dataclass(frozen=True)
class FreshSession:
    """What a new process found.

    Args:
        load_ms: From the file to a session that can answer, milliseconds.
        high_water_bytes: Highest resident memory of the process.
    """

    load_ms: float
    high_water_bytes: int


def measure_fresh_session(model: Path, samples: int, threads: int = 1) -> FreshSession:
    """Start a process that opens the model, answers three times about one clip, and tells what that took.

    Args:
        model: Model file with the inputs ``waveform`` and ``length``.
        samples: T of the clip.
        threads: Threads within an operator.

    Raises:
        DataError: If the process fails, as where memory does not suffice.
    """
    command = [sys.executable, "-m", __name__, str(model), str(samples), str(threads)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part or str(Path.cwd()) for part in sys.path)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode:
        raise DataError(
            "The model cannot be run in a process of its own.",
            expected="an answer, and memory enough for it",
            got=f"{model}: exit code {answer.returncode}: {(answer.stderr.strip().splitlines() or [''])[-1]}",
            remedy="shorten the clips (seconds=…), or free memory",
        )
    return FreshSession(**json.loads(answer.stdout.splitlines()[-1]))


def read_high_water_bytes() -> int:
    """Read the highest resident memory this process ever had.

    On Linux from ``/proc/self/status``: ``ru_maxrss`` survives an exec there, so that a small process that a large one starts would report
    the large one's memory.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(words: list[str]) -> None:
    """Open a model, answer, and print what was found as JSON.

    Args:
        words: Path, samples, threads.
    """
    from ser_kd.deploy.measured_sessions import make_waveform, open_session, session_options

    path, samples, threads = Path(words[0]), int(words[1]), int(words[2])
    inputs = make_waveform(samples)
    start = time.perf_counter()
    session = open_session(path, session_options(threads))
    load_ms = 1000.0 * (time.perf_counter() - start)
    for _ in range(_CALLS):
        session.run(None, inputs)
    print(json.dumps({"load_ms": load_ms, "high_water_bytes": read_high_water_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1:])
