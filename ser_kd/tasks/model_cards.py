"""Write the model card beside an export, with what was measured of its files."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.export_record import BENCHMARK, CARD, EXPORT_FOLDER, SIGN_OFF, ExportRecord
from ser_kd.reports.model_card import read_intervals, render_model_card
from ser_kd.runtime import console
from ser_kd.runtime.recording import read_record
from ser_kd.storage.atomic import write_text

FEWEST_CALLS = 5
"""Calls behind each time that a card tells."""


def write_model_card(run: Path, folder: Path) -> None:
    """Write the card of an export from the records of run, export and, where there is one, benchmark.

    Args:
        run: Run folder.
        folder: Of the export, with its sign-off.

    Raises:
        DataError: If a record is damaged, or the file cannot be written.
    """
    record = read_record(run)
    if record is None:
        raise DataError("There is no run in this folder.", expected="record.json", got=str(run), remedy="give the run's folder")
    export = ExportRecord.from_json((folder / SIGN_OFF).read_text(encoding="utf-8"), str(folder / SIGN_OFF))
    measured = folder / BENCHMARK
    benchmark = BenchmarkRecord.from_json(measured.read_text(encoding="utf-8"), str(measured)) if measured.is_file() else None
    write_text(folder / CARD, render_model_card(record, export, read_intervals(run, record), benchmark))


def tell_cards(benchmark: BenchmarkRecord, runs: list[Path]) -> None:
    """Put a benchmark's figures into the cards of the runs it measured.

    Args:
        benchmark: The benchmark.
        runs: Run folders.
    """
    fewest = min((cell.calls for cell in benchmark.latency if cell.part == "whole"), default=0)
    if fewest < FEWEST_CALLS:
        console.tell(f"no model card was changed: some times rest on {fewest} calls, a card takes {FEWEST_CALLS} or more")
        return
    for run in runs:
        folder = run / EXPORT_FOLDER
        if (folder / SIGN_OFF).is_file():
            write_text(folder / BENCHMARK, benchmark.to_json())
            write_model_card(run, folder)
            console.tell(f"latencies were added to {folder / CARD}")
