"""Write a benchmark's files: JSON for ever, Markdown for people, CSV for programs, figures."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.reports.benchmark_tables import long_table, render_benchmark_markdown
from ser_kd.reports.pareto import plot_benchmark
from ser_kd.reports.pareto_costs import plot_costs
from ser_kd.reports.style import save_figure
from ser_kd.reports.tables import render_csv
from ser_kd.storage.atomic import write_text


def write_benchmark(record: BenchmarkRecord, folder: Path) -> dict[str, Path]:
    """Write all files into one folder; an earlier benchmark there is replaced file by file.

    Args:
        record: The benchmark.
        folder: Made where missing.

    Returns:
        What -> file; without figures where no system has an accuracy.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    files = {"record": folder / "benchmark.json", "Markdown": folder / "benchmark.md", "numbers": folder / "benchmark.csv"}
    write_text(files["record"], record.to_json())
    figures = {"figure": ("benchmark", plot_benchmark(record)), "costs": ("benchmark_costs", plot_costs(record))}
    for what, (name, figure) in figures.items():
        if figure is not None:
            files[what] = save_figure(figure, folder / name, ("png",))[0]
        else:
            (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier benchmark; it would be taken for this one's
    write_text(files["Markdown"], render_benchmark_markdown(record, [files[what].name for what in figures if what in files]))
    write_text(files["numbers"], render_csv(long_table(record)))
    return files
