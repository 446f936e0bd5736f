"""Runs the benchmarks, each in a process of its own, and draws up the table: ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import RESULTS
from ser_kd.storage.atomic import write_text

NAMES = (
    "start_up",
    "augmentation",
    "snr_mixing",
    "mfcc",
    "egemaps",
    "timnet",
    "relational",
    "teacher_cache",
    "deployment",
    "wav2small",
    "scaling",
    "gpu",
)
NEEDS_GPU = ("gpu",)
PAGE = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def main(chosen: list[str]) -> int:
    """Run and tabulate; 1 where a benchmark broke or a ratio is not as wanted, 2 where there is none of that name."""
    strangers = [name for name in chosen if name not in NAMES]
    if strangers:
        print(f"There is no benchmark '{strangers[0]}': {', '.join(NAMES)}", file=sys.stderr)
        return 2
    broken = []
    for name in chosen or NAMES:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            broken.append(name)
    write_table()
    unmet = [f"{name}: {row['what']}: {row['value']:.3g}, wanted {row['wanted']}" for name, row in list_rows() if not row["met"]]
    for line in [f"{name}: broke" for name in broken] + unmet:
        print(f"NOT MET  {line}")
    print(f"table: {PAGE}")
    return 1 if broken or unmet else 0


def list_rows() -> list[tuple[str, dict]]:
    """Give (benchmark, ratio) of all results in the order of the benchmarks."""
    files = [(name, RESULTS / f"{name}.json") for name in NAMES]
    return [(name, row) for name, path in files if path.is_file() for row in json.loads(path.read_text())["ratios"]]


def write_table() -> None:
    """Put the results into the page, between its two marks."""
    rows = ["| benchmark | ratio | measured | wanted |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {row['what']} | {row['value']:.3g} | {row['wanted']}{'' if row['met'] else ' (not met)'} |"
        for name, row in list_rows()
    ]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    write_text(PAGE, "\n".join([before + BEGIN, *rows, END + rest.partition(END)[2]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
