from __future__ import annotations

from itertools import combinations

from fake_benchmark import STUDENT, TEACHER, make_benchmark
from matplotlib.text import Annotation, Text

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.reports.benchmark_tables import long_table, system_table
from ser_kd.reports.pareto import plot_benchmark
from ser_kd.reports.pareto_costs import plot_costs


def make_dimensional() -> BenchmarkRecord:
    """Both systems learned dimensions; the student's int8-like second engine has a score of its own."""
    record = make_benchmark(student_ua=None)
    record.find_system(STUDENT).test_ccc = 0.52
    record.find_system(TEACHER).test_ccc = 0.61
    engine = record.find_engine(STUDENT, "onnx_fp32")
    assert engine is not None
    engine.test_ccc = 0.51
    return record


def test_three_panels_with_what_was_measured():
    figure = plot_costs(make_dimensional())
    assert figure is not None
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == ["size", "latency", "memory above an idle runtime"]
    assert all(axes.get_ylabel() == "test CCC" for axes in figure.axes)
    drawn = [sorted(tuple(round(float(v), 3) for v in item.get_offsets()[0]) for item in axes.collections) for axes in figure.axes]
    assert drawn[0] == [(1.0, 0.51), (1.0, 0.52), (100.0, 0.61), (100.0, 0.61)]
    assert drawn[1] == [(7.905, 0.51), (15.81, 0.52), (790.5, 0.61), (1581.0, 0.61)]
    assert drawn[2] == [(0.01, 0.51), (1.0, 0.61)]  # torch has no process of its own
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["eager", "ONNX fp32"]


def test_labels_stand_apart():
    figure = plot_costs(make_dimensional())
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = [Text.get_window_extent(text) for text in axes.texts if isinstance(text, Annotation)]
        assert boxes
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_folds_of_one_configuration_are_one_point():
    record = make_dimensional()
    for system, fold in ((STUDENT, 0), (TEACHER, 1)):
        told = record.find_system(system)
        told.experiment, told.identity, told.fold, told.role = "p/a", "same", fold, "student"
    figure = plot_costs(record)
    drawn = [sorted(tuple(round(float(v), 3) for v in item.get_offsets()[0]) for item in axes.collections) for axes in figure.axes]
    assert drawn[0] == [(50.5, 0.56), (50.5, 0.565)]
    assert [text.get_text() for text in figure.axes[0].texts] == ["a"] * 2
    assert "each point the mean of 2 runs" in figure.texts[0].get_text()
    record.find_system(TEACHER).identity = "another"
    assert len(plot_costs(record).axes[0].collections) == 4


def test_recall_goes_before_concordance_and_one_point_is_no_figure():
    record = make_dimensional()
    record.find_system(STUDENT).test_ua = 0.6
    assert plot_costs(record).axes[0].get_ylabel() == "test UA"
    assert plot_costs(make_benchmark(student_ua=None)) is None
    record = make_benchmark()
    record.latency = [cell for cell in record.latency if cell.engine == "eager"]
    assert plot_costs(record) is None


def test_latency_alone_and_tables_know_concordance_too():
    figure = plot_benchmark(make_dimensional())
    assert figure.axes[0].get_ylabel() == "test CCC"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        f"{STUDENT} (CCC 0.510 to 0.520)", f"{TEACHER} (CCC 0.610)"
    ]  # fmt: skip
    heads = [column.name for column in system_table(make_dimensional()).columns]
    assert heads[3:5] == ["test CCC", "trainable"]
    both = make_dimensional()
    both.find_system(STUDENT).test_ua = 0.6
    assert [column.name for column in system_table(both).columns][3:5] == ["test UA", "test CCC"]
    assert "test CCC" not in [column.name for column in system_table(make_benchmark()).columns]
    rows = long_table(make_dimensional())
    assert {row[-1] for row in rows.rows} == {"0.52", "0.61"}
