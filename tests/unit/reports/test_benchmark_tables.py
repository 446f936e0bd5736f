from __future__ import annotations

import csv
import io

from fake_benchmark import STUDENT, TEACHER, make_benchmark

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.reports.benchmark_files import write_benchmark
from ser_kd.reports.benchmark_ratios import compare_systems
from ser_kd.reports.benchmark_tables import (
    engine_table,
    format_mb,
    format_ms,
    latency_table,
    long_table,
    ratio_table,
    render_benchmark_plain,
    system_table,
)
from ser_kd.reports.tables import NOTHING, render_csv


def compared() -> BenchmarkRecord:
    record = make_benchmark()
    record.ratios = compare_systems(record)
    return record


def cell(table, row, name):
    return table.rows[row][[column.name for column in table.columns].index(name)]


def test_one_row_per_system_engine_threads_and_length():
    table = latency_table(compared())
    assert [row[:4] for row in table.rows] == [
        (name, engine, "1", seconds) for name in (STUDENT, TEACHER) for seconds in ("1", "5.27") for engine in ("eager", "onnx_fp32")
    ]
    assert table.rows[0][4:] == ("3.00", "6.00", "2.00", "1.00", "2.00", "0.003", "9")


def test_without_halves_their_cells_are_empty():
    record = compared()
    record.latency = [item for item in record.latency if item.part != "network"]
    table = latency_table(record)
    assert (cell(table, 0, "front-end ms"), cell(table, 0, "network ms"), cell(table, 0, "front / net")) == ("2.00", NOTHING, NOTHING)


def test_arithmetic_is_stated_in_both_units_at_each_length():
    table = system_table(compared())
    assert cell(table, 0, "M MACs, 5.27 s") == "5.3"
    assert cell(table, 0, "M FLOPs, 5.27 s") == "10.5"
    assert (cell(table, 0, "test UA"), cell(table, 1, "test UA")) == ("0.600", NOTHING)
    assert (cell(table, 0, "weights"), cell(table, 1, "weights")) == ("trained", "random")
    assert "random weights" in " ".join(table.notes)


def test_memory_stands_beside_the_engines_that_have_it():
    table = engine_table(compared())
    assert cell(table, 0, "live MB, 1 s") == NOTHING
    assert cell(table, 1, "process MB, 1 s") == "0.0"
    assert cell(table, 3, "process MB, 5.27 s") == "1.0"


def test_ratios_only_with_a_teacher():
    record = compared()
    table = ratio_table(record)
    assert (STUDENT, "latency, network alone", "onnx_fp32", "1", "5.27", "100", "100") in table.rows
    assert not any("frontend" in row[1] for row in table.rows)
    record.ratios = [ratio for ratio in record.ratios if not ratio.teacher]
    assert ratio_table(record) is None


def test_numbers_for_programs_are_whole():
    rows = list(csv.DictReader(io.StringIO(render_csv(long_table(compared())))))
    assert len(rows) == 24
    eager, onnx = rows[0], rows[3]
    assert (eager["part"], eager["p50_ms"], eager["flops"], eager["live_bytes"]) == ("whole", "3", "2000000", "")
    assert (onnx["engine"], onnx["p50_ms"], onnx["live_bytes"], onnx["identity_bytes"]) == ("onnx_fp32", "1.5", "1000", "1000000")
    assert rows[-1]["test_ua"] == ""


def test_the_terminal_sees_everything_within_its_width():
    text = render_benchmark_plain(compared())
    assert max(map(len, text.splitlines()[:-3])) <= 140
    for told in ("Latency", "Sizes and memory", "Systems", "Teacher / student", "left out: compiled: no compiler", "cores 2"):
        assert told in text


def test_all_files_are_written_and_the_record_reads_back(tmp_path):
    record = compared()
    files = write_benchmark(record, tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "benchmark.csv",
        "benchmark.json",
        "benchmark.md",
        "benchmark.png",
        "benchmark_costs.png",
    ]
    assert BenchmarkRecord.from_json(files["record"].read_text()) == record
    text = files["Markdown"].read_text()
    assert "![accuracy against cost](benchmark.png)" in text
    assert "![accuracy against cost](benchmark_costs.png)" in text
    assert "`ser-kd benchmark runs/a`" in text
    assert "torch 2.11; revision abc" in text


def test_an_earlier_picture_goes_where_there_is_nothing_to_draw(tmp_path):
    write_benchmark(compared(), tmp_path)
    record = make_benchmark(student_ua=None)
    files = write_benchmark(record, tmp_path)
    assert "figure" not in files
    assert not list(tmp_path.glob("*.png"))
    assert "benchmark.png" not in files["Markdown"].read_text()


def test_small_and_large_numbers_keep_three_digits():
    assert [format_ms(value) for value in (0.123, 12.34, 1234.0)] == ["0.12", "12.3", "1,234"]
    assert [format_mb(size) for size in (None, 1_650_000, 380_000_000)] == [NOTHING, "1.6", "380"]
