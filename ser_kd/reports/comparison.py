"""Compare systems run by run on the same clips, under one protocol, and list what cannot be paired."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import ProtocolRecord
from ser_kd.reports.aggregate import summarise_system
from ser_kd.reports.answers import read_seeds, read_test_sets
from ser_kd.reports.dimension_metrics import DIMENSION_METRICS
from ser_kd.reports.ledger import RunEntry
from ser_kd.reports.paired_tests import (
    EffectSize,
    McNemarTest,
    PermutationTest,
    correct_holm,
    measure_effect,
    permute_speakers,
    run_mcnemar,
)
from ser_kd.reports.run_pairs import RunKey, RunPairs, check_comparable, name_some, pair_runs, tell_key
from ser_kd.reports.significance import RESAMPLES, Interval, bootstrap_difference, pool_metric
from ser_kd.reports.systems import MAIN_NAMES, SPLIT, SystemRow, name_main_metric

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """One system against another on the runs that both have.

    Differences are metric(candidate) - metric(reference).

    Args:
        reference: The system that was named first, drawn together over the common runs.
        candidate: The system that is asked about, over the same.
        corpus: Corpus name.
        protocol: The protocol as a common run recorded it.
        split: ``test`` or ``validation``.
        metric: The metric the tests are about, a key of ``SCORES``.
        runs: Fold and seed of the common runs.
        clips: Distinct clips.
        speakers: Distinct speakers.
        differences: Metric -> paired difference of the pooled values and its interval.
        permutation: Permutation over speakers, whose p value is the one to quote.
        effect: Cohen's d_z over speakers.
        mcnemar: Seed -> McNemar's exact test; the candidate is the first. Empty where dimensions are compared: no answer is right.
        notes: What a reader must know, such as what was left out.
        holm: The permutation's p corrected for all comparisons; None for a single one.
        mcnemar_holm: Seed -> the same for McNemar's; empty for a single comparison.
        family: How many comparisons there are.
    """

    reference: SystemRow
    candidate: SystemRow
    corpus: str
    protocol: ProtocolRecord
    split: str
    metric: str
    runs: tuple[RunKey, ...]
    clips: int
    speakers: int
    differences: Mapping[str, Interval]
    permutation: PermutationTest
    effect: EffectSize
    mcnemar: Mapping[int, McNemarTest]
    notes: tuple[str, ...] = ()
    holm: float | None = None
    mcnemar_holm: Mapping[int, float] = field(default_factory=dict)
    family: int = 1

    @property
    def folds(self) -> list[int]:
        """Folds of the common runs, sorted."""
        return sorted({fold for fold, _ in self.runs})

    @property
    def seeds(self) -> list[int]:
        """Seeds of the common runs, sorted."""
        return sorted({seed for _, seed in self.runs})

    @property
    def p_value(self) -> float:
        """The p value to quote: the permutation's, corrected where there are several comparisons."""
        return self.permutation.p_value if self.holm is None else self.holm


def compare_systems(
    reference: Sequence[RunEntry],
    candidates: Sequence[Sequence[RunEntry]],
    *,
    split: str = SPLIT,
    metric: str | None = None,
    folds: Collection[int] = (),
    seeds: Collection[int] = (),
    resamples: int = RESAMPLES,
) -> tuple[Comparison, ...]:
    """Compare each of some systems with one of them, and correct the p values for their number.

    Args:
        reference: All runs of one experiment and identity, whatever their status; only finished ones count.
        candidates: The same of each system it is compared with.
        split: ``test`` or ``validation``.
        metric: What the tests are about, a key of ``SCORES``; None takes UA, or the mean CCC where there are no classes.
        folds: Only these; none takes all.
        seeds: Only these; none takes all.
        resamples: Bootstrap resamples behind each interval.

    Returns:
        One comparison per candidate, in order.

    Raises:
        DataError: If a system has no finished run, protocols or selection rules differ, no fold and seed is common, folds
            overlap, or predictions are missing, damaged or of other clips.
    """
    check_comparable([reference, *candidates])
    made = [_compare_pair(pair_runs(reference, runs, folds, seeds), split, metric, resamples) for runs in candidates]
    return _correct(made) if len(made) > 1 else tuple(made)


def _compare_pair(pairs: RunPairs, split: str, metric: str | None, resamples: int) -> Comparison:
    rows = [summarise_system(runs, split=split, resamples=resamples) for runs in (pairs.reference, pairs.candidate)]
    tables = [_take_predictions(row) for row in rows]
    for table, row in zip(tables, rows, strict=True):
        _check_folds(table, row.experiment)
    _check_clips(tables[0], tables[1], rows)
    record = pairs.candidate[0].record
    metric = metric or name_main_metric(record.protocol)
    classes = [] if metric in DIMENSION_METRICS else record.protocol.classes
    if (not classes and not record.protocol.learns_dimensions) or (metric not in DIMENSION_METRICS and not classes):
        raise DataError(
            f"The runs have no metric '{metric}'.",
            expected=f"a metric of protocol.targets={record.protocol.targets}",
            got=f"metric={metric}",
            remedy=f"set metric={name_main_metric(record.protocol)}, or leave it out",
        )
    base, new = (read_test_sets(table, classes, split) for table in tables)
    by_seed = (read_seeds(table, classes, split) for table in reversed(tables)) if classes else ()
    seeds = sorted({seed for _, seed in pairs.keys})
    return Comparison(
        reference=rows[0],
        candidate=rows[1],
        corpus=record.corpus,
        protocol=record.protocol,
        split=split,
        metric=metric,
        runs=pairs.keys,
        clips=len({clip for answers in new for clip in answers.ids}),
        speakers=len({name for answers in new for name in answers.speakers}),
        differences={name: bootstrap_difference(new, base, metric=name, resamples=resamples) for name in new[0].metrics},
        permutation=permute_speakers(new, base, metric=metric),
        effect=measure_effect(new, base, metric=metric),
        mcnemar={seed: run_mcnemar(one, other) for seed, one, other in zip(seeds, *by_seed, strict=True)} if classes else {},
        notes=(*pairs.left_out, *_list_disagreements(rows, tables, split)),
    )


def _correct(made: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct over the comparisons: the permutations as one family, McNemar's tests as one family per seed."""
    holm = correct_holm([item.permutation.p_value for item in made])
    by_place: list[dict[int, float]] = [{} for _ in made]
    for seed in sorted({seed for item in made for seed in item.mcnemar}):
        places = [place for place, item in enumerate(made) if seed in item.mcnemar]
        for place, value in zip(places, correct_holm([made[place].mcnemar[seed].p_value for place in places]), strict=True):
            by_place[place][seed] = value
    return tuple(
        replace(item, holm=value, mcnemar_holm=values, family=len(made)) for item, value, values in zip(made, holm, by_place, strict=True)
    )


def _take_predictions(row: SystemRow) -> pd.DataFrame:
    if row.predictions is None:
        raise DataError(
            f"{row.experiment} cannot be compared clip by clip.",
            expected="a predictions.csv with labelled clips of every run",
            got="; ".join(note for note in row.notes if note.startswith("no interval")) or "a system without classes",
            remedy="leave the run out (folds=…, seeds=…), or train it again",
        )
    return row.predictions


def _check_folds(table: pd.DataFrame, experiment: str) -> None:
    """Check that within a seed no clip stands in two folds, or twice in one."""
    again = table[table.duplicated(["seed", "id"], keep=False)]
    if not again.empty:
        seed = again["seed"].iloc[0]
        part = again[again["seed"] == seed]
        folds = sorted(part["fold"].unique())
        one = len(folds) == 1
        raise DataError(
            f"{experiment} has clips twice in fold {folds[0]}." if one else f"The folds of {experiment} overlap.",
            expected="each clip once per seed: in the split of one fold",
            got=f"seed {seed}: {name_some(part['id'])} in fold{'' if one else 's'} {', '.join(map(str, folds))}",
            remedy="evaluate the run again: ser-kd evaluate" if one else f"compare one fold at a time: folds={folds[0]}",
        )


def _check_clips(reference: pd.DataFrame, candidate: pd.DataFrame, rows: Sequence[SystemRow]) -> None:
    keys = ["fold", "seed", "id", "speaker", *(name for name in reference.columns if name == "truth" or name.startswith("truth_"))]
    both = reference[keys].merge(candidate[keys], how="outer", indicator=True)
    single = both[both["_merge"] != "both"]
    if not single.empty:
        first = single.iloc[0]
        raise DataError(
            "Two systems can be compared clip by clip only on the same clips.",
            expected="in each fold and seed the same ids, speakers and labels",
            got=f"{single['id'].nunique()} clips that differ between {rows[0].experiment} and {rows[1].experiment}, "
            f"such as {first['id']} in {tell_key((first['fold'], first['seed']))}",
            remedy="train or evaluate both on the corpus as it is now",
        )


def _list_disagreements(rows: Sequence[SystemRow], tables: Sequence[pd.DataFrame], split: str) -> list[str]:
    """Tell of runs whose record and predictions tell two stories."""
    notes = []
    for row, table in zip(rows, tables, strict=True):
        for entry in row.runs:
            record = entry.record
            part = table[(table["fold"] == record.protocol.fold) & (table["seed"] == record.seed)]
            name = name_main_metric(record.protocol)
            told = record.metrics.get(f"{split}/{name}", math.nan)
            if math.isnan(told) or ("truth" in part and (part["truth"] == "").all()):
                continue
            counted = pool_metric(read_seeds(part, record.protocol.classes, split), name)
            if abs(told - counted) > _TOLERANCE:
                shown = f"{MAIN_NAMES[name]} {told:.4f}"
                notes.append(f"{entry.name}: the record says {shown}, predictions.csv {counted:.4f}; the tests are of the latter")
    return notes
