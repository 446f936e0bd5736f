"""``ser-kd benchmark SYSTEM … [KEY=VALUE …]``: what models cost when they answer: latency, memory, sizes, one beside another.

A SYSTEM is a finished run's folder, a model file (.onnx), or an experiment, which is measured with random weights: latency does not depend
on them. Calls of all systems and engines take turns, so that a noisy machine hits all alike; clips are noise, one at a time.

keys:
  teacher=SYSTEM       one more system; the others are compared with it (none)
  seconds=1,3,5.27,10  lengths of the clips
  threads=1,all        threads within an operator; all is every core
  engines=NAME,…       eager, compiled, onnx_fp32, onnx_int8, eager_cuda, onnx_fp32_cuda, onnx_fp16_cuda (all that can be had);
                       compiling takes minutes per model and thread count
  rounds=20            rounds in which calls take turns, at most
  budget=5             seconds per call and setting, about; slow calls take part in fewer rounds, five at least
  scale=paper          sizes of experiments with random weights: an option of conf/scale
  out=FOLDER           where benchmark.json, .md, .csv and .png go (reports)
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.runtime import console
from ser_kd.tasks.benchmark_words import BenchmarkArguments, read_benchmark_words


def run(arguments: list[str]) -> int:
    """Measure, print the tables and write the files.

    Args:
        arguments: Systems and ``key=value`` words.

    Returns:
        0; faults of the user's are raised.
    """
    asked = read_benchmark_words(arguments)
    record = make_record(asked, shlex.join(["ser-kd", "benchmark", *arguments]))
    from ser_kd.reports.benchmark_files import write_benchmark
    from ser_kd.reports.benchmark_tables import render_benchmark_plain
    from ser_kd.tasks.model_cards import tell_cards

    files = write_benchmark(record, asked.out)
    tell_cards(record, [Path(system.source) for system in record.systems if system.kind == "run"])
    console.show(render_benchmark_plain(record))
    console.show("\n".join(f"{name:<9} {path}" for name, path in files.items()))
    return 0


def make_record(asked: BenchmarkArguments, command: str) -> BenchmarkRecord:
    """Measure what was asked for.

    Args:
        asked: Systems, engines, lengths, threads.
        command: Command line that makes it again.

    Raises:
        ConfigError: If a system is nothing that can be measured.
        DataError: If a run or file is missing or not ours, or nothing can be measured.
    """
    # late: torch takes seconds to import, and a typo should be told at once
    from ser_kd.reports.benchmark_ratios import compare_systems
    from ser_kd.runtime.environment import git_revision, installed_packages
    from ser_kd.runtime.recording import now
    from ser_kd.tasks.benchmark_grid import measure_grid
    from ser_kd.tasks.benchmark_systems import find_systems

    systems = find_systems(asked.names, asked.teacher, asked.scale)
    started, hardware = now(), _describe_machine()
    found = measure_grid(systems, asked)
    record = BenchmarkRecord(
        systems=[system.record for system in systems],
        costs=found.costs,
        engines=found.engines,
        memory=found.memory,
        latency=found.latency,
        ratios=[],
        left_out=found.left_out,
        seconds=list(asked.seconds),
        threads=list(asked.threads),
        rounds=asked.rounds,
        budget_s=asked.budget_s,
        hardware=hardware,
        packages=installed_packages(),
        git_revision=git_revision(Path(__file__).parent),
        command=command,
        started_at=started,
        finished_at=now(),
    )
    record.ratios = compare_systems(record)
    return record


def _describe_machine() -> dict[str, str]:
    from ser_kd.runtime.environment import describe_hardware

    hardware = describe_hardware()
    del hardware["threads"]  # of this process before it measured; those of the measurement stand beside each time
    if hasattr(os, "getloadavg"):
        hardware["load_average"] = f"{os.getloadavg()[0]:.1f} before it began"
    return hardware
