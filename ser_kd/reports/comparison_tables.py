"""A comparison as a sentence, as tables for people and papers, and as numbers for a program."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.reports.comparison import Comparison
from ser_kd.reports.leaderboard import FEW_SPEAKERS, format_estimate, format_exactly, format_interval, name_systems
from ser_kd.reports.significance import Interval
from ser_kd.reports.systems import SystemRow
from ser_kd.reports.tables import NOTHING, Column, Table, format_p, format_points, format_share, render_markdown

METRIC_NAMES = {
    "ua": "UA",
    "wa": "WA",
    "f1_macro": "F1 macro",
    "f1_weighted": "F1 weighted",
    "ccc_mean": "mean CCC",
    **{
        f"{key}_{name}": f"{kind} {name}" for key, kind in (("ccc", "CCC"), ("pearson", "Pearson"), ("rmse", "RMSE")) for name in DIMENSIONS
    },
}

LOWER_IS_BETTER = frozenset(f"rmse_{name}" for name in DIMENSIONS)
"""Errors: a difference below 0 speaks for the candidate."""

_CHANCE_OF_ERROR = 0.05


def name_sides(comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    """Name reference and candidate of each comparison, as briefly as stays clear among all of them."""
    names = name_systems([comparisons[0].reference, *(item.candidate for item in comparisons)])
    return [(names[0], name) for name in names[1:]]


def tell_comparison(item: Comparison, names: tuple[str, str]) -> tuple[str, str]:
    """Put a comparison into a sentence with the p value to quote, and what qualifies it into another.

    Args:
        item: The comparison.
        names: Reference and candidate.
    """
    reference, candidate = names
    told, test = item.differences[item.metric], item.permutation
    before, after = (format_share(_pooled(row, item.metric)) for row in (item.reference, item.candidate))
    holm = "" if item.holm is None else f", corrected for {item.family} comparisons"
    proof = f"p {_is_p(item.p_value)} (paired permutation over {_count(test.speakers, 'speaker')}{holm})"
    figures = f"{METRIC_NAMES[item.metric]} {after} against {before}, {proof}"
    if item.p_value >= _CHANCE_OF_ERROR:
        headline = f"Whether {candidate} is better than {reference} stays open: {figures}."
    else:
        headline = (
            f"{candidate} is {'better' if (told.value > 0) != (item.metric in LOWER_IS_BETTER) else 'worse'} than {reference}: {figures}."
        )
    detail = f"Difference {format_points(told.value)} points, 95 % interval {format_points(told.low)} to {format_points(told.high)}."
    if test.smallest_p >= _CHANCE_OF_ERROR:
        voices = _count(test.movable, "speaker")
        detail += f" With {voices} to swap no p below {format_p(test.smallest_p)} is possible: the test cannot decide."
    return headline, detail


def metric_table(item: Comparison, names: tuple[str, str]) -> Table:
    """Make the table of both systems' metrics: mean ± deviation over runs, pooled with interval, paired difference."""
    columns = [Column("metric")]
    columns += [Column(f"{name}{kind}", "right") for kind in ("", ", pooled") for name in names]
    columns += [Column("difference, points", "right"), Column("95 % interval", "right")]
    rows = []
    for metric in item.differences:
        called = f"{METRIC_NAMES[metric]} (lower is better)" if metric in LOWER_IS_BETTER else METRIC_NAMES[metric]
        estimates = [row.estimate(metric) for row in (item.reference, item.candidate)]
        told = item.differences[metric]
        cells = [called, *(format_estimate(estimate, brief=True) for estimate in estimates), *map(format_interval, estimates)]
        rows.append((*cells, format_points(told.value), f"[{format_points(told.low)}, {format_points(told.high)}]"))
    clips = f"{_count(item.clips, 'clip')} of {_count(item.speakers, 'speaker')}"
    identities = f"identities {item.candidate.identity[:6]}, {item.reference.identity[:6]}"
    notes = [f"Runs: {describe_runs(item)}; {clips}. Difference: {names[1]} − {names[0]} ({identities})."]
    if LOWER_IS_BETTER & set(item.differences):
        notes.append(f"RMSE is an error: a difference below 0 speaks for {names[1]}. Of all other metrics one above 0 does.")
    if len(item.runs) > 1:
        notes.append("± standard deviation over runs (n − 1). Pooled: the clips of all folds as one test set, averaged over seeds.")
    notes.append(_explain_interval(item.differences[item.metric], bool(item.mcnemar)))
    return Table(tuple(columns), tuple(rows), tuple(notes), f"{names[1]} against {names[0]}")


def paired_test_table(item: Comparison, names: tuple[str, str]) -> Table:
    """Make the table of tests: permutation over speakers, and McNemar's for each seed."""
    test, effect = item.permutation, item.effect
    several = item.holm is not None
    columns = [Column("test"), Column("over"), Column("found"), Column("effect size", "right"), Column("p", "right")]
    columns += [Column("p, Holm", "right")] if several else []
    columns += [Column("smallest p possible", "right")]
    size = f"d_z {_signed(effect.value)}" if not math.isnan(effect.value) else NOTHING
    cells = ["paired permutation", _count(test.speakers, "speaker"), f"{format_points(test.difference)} points {METRIC_NAMES[item.metric]}"]
    cells += [size, format_p(test.p_value), *([format_p(item.p_value)] if several else []), format_p(test.smallest_p)]
    rows = [tuple(cells)]
    for seed, mcnemar in item.mcnemar.items():
        discordant = mcnemar.only_first + mcnemar.only_second
        found = f"right only: {names[1]} {mcnemar.only_first}, {names[0]} {mcnemar.only_second}"
        cells = [f"McNemar, exact, seed {seed}", _count(discordant, "discordant clip"), found, _odds(mcnemar.odds_ratio)]
        cells += [format_p(mcnemar.p_value), *([format_p(item.mcnemar_holm[seed])] if several else [])]
        rows.append((*cells, format_p(min(1.0, 2.0 * 0.5**discordant))))
    return Table(tuple(columns), tuple(rows), tuple(_explain_tests(item)), f"Tests of {names[1]} against {names[0]}")


def overview_table(comparisons: Sequence[Comparison], names: Sequence[tuple[str, str]]) -> Table:
    """Make one line per comparison, with corrected p values."""
    columns = [Column("system"), Column("runs")]
    columns += [Column(name, "right") for name in ("difference, points", "95 % interval", "d_z", "p", "p, Holm")]
    rows = []
    for item, (_, candidate) in zip(comparisons, names, strict=True):
        told = item.differences[item.metric]
        ends = f"[{format_points(told.low)}, {format_points(told.high)}]"
        cells = (candidate, describe_runs(item), format_points(told.value), ends, _signed(item.effect.value))
        rows.append((*cells, format_p(item.permutation.p_value), format_p(item.p_value)))
    notes = [f"{METRIC_NAMES[comparisons[0].metric]} of each against {names[0][0]}; p of the paired permutation over speakers."]
    if len({item.runs for item in comparisons}) > 1:
        notes.append(f"The lines are not all of the same runs, so {names[0][0]} is not the same figure in each.")
    return Table(tuple(columns), tuple(rows), tuple(notes), f"Against {names[0][0]}")


def comparison_numbers(comparisons: Sequence[Comparison]) -> Table:
    """Make one table of all comparisons and metrics for a program: full precision, empty where undefined or not tested."""
    heads = ["reference", "reference_identity", "candidate", "candidate_identity", "corpus", "protocol", "fingerprint", "selection"]
    heads += ["split", "metric", "runs", "folds", "seeds", "clips", "speakers"]
    kinds = ("mean", "std", "pooled", "low", "high")
    heads += [f"{side}_{kind}" for side in ("reference", "candidate") for kind in kinds]
    heads += ["difference", "difference_low", "difference_high", "resampled", "permutation_p", "permutation_p_holm", "permutations"]
    heads += ["smallest_p", "cohen_dz", "mcnemar_seeds", "mcnemar_only_candidate", "mcnemar_only_reference"]
    heads += ["mcnemar_odds_ratio", "mcnemar_p", "mcnemar_p_holm"]
    rows = [_number_row(item, metric) for item in comparisons for metric in item.differences]
    return Table(tuple(Column(name) for name in heads), tuple(rows))


def render_comparison(comparisons: Sequence[Comparison]) -> str:
    """Write all comparisons as one Markdown text."""
    names = name_sides(comparisons)
    first = comparisons[0]
    lines = [f"# {', '.join(candidate for _, candidate in names)} against {names[0][0]}", ""]
    protocol = f"{first.protocol.name}, fingerprint {first.protocol.fingerprint}, selected on {first.protocol.selection}"
    lines += [f"{first.corpus}, {protocol}, {first.split} split.", ""]
    if len(comparisons) > 1:
        lines += [render_markdown(overview_table(comparisons, names))]
    for item, sides in zip(comparisons, names, strict=True):
        headline, detail = tell_comparison(item, sides)
        lines += [f"## {sides[1]} against {sides[0]}", "", f"**{headline}** {detail}", ""]
        lines += [render_markdown(metric_table(item, sides)), "### Tests", "", render_markdown(paired_test_table(item, sides))]
        notes = list_notes(item, sides)
        lines += ["### To know", "", *(f"- {note}" for note in notes), ""] if notes else []
    return "\n".join(lines).rstrip() + "\n"


def list_notes(item: Comparison, names: tuple[str, str]) -> list[str]:
    """List what a reader must know of a comparison: selection on test, what was left out, remarks on either system."""
    notes = []
    if item.protocol.selection == "test":
        notes.append("SELECTED ON TEST: both systems were chosen by their test figures, so none of these numbers tells of new clips.")
    notes += [f"{note}." for note in item.notes]
    for name, row in zip(names, (item.reference, item.candidate), strict=True):
        notes += [f"{name}: {note}." for note in row.notes]
    return [*notes, *item.protocol.warnings]


def describe_runs(item: Comparison) -> str:
    """Tell how many folds and seeds are common, such as ``5 folds x 3 seeds``; where the grid has holes, how many runs."""
    text = f"{_count(len(item.folds), 'fold')}, {_count(len(item.seeds), 'seed')}"
    whole = len(item.runs) == len(item.folds) * len(item.seeds)
    return text if whole else f"{text}, {len(item.runs)} runs"


def _explain_interval(told: Interval, with_classes: bool) -> str:
    text = f"Intervals: {100 * told.level:.0f} % bootstrap, {told.resamples} resamples of {told.units} {told.unit}"
    if told.unit == "utterances":
        within = " within each class" if with_classes else ""
        return f"{text}{within}; they say nothing about other speakers."
    return f"{text}; with so few they are somewhat too narrow." if told.units < FEW_SPEAKERS else f"{text}."


def _explain_tests(item: Comparison) -> list[str]:
    test, effect = item.permutation, item.effect
    ways = f"all {test.permutations:,} ways" if test.exact else f"{test.permutations:,} random ways"
    text = f"Permutation: both systems' answers to a speaker are swapped or not, with all folds and seeds, two-sided, {ways}."
    same = test.speakers - test.movable
    some = f" ({same} of them answered alike by both)" if same else ""
    notes = [f"{text} With {_count(test.speakers, 'speaker')}{some} no p below {format_p(test.smallest_p)} is possible."]
    if math.isnan(effect.value):
        notes.append(f"d_z is undefined: {effect.reason}.")
    else:
        notes.append("d_z: mean of the speakers' differences over their standard deviation.")
    if not item.mcnemar:
        return notes + ([f"Holm: over {item.family} comparisons."] if item.holm is not None else [])
    notes.append(
        "McNemar: one test per seed, for a clip under two seeds is not two clips. It takes the clips of a voice for independent, "
        "which they are not: quote the permutation."
    )
    notes += [f"Odds ratio of seed {seed} is undefined: {part.reason}." for seed, part in item.mcnemar.items() if part.reason]
    if item.holm is not None:
        notes.append(f"Holm: over {item.family} comparisons; McNemar's tests seed by seed.")
    return notes


def _number_row(item: Comparison, metric: str) -> tuple[str, ...]:
    protocol, told = item.protocol, item.differences[metric]
    cells = [item.reference.experiment, item.reference.identity, item.candidate.experiment, item.candidate.identity]
    cells += [item.corpus, protocol.name, protocol.fingerprint, protocol.selection, item.split, metric, str(len(item.runs))]
    cells += [" ".join(map(str, item.folds)), " ".join(map(str, item.seeds)), str(item.clips), str(item.speakers)]
    for row in (item.reference, item.candidate):
        estimate = row.estimate(metric)
        interval = estimate.interval
        ends = (interval.value, interval.low, interval.high) if interval else (None, None, None)
        cells += map(format_exactly, (estimate.mean, estimate.std, *ends))
    cells += [*map(format_exactly, (told.value, told.low, told.high)), f"{told.units} {told.unit}"]
    if metric != item.metric:
        return (*cells, *[""] * 11)
    test, parts = item.permutation, item.mcnemar.values()
    cells += [format_exactly(test.p_value), format_exactly(item.holm), str(test.permutations), format_exactly(test.smallest_p)]
    cells += [format_exactly(item.effect.value), " ".join(map(str, item.mcnemar))]
    cells += [" ".join(str(part.only_first) for part in parts), " ".join(str(part.only_second) for part in parts)]
    # a place per seed, whatever is undefined
    cells += [" ".join(format_exactly(part.odds_ratio) or "nan" for part in parts), " ".join(repr(part.p_value) for part in parts)]
    return (*cells, " ".join(map(repr, item.mcnemar_holm.values())))


def _pooled(row: SystemRow, metric: str) -> float:
    interval = row.estimate(metric).interval
    return interval.value if interval else math.nan


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _is_p(value: float) -> str:
    text = format_p(value)
    return text if text.startswith("<") else f"= {text}"


def _signed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:+.2f}".replace("-", "−")


def _odds(ratio: float) -> str:
    if math.isnan(ratio):
        return NOTHING
    return "odds ratio ∞" if math.isinf(ratio) else f"odds ratio {ratio:.2f}"
