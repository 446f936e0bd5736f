"""``ser-kd compare A B [C …] [KEY=VALUE …]``: whether B is better than A, from the records and predictions of finished runs.

A and B are experiments, such as wav_to_mfcc/student; wav_to_mfcc/ce_kl@ab12 picks one of several trainings by the first
digits of its identity. Runs are paired by fold and seed; with more names each is compared with the first, and the p values
are corrected by Holm's procedure.

keys:
  runs=FOLDER     where the runs lie ($SER_KD_RUNS, else runs)
  split=SPLIT     test or validation (test)
  metric=METRIC   what the tests are about: ua, wa, f1_macro, f1_weighted, ccc_mean or ccc_<dimension> (ua; without classes ccc_mean)
  folds=0,1       only these folds (all that both finished)
  seeds=0,1       only these seeds (all that both finished)
  out=FOLDER      where comparison.md, comparison.csv and comparison.tex go (reports)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime import console
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.runtime.paths import default_runs_dir
from ser_kd.runtime.plain_words import split_plain_words

if TYPE_CHECKING:
    from ser_kd.reports.ledger import Ledger, RunEntry

KEYS = ("runs", "split", "metric", "folds", "seeds", "out")
METRICS = ("ua", "wa", "f1_macro", "f1_weighted", "ccc_mean", *(f"ccc_{name}" for name in DIMENSIONS))
CHOICES = {"split": ("test", "validation"), "metric": METRICS}


@dataclass(frozen=True)
class CompareArguments:
    """What the command line asked for.

    Args:
        names: Experiments, each with ``@`` and the first digits of an identity or without; the first is the reference.
        runs: Runs root.
        split: ``test`` or ``validation``.
        metric: What the tests are about; empty leaves it to the protocol.
        folds: Only these; none takes all.
        seeds: Only these; none takes all.
        out: Folder of the files.
    """

    names: tuple[str, ...]
    runs: Path
    split: str
    metric: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    out: Path


def run(arguments: list[str]) -> int:
    """Compare, print the result as Markdown and write its files.

    Args:
        arguments: Two or more experiments and ``key=value`` words.

    Returns:
        0.

    Raises:
        ConfigError: If a key or value cannot be, or fewer than two systems are named.
        DataError: If a system is unknown or ambiguous, or the systems do not compare.
    """
    asked = read_arguments(arguments)
    # late: pandas and scipy take most of a second to import, and a typo should be told at once
    from ser_kd.reports.comparison import compare_systems
    from ser_kd.reports.comparison_files import write_comparison
    from ser_kd.reports.comparison_tables import render_comparison
    from ser_kd.reports.ledger import find_runs

    ledger = find_runs(asked.runs)
    systems = [find_system(ledger, name) for name in asked.names]
    _check_distinct(asked.names, systems)
    comparisons = compare_systems(
        systems[0], systems[1:], split=asked.split, metric=asked.metric or None, folds=asked.folds, seeds=asked.seeds
    )
    files = write_comparison(comparisons, asked.out)
    console.show(render_comparison(comparisons))
    experiments = {runs[0].record.experiment for runs in systems}
    for fault in ledger.faults:
        if fault.path.startswith(tuple(f"{experiment}/" for experiment in experiments)):
            console.warn(f"{fault.path}: {fault.problem}")
    console.show(f"Markdown  {files.markdown}\nnumbers   {files.numbers}\nLaTeX     {files.latex}")
    return 0


def read_arguments(arguments: Sequence[str]) -> CompareArguments:
    """Read the words behind the verb.

    Raises:
        ConfigError: All faults together: unknown keys and values, numbers that are none, fewer than two names.
    """
    values = {"runs": "", "split": "test", "metric": "", "folds": "", "seeds": "", "out": "reports"}
    given, names, faults = split_plain_words("compare", arguments, KEYS)
    values |= given
    faults += _find_wrong_values(values)
    if len(names) < 2:
        faults.append(
            ConfigError(
                "Two systems make a comparison.",
                expected="two experiments or more",
                got=" ".join(names) or "none",
                remedy="name them: ser-kd compare wav_to_mfcc/student wav_to_mfcc/ce_kl",
            )
        )
    raise_faults(faults)
    folds, seeds = (tuple(dict.fromkeys(map(int, _split_list(values[key])))) for key in ("folds", "seeds"))
    runs = Path(values["runs"]).expanduser() if values["runs"] else default_runs_dir()
    return CompareArguments(tuple(names), runs, values["split"], values["metric"], folds, seeds, Path(values["out"]).expanduser())


def find_system(ledger: Ledger, name: str) -> tuple[RunEntry, ...]:
    """Find the runs of one experiment and identity.

    Args:
        ledger: All runs.
        name: ``experiment``, or ``experiment@digits``; without digits the one identity with finished runs is taken, and trials
            of sweeps are passed over.

    Returns:
        All its runs, whatever their status; at least one is finished.

    Raises:
        DataError: If there is no such experiment or identity, none of its runs finished, or several identities fit.
    """
    known = ledger.experiments()
    experiment, digits = (name, "") if name in known else name.partition("@")[::2]
    if experiment not in known:
        raise DataError(
            f"No run is of the experiment '{experiment}'.",
            expected=f"one of {join_names(known)}",
            got=name,
            remedy=suggest(experiment, known) or f"name another folder of runs: runs=FOLDER (searched: {ledger.root})",
        )
    identities: dict[str, list[RunEntry]] = {}
    runs = [entry for entry in ledger.runs if entry.record.experiment == experiment]
    ordinary = [entry for entry in runs if not entry.record.sweep]
    if not digits and not ordinary:
        raise DataError(
            f"All runs of '{name}' are trials of sweeps.",
            expected="a training that is no trial, or one trial by the first digits of its identity",
            got=f"{len({entry.record.identity for entry in runs})} trials of {join_names({entry.record.sweep for entry in runs})}",
            remedy=f"train one as an ordinary run ('ser-kd report' tells the best one's command line), or name one: {name}@"
            + shorten_identity(runs[0].record.identity, dict.fromkeys(entry.record.identity for entry in runs)),
        )
    for entry in runs if digits else ordinary:
        identities.setdefault(entry.record.identity, []).append(entry)
    fitting = {identity: runs for identity, runs in identities.items() if identity.startswith(digits)}
    finished = {identity: runs for identity, runs in fitting.items() if any(entry.record.status == "finished" for entry in runs)}
    if len(finished) == 1:
        return tuple(next(iter(finished.values())))
    if finished:
        example = f"{experiment}@{shorten_identity(next(iter(finished)), finished)}"
        raise DataError(
            f"'{name}' names {len(finished)} trainings.",
            expected="one of them, by the first digits of its identity",
            got=_list_identities(finished),
            remedy=f"name it, such as {example}",
        )
    if fitting:
        raise DataError(
            f"'{name}' has no finished run.",
            expected="a finished run of each system",
            got=_list_identities(fitting),
            remedy="train it, or go on with an unfinished run by its own command line",
        )
    raise DataError(
        f"'{experiment}' has no training whose identity begins with '{digits}'.",
        expected="the first digits of one of its identities",
        got=_list_identities(identities),
        remedy="take one of these, or leave @ away where there is one",
    )


def shorten_identity(identity: str, among: Mapping[str, object]) -> str:
    """Give the first digits of an identity, at least four, that no other has."""
    length = 4
    while any(other != identity and other.startswith(identity[:length]) for other in among):
        length += 1
    return identity[:length]


def _list_identities(identities: Mapping[str, Sequence[RunEntry]]) -> str:
    """List trainings with what tells them apart: runs, protocol, teachers, and what only their command lines say."""
    words = {identity: [entry.record.command.split() for entry in runs] for identity, runs in identities.items()}
    shared = set.intersection(*(set(line) for lines in words.values() for line in lines))
    told = []
    for identity, runs in identities.items():
        first = next((entry for entry in runs if entry.record.status == "finished"), runs[0]).record
        done = [f"{entry.record.protocol.fold}/{entry.record.seed}" for entry in runs if entry.record.status == "finished"]
        parts = [f"{identity}: finished (fold/seed) {', '.join(done) or 'none'}", f"{first.protocol.name} {first.protocol.fingerprint}"]
        teachers = Counter(teacher.experiment or teacher.name for teacher in first.teachers)
        shown = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in teachers.items())
        parts += [f"teachers {shown}"] if teachers else ["no teacher"]
        parts += [f"without speakers {', '.join(first.protocol.withheld)}"] if first.protocol.withheld else []
        own = [word for word in words[identity][0] if word not in shared and not word.startswith(("fold=", "seed="))]
        parts += [" ".join(own)] if own else []
        told.append("; ".join(parts))
    return "".join(f"\n    {line}" for line in told)


def _check_distinct(names: Sequence[str], systems: Sequence[Sequence[RunEntry]]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for name, runs in zip(names, systems, strict=True):
        key = (runs[0].record.experiment, runs[0].record.identity)
        if key in seen:
            raise ConfigError(
                "A system is not compared with itself.",
                expected="each system once",
                got=f"{seen[key]} and {name}, which are {key[0]}@{key[1]}",
                remedy="leave one out, or name another training: EXPERIMENT@IDENTITY",
            )
        seen[key] = name


def _find_wrong_values(values: Mapping[str, str]) -> list[ConfigError]:
    faults = []
    for key, choices in CHOICES.items():
        if values[key] not in choices and not (key == "metric" and not values[key]):
            remedy = suggest(values[key], choices) or f"set {key} to one of them"
            faults.append(ConfigError(f"Unknown {key}.", expected=f"one of {', '.join(choices)}", got=values[key], remedy=remedy))
    for key in ("folds", "seeds"):
        if not all(part.isdecimal() for part in _split_list(values[key])):
            faults.append(
                ConfigError(
                    f"'{key}' is no list of whole numbers.", expected="numbers with commas", got=values[key], remedy=f"such as {key}=0,1"
                )
            )
    return faults


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
