from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import FakeRun, change_record, write_run
from fake_sweeps import ALPHA, BETA, SEED, T, complete, make_sweep, write_sweep

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.sweep_record import SweptParameter
from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.content import gather_content
from ser_kd.reports.ledger import SweepEntry, find_runs
from ser_kd.reports.markdown import render_markdown_report
from ser_kd.reports.page import render_page
from ser_kd.reports.sweep_figures import plot_pair, plot_parameter
from ser_kd.reports.sweep_section import gather_sweep
from ser_kd.reports.sweep_surface import gather_points, list_axes, measure_noise, pool, select


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_trials_stand_best_first_with_what_became_of_them() -> None:
    record = make_sweep()
    record.trials[3].state, record.trials[3].value = "stopped early", math.nan
    record.trials[7].state, record.trials[7].value, record.trials[7].message = "failed", math.nan, "no memory"
    section = gather_sweep(SweepEntry(complete(record, early_terminate="hyperband"), Path("runs")), {})
    assert [column.name for column in section.table.columns][:5] == ["trial", "temperature", "alpha", "beta", "validation/ua"]
    values = [row[4] for row in section.table.rows]
    assert values[:10] == sorted(values[:10], reverse=True)
    assert values[10:] == ["—", "—"]
    assert section.table.rows[0][5] == "finished, best"
    assert [row[5] for row in section.table.rows[10:]] == ["stopped early", "failed: no memory"]
    assert "best of 10 finished trials of 12: temperature 2, alpha 0.5, beta 0 (validation/ua 0.500)" in section.headline.replace(
        "0.480", "0.500"
    )
    notes = " ".join(section.table.notes)
    assert "Each point was trained once" in notes
    assert "1 trials were stopped early (hyperband)" in notes
    assert record.best_command in notes


def test_less_may_be_better() -> None:
    record = make_sweep({BETA: [0.0, 1.0]}, metric="validation/calibration_error", maximize=False)
    section = gather_sweep(SweepEntry(record, Path("runs")), {})
    assert [row[1] for row in section.table.rows] == ["0", "1"]


def test_repeated_seeds_show_their_spread_and_no_seed_wins_alone() -> None:
    record = make_sweep({BETA: [0.0, 1.0], SEED: [0, 1, 2]})
    points = gather_points(record)
    assert [len(point.values) for point in points] == [3, 3]
    assert measure_noise(points) == (pytest.approx(0.02), 2)
    assert measure_noise(gather_points(make_sweep())) is None
    section = gather_sweep(SweepEntry(record, Path("runs")), {})
    assert "± 0.020 apart" in section.table.notes[0]
    assert "beta 1 (validation/ua 0.510, the mean of 3)" in section.headline
    assert [axis.name for axis in list_axes(record)] == [BETA]
    assert len(section.figures) == 1
    assert "repetitions" in section.figures[0].caption


def test_cells_count_what_is_behind_them() -> None:
    record = make_sweep()
    record.trials[0].state, record.trials[0].value = "running", math.nan
    points = gather_points(record)
    cell = pool(select(points, **{T: 1.0, ALPHA: 0.1}))
    assert (cell.trials, cell.unfinished, cell.std) == (1, 1, None)
    assert cell.mean == record.trials[1].value
    whole = pool(select(points, **{BETA: 1.0}))
    assert whole.trials == 6
    assert whole.mean == pytest.approx(sum(trial.value for trial in record.trials if trial.parameters[BETA] == 1.0) / 6)
    assert math.isnan(pool([]).mean)


def test_the_surface_is_drawn_over_each_parameter_and_each_pair() -> None:
    section = gather_sweep(SweepEntry(make_sweep(), Path("runs")), {})
    titles = [figure.title for figure in section.figures]
    assert titles == [
        "Over temperature", "Over alpha", "Over beta", "temperature × alpha, at each beta", "temperature × beta", "alpha × beta",
    ]  # fmt: skip
    sliced, pooled = section.figures[3].figure, section.figures[4].figure
    assert len(sliced.axes) == 2
    assert texts(sliced).count("n = 1") == 12
    assert sum(text.startswith("n = 2 ± ") for text in texts(pooled)) == 6
    assert len({figure.name for figure in section.figures}) == 6


def test_a_cell_says_what_was_cut_and_what_was_never_tried() -> None:
    record = make_sweep({T: [1.0, 2.0], ALPHA: [0.1, 0.5]})
    record.trials = record.trials[:3]
    record.trials[0].state, record.trials[0].value = "stopped early", math.nan
    figure = plot_pair(gather_points(record), record.parameters[0], record.parameters[1], "ua", True)
    assert {"no value\nn = 0 of 1", "not tried", "n = 1"} <= set(texts(figure))


def test_ranges_are_dots_on_the_files_own_axes() -> None:
    record = make_sweep({T: [1.0, 2.0, 4.0], ALPHA: [0.1, 0.5]})
    record.parameters = [SweptParameter(T, [], 1.0, 8.0, True), SweptParameter(ALPHA, [], 0.0, 1.0)]
    record.trials[5].state, record.trials[5].value = "stopped early", math.nan
    points = gather_points(record)
    (axes,) = plot_pair(points, *record.parameters, "ua", True).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert sum(line.get_marker() == "x" for line in axes.lines) == 1
    assert len(axes.texts) == 3  # the best alone are told
    (single,) = plot_parameter(points, record.parameters[0], "ua").axes
    assert single.get_xscale() == "log"
    assert len(single.lines) == 1


def test_trials_stand_apart_from_ordinary_runs(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    folder = write_run(root, FakeRun("demo/distilled", identity="aaaa", teacher="demo/teacher"))
    record = make_sweep({BETA: [0.0, 1.0]})
    record.trials[1].run = folder.relative_to(root).as_posix()
    write_sweep(root, record)
    change_record(folder, sweep="demo/small")
    write_run(root, FakeRun("demo/student", identity="bbbb"))
    ledger = find_runs(root)
    assert [board.rows[-1].experiment for board in build_boards(ledger, resamples=20)] == ["demo/student"]
    content = gather_content(ledger, resamples=20, out=tmp_path / "reports")
    assert [entry.record.experiment for entry in content.finished] == ["demo/student"]
    assert len(content.trials) == 1
    (section,) = content.sweeps
    assert section.links[0] == f"../runs/{record.trials[1].run}"
    assert section.links[1] == ""
    assert "clips alone a value" in " ".join(section.table.notes)
    for text in (render_page(content), render_markdown_report(content)):
        assert section.links[0] in text
        assert "more are trials of sweeps" in text or "1 more as trials of sweeps" in text
    assert not ledger.select(["nothing/*"]).sweeps
    assert len(ledger.select(["demo/*"]).sweeps) == 1


def test_a_damaged_sweep_is_listed(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "runs", make_sweep())
    path.write_text(path.read_text()[:99])
    (fault,) = find_runs(tmp_path / "runs").faults
    assert fault.path == "sweeps/demo-small.json"


def test_a_sweep_alone_makes_a_report(tmp_path: Path) -> None:
    write_sweep(tmp_path / "runs", make_sweep())
    content = gather_content(find_runs(tmp_path / "runs"))
    assert content.title == "sweep demo/small"
    assert "Runs: 0 finished." in render_markdown_report(content)
    with pytest.raises(ConfigError):
        gather_content(find_runs(tmp_path / "runs"), label="joy")


def test_a_sweep_without_a_finished_trial_says_so() -> None:
    record = make_sweep({BETA: [0.0, 1.0]})
    for trial in record.trials:
        trial.state, trial.value = "running", math.nan
    section = gather_sweep(SweepEntry(complete(replace(record)), Path("runs")), {})
    assert section.headline == "No trial of demo/small is finished yet."
    assert not section.figures
