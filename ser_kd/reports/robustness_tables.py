"""Tables of robustness: systems over ratios, ratios over noises as papers print them, drops per step, who passes the teacher."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.robustness_record import CLEAN, Key
from ser_kd.reports.published import PublishedFigure, read_published
from ser_kd.reports.robustness_crossing import find_passing, measure_drops
from ser_kd.reports.robustness_differences import find_differences
from ser_kd.reports.robustness_systems import RobustnessBoard, RobustSystem
from ser_kd.reports.tables import NOTHING, Column, Table, format_p, format_points, format_share, render_plain

LONG_COLUMNS = (
    "system", "role", "experiment", "identity", "kind", "precision", "enhancement", "fold", "seed", "corpus", "protocol", "fingerprint",
    "noise_corpus", "noise", "heard_in_training", "snr_db", "level", "clips", "ua", "wa", "f1_macro", "f1_weighted", "ua_low", "ua_high",
    "wa_low", "wa_high", "interval_unit", "interval_units",
)  # fmt: skip

_PUBLISHED = re.compile(r"robustness/ua_noise=(?P<noise>.+?)_(?:snr=(?P<ratio>-?\d+(?:\.\d+)?)|(?P<mean>mean(?:_printed)?))")
_PAPER_RATIOS = (20.0, 15.0, 10.0, 5.0, 0.0)
"""Those over which papers average."""

_MOST_PAIRED = 5
"""Systems up to which a terminal shows all pairs; files always do."""


def write_long(boards: Sequence[RobustnessBoard]) -> str:
    """Write one row per system and condition, pooled (fold and seed ``all``, with intervals by speaker), then one per run, as CSV."""
    target = io.StringIO()
    writer = csv.DictWriter(target, LONG_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for system in board.systems:
            for key, told in system.intervals.items():
                row = _name_row(board, system, key)
                clips = len({name for answers in system.answers[key] for name in answers.ids})
                values = {name: f"{interval.value:.6f}" for name, interval in told.items()}
                ends = {f"{name}_{end}": f"{getattr(told[name], end):.6f}" for name in ("ua", "wa") for end in ("low", "high")}
                unit = {"interval_unit": told["ua"].unit, "interval_units": told["ua"].units}
                writer.writerow({**row, "fold": "all", "seed": "all", "clips": clips, **values, **ends, **unit})
            for record in system.records:
                for condition in record.conditions:
                    row = {**_name_row(board, system, condition.key), "fold": record.fold, "seed": record.seed}
                    values = {name: f"{value:.6f}" for name, value in condition.metrics.items() if name in LONG_COLUMNS}
                    writer.writerow({**row, "clips": sum(index >= 0 for index in record.truth), **values})
    return target.getvalue()


def _name_row(board: RobustnessBoard, system: RobustSystem, key: Key) -> dict[str, object]:
    first = system.first
    noise, ratio = key
    return {
        "system": system.name, "role": system.role, "experiment": first.experiment, "identity": first.identity, "kind": first.kind,
        "precision": first.precision, "enhancement": first.enhancement, "corpus": first.corpus, "protocol": first.protocol,
        "fingerprint": first.fingerprint, "noise_corpus": first.noise.get("corpus", ""), "noise": noise,
        "heard_in_training": "" if noise == CLEAN else system.tell_heard(noise), "snr_db": "" if ratio is None else f"{ratio:g}",
        "level": first.level,
    }  # fmt: skip


def tabulate_systems(board: RobustnessBoard, noise: str | None, published: Sequence[PublishedFigure] = ()) -> Table:
    """Set systems over ratios for one noise, as Table 1 of the noisy-speech papers: UA, its interval in the long table.

    Args:
        board: The systems.
        noise: Type of noise; None takes the mean over all types.
        published: Figures of the papers; those of this noise and corpus become rows of their own.
    """
    rising = sorted(board.ratios)
    columns = [Column("system"), Column("noise in training"), *(Column(f"{ratio:g} dB", "right") for ratio in rising)]
    columns += [Column("clean", "right")] if board.has_clean else []
    ends: list[Key] = [(CLEAN, None)] if board.has_clean else []
    rows = []
    for system in board.systems:
        noises = board.noises if noise is None else (noise,)
        heard = sorted({system.tell_heard(name) for name in noises})
        values = [_average(system, noises, ratio) for ratio in rising] + [system.value(key) for key in ends]
        rows.append((system.name, ", ".join(heard), *map(format_share, values)))
    for model, cells in _find_published(board, published, noise).items():
        values = [cells.get(f"{ratio:g}", math.nan) for ratio in rising] + ([cells.get(CLEAN, math.nan)] if ends else [])
        if any(not math.isnan(value) for value in values):
            rows.append((f"published: {model}", NOTHING, *map(format_share, values)))
    title = f"UA, mean over {', '.join(board.noises)}" if board.noises else "UA on clean speech"
    title = title if noise is None else f"UA, noise {noise}"
    return Table(tuple(columns), tuple(rows), (), title)


def tabulate_ratios(board: RobustnessBoard, baseline: RobustSystem, model: RobustSystem) -> Table:
    """Set ratios over noises, each as baseline and model side by side, as Table 2 of the noisy-speech papers, with the mean row computed.

    Args:
        board: For noises and ratios.
        baseline: What stands left: the enhancement before the teacher, or the teacher.
        model: What stands right.
    """
    columns = [Column("SNR")]
    for noise in board.noises:
        columns += [Column(f"{noise} baseline", "right"), Column(f"{noise} model", "right")]
    rows = []
    for ratio in sorted(board.ratios):
        cells = [system.value((noise, ratio)) for noise in board.noises for system in (baseline, model)]
        rows.append((f"{ratio:g} dB", *map(format_share, cells)))
    averaged = [ratio for ratio in board.ratios if ratio in _PAPER_RATIOS]
    if averaged:
        means = [_mean([system.value((noise, x)) for x in averaged]) for noise in board.noises for system in (baseline, model)]
        rows.append(("mean", *map(format_share, means)))
    over = ", ".join(f"{ratio:g}" for ratio in sorted(averaged))
    gain = _mean([model.value((noise, x)) - baseline.value((noise, x)) for noise in board.noises for x in averaged])
    all_five = len(averaged) == len(_PAPER_RATIOS)
    which = "the ratios of the literature" if all_five else "those of the literature's five ratios that were judged"
    notes = [f"The mean row is over {over} dB, {which}."] if averaged else []
    notes += [f"Average gain of the model: {format_points(gain)} points."] if averaged and not math.isnan(gain) else []
    return Table(tuple(columns), tuple(rows), tuple(notes), f"UA, baseline {baseline.name}, model {model.name}")


def tabulate_drops(board: RobustnessBoard) -> Table:
    """Tell what each step down in the ratio costs each system under each noise, in points of UA, paired over the clips."""
    rows = []
    for system in board.systems:
        for noise in board.noises:
            clean: Key | None = (CLEAN, None) if board.has_clean else None
            for upper, lower, change in measure_drops(system, noise, board.ratios, clean, resamples=board.resamples):
                ends = f"{format_points(change.low)} to {format_points(change.high)}"
                step = f"{'clean' if upper is None else f'{upper:g}'} → {lower:g} dB"
                rows.append((system.name, noise, step, format_points(change.value), ends))
    columns = (Column("system"), Column("noise"), Column("step"), Column("change", "right"), Column("95 % interval", "right"))
    return Table(columns, tuple(rows), ("Points of UA, paired over the same clips and stretches of noise.",), "Drop per step")


def tabulate_passing(board: RobustnessBoard) -> Table | None:
    """Tell below which ratio each system passes the teacher; None without a teacher or without two ratios."""
    if board.teacher is None or len(board.ratios) < 2:
        return None
    rows = []
    for system in board.systems:
        if system is board.teacher:
            continue
        for noises in [*((noise,) for noise in board.noises), *([board.noises] if len(board.noises) > 1 else [])]:
            found = find_passing(system, board.teacher, noises, board.ratios, resamples=board.resamples)
            told = NOTHING if found is None else found.describe()
            both = (board.teacher.value((CLEAN, None)), system.value((CLEAN, None)))
            rows.append((system.name, noises[0] if len(noises) == 1 else "mean of all", told, format_points(both[1] - both[0])))
    columns = (Column("system"), Column("noise"), Column("better than the teacher"), Column("clean, points", "right"))
    notes = (
        "Crossings lie on straight lines between the ratios that were measured, within which alone 'everywhere' and 'never' hold. The "
        "interval is over resamples with the same verdict, and does not know what lies between the ratios.",
    )
    return Table(columns, tuple(rows), notes, f"Below which ratio the teacher {board.teacher.name} is passed")


def tabulate_differences(board: RobustnessBoard) -> Table | None:
    """Set each system against each other, over all noises and ratios together; None without a pair that can be compared."""
    found = find_differences(board)
    rows = []
    for pair in found:
        ends = [f"{format_points(told.low)} to {format_points(told.high)}" if told else NOTHING for told in (pair.in_noise, pair.on_clean)]
        values = [format_points(told.value) if told else NOTHING for told in (pair.in_noise, pair.on_clean)]
        proof = (format_p(pair.p_value), format_p(pair.p_corrected))
        rows.append((pair.first.name, pair.second.name, values[0], ends[0], *proof, values[1], ends[1]))
    columns = [Column("system"), Column("less"), Column("in noise", "right"), Column("95 % interval", "right"), Column("p", "right")]
    columns += [Column("Holm", "right"), Column("clean", "right"), Column("95 % interval", "right")]
    noted = f"resamples and permutations of {found[0].in_noise.units} {found[0].in_noise.unit}" if found else ""
    notes = (f"Points of UA, in noise the mean over {found[0].conditions} noises and ratios; {noted}.",) if found else ()
    return Table(tuple(columns), tuple(rows), notes, "Differences between systems") if found else None


def list_tables(board: RobustnessBoard, published: Sequence[PublishedFigure] = ()) -> list[Table]:
    """Give all tables of a board: systems over ratios for each noise and the mean, baseline and model, differences, who passes, drops."""
    tables = [tabulate_systems(board, noise, published) for noise in board.noises]
    if len(board.noises) > 1:
        tables.append(tabulate_systems(board, None))
    if not board.noises:
        tables.append(tabulate_systems(replace(board, noises=()), None))
    baselines = [system for system in board.systems if system.role == "enhanced"] or ([board.teacher] if board.teacher else [])
    models = [system for system in board.systems if system.role in ("alone", "distilled")]
    if board.noises:
        tables += [tabulate_ratios(board, baseline, model) for baseline in baselines for model in models]
    tables += [table for table in (tabulate_differences(board), tabulate_passing(board)) if table]
    return tables + ([tabulate_drops(board)] if board.noises else [])


def render_summary(boards: Sequence[RobustnessBoard], width: int = 140) -> str:
    """Render what a terminal shows: systems over ratios, their differences, who passes the teacher, and the notes."""
    parts = []
    for board in boards:
        first = tabulate_systems(board, None if len(board.noises) != 1 else board.noises[0])
        pairs = tabulate_differences(board) if len(board.systems) <= _MOST_PAIRED else None
        shown = [first, *(table for table in (pairs, tabulate_passing(board)) if table)]
        shown[-1] = replace(shown[-1], notes=(*shown[-1].notes, *board.notes))
        parts += [board.title, "", *(render_plain(table, width) for table in shown)]
    return "\n".join(parts)


def find_robustness_figures(experiment_roots: Sequence[Path], papers: Sequence[str]) -> list[PublishedFigure]:
    """Read the papers' figures of robustness; a file that cannot be read has none."""
    found = []
    for root in experiment_roots:
        for paper in papers:
            try:
                found += [
                    figure for figure in read_published(root / paper) if paper and figure.metric.startswith(("robustness/", "test/ua"))
                ]
            except DataError:
                continue  # ser-kd report tells of it
    return found


def _find_published(board: RobustnessBoard, published: Sequence[PublishedFigure], noise: str | None) -> dict[str, dict[str, float]]:
    """Give model -> ratio (or clean) -> UA of the figures of one noise on the board's corpus."""
    if noise is None:
        return {}
    cells: dict[str, dict[str, float]] = {}
    clean: dict[str, float] = {}
    for figure in published:
        if figure.corpus not in ("", board.first.corpus):
            continue
        value = figure.value / (100.0 if figure.unit == "%" else 1.0)
        told = _PUBLISHED.fullmatch(figure.metric)
        if figure.metric == "test/ua":
            clean[figure.model] = value
        elif told and told["noise"] == noise and told["ratio"] is not None:
            cells.setdefault(figure.model, {})[f"{float(told['ratio']):g}"] = value
    return {model: {**found, **({CLEAN: clean[model]} if model in clean else {})} for model, found in cells.items()}


def _average(system: RobustSystem, noises: Sequence[str], ratio: float) -> float:
    return _mean([system.value((noise, ratio)) for noise in noises])


def _mean(values: Sequence[float]) -> float:
    """Give the mean; NaN where one is missing, for a mean over other conditions is another quantity."""
    return float(np.mean(values)) if values else math.nan
