"""Write a benchmark's files: JSON for ever, Markdown for people, CSV for programs, a figure."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.reports.benchmark_tables import long_table, render_benchmark_markdown
from ser_kd.reports.pareto import plot_benchmark
from ser_kd.reports.style import save_figure
from ser_kd.reports.tables import render_csv
from ser_kd.storage.atomic import write_text


def write_benchmark(record: BenchmarkRecord, folder: Path) -> dict[str, Path]:
    """Write all files into one folder; an earlier benchmark there is replaced file by file.

    Args:
        record: The benchmark.
        folder: Made where missing.

    Returns:
        What -> file; without a figure where no system has an accuracy.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    files = {"record": folder / "benchmark.json", "Markdown": folder / "benchmark.md", "numbers": folder / "benchmark.csv"}
    write_text(files["record"], record.to_json())
    figure = plot_benchmark(record)
    if figure is not None:
        files["figure"] = save_figure(figure, folder / "benchmark", ("png",))[0]
    else:
        (folder / "benchmark.png").unlink(missing_ok=True)  # of an earlier benchmark; it would be taken for this one's
    write_text(files["Markdown"], render_benchmark_markdown(record, "" if figure is None else files["figure"].name))
    write_text(files["numbers"], render_csv(long_table(record)))
    return files
