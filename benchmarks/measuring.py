"""How the benchmarks measure and write down: calls take turns on one machine, so that what slows one slows the others too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd.runtime.environment import describe_hardware, git_revision, installed_packages
from ser_kd.storage.atomic import write_text

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("python", "torch", "torchaudio", "numpy")


@dataclass(frozen=True)
class Ratio:
    """One measured ratio.

    Args:
        what: What is divided by what.
        value: The ratio.
        at_least: What is wanted; None where nothing is.
        at_most: The same, from above.
    """

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        """What is wanted, in words."""
        bounds = [f"{word} {bound:g}" for word, bound in (("at least", self.at_least), ("at most", self.at_most)) if bound is not None]
        return " and ".join(bounds)

    @property
    def is_met(self) -> bool:
        """Whether it is as wanted."""
        return (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)


def measure_s(*calls: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time) -> list[float]:
    """Give the shortest of some rounds of each call, in seconds; the calls take turns, after one round that does not count.

    Args:
        calls: What is measured.
        rounds: How often.
        clock: ``time.process_time`` counts what the processor did for us; ``time.perf_counter`` what passed on the wall.
    """
    found = [float("inf")] * len(calls)
    for number in range(-1, rounds):
        for place, call in enumerate(calls):
            start = clock()
            call()
            if number >= 0:
                found[place] = min(found[place], clock() - start)
    return found


def write_result(name: str, ratios: Sequence[Ratio], sizes: Mapping[str, object], left_out: Sequence[str] = ()) -> None:
    """Print the ratios and write ``results/<name>.json``.

    Args:
        name: Of the benchmark.
        ratios: What was found.
        sizes: What it was found on: clips, seconds, threads, milliseconds.
        left_out: What could not be measured here, and why.
    """
    for ratio in ratios:
        verdict = f" (wanted: {ratio.wanted}{'' if ratio.is_met else '; NOT MET'})" if ratio.wanted else ""
        print(f"  {ratio.what}: {ratio.value:.3g}{verdict}")
    for line in left_out:
        print(f"  left out: {line}")
    packages = installed_packages()
    content = {
        "name": name,
        "ratios": [
            {"what": ratio.what, "value": float(f"{ratio.value:.4g}"), "wanted": ratio.wanted, "met": ratio.is_met} for ratio in ratios
        ],
        "sizes": dict(sizes),
        "left_out": list(left_out),
        "hardware": describe_hardware(),
        "packages": {package: packages[package] for package in PACKAGES if package in packages},
        "git_revision": git_revision(Path(__file__).parent),
    }
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
