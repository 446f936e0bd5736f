"""Systems in noise, pooled over folds and seeds from the records of ``ser-kd robustness``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.robustness_record import CLEAN, Key, RobustnessRecord
from ser_kd.reports.answers import Answers, count_confusion, read_test_sets
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.significance import RESAMPLES, Interval, bootstrap_metrics

HEARD = {"never": "unseen", "type": "seen type", "stretch": "seen, same recording"}
"""What training heard of a noise -> how it is told."""


@dataclass(frozen=True)
class RobustSystem:
    """One model under all its conditions: the runs of one experiment and identity, or one file, behind one enhancement or none.

    Args:
        name: Its brief name on the board.
        role: ``teacher``, ``enhanced``, ``distilled`` or ``alone``.
        records: One per fold and seed.
        answers: Condition -> whole test sets, as ``read_test_sets`` makes them; conditions that not every run has are left out.
        intervals: Condition -> metric -> value with its interval.
    """

    name: str
    role: str
    records: tuple[RobustnessRecord, ...]
    answers: dict[Key, tuple[Answers, ...]]
    intervals: dict[Key, dict[str, Interval]] = field(default_factory=dict)

    @property
    def first(self) -> RobustnessRecord:
        """The record of the first fold."""
        return self.records[0]

    @property
    def folds(self) -> list[int]:
        """Folds of its runs, sorted."""
        return sorted({record.fold for record in self.records})

    @property
    def seeds(self) -> list[int]:
        """Seeds of its runs, sorted."""
        return sorted({record.seed for record in self.records})

    def value(self, key: Key, metric: str = "ua") -> float:
        """Give a metric under a condition; NaN where it was not computed."""
        return self.intervals[key][metric].value if key in self.intervals else float("nan")

    def tell_heard(self, noise: str) -> str:
        """Tell what training heard of a noise, in words."""
        found = sorted({HEARD.get(record.heard.get(noise, ""), "unknown") for record in self.records})
        return ", ".join(found)

    def on_folds(self, folds: Sequence[int]) -> RobustSystem:
        """Give the system on some of its folds, without intervals."""
        records = tuple(record for record in self.records if record.fold in folds)
        return RobustSystem(self.name, self.role, records, _pool(records))


@dataclass(frozen=True)
class RobustnessBoard:
    """Systems that met the same clips under the same noises.

    Args:
        systems: The teacher, what stands behind an enhancement, students.
        noises: Types of noise, in order.
        ratios: Ratios in decibels, descending.
        teacher: With whom students are compared; None where nobody is known as such.
        resamples: Behind each interval.
        notes: What a reader must know.
        apart: What tells it from a board of the same noises and clips; empty where there is none.
    """

    systems: tuple[RobustSystem, ...]
    noises: tuple[str, ...]
    ratios: tuple[float, ...]
    teacher: RobustSystem | None
    resamples: int
    notes: tuple[str, ...]
    apart: str = ""

    @property
    def first(self) -> RobustnessRecord:
        """A record of the board, for what all have in common."""
        return self.systems[0].first

    @property
    def title(self) -> str:
        """Its heading."""
        return f"Noise of {self.first.noise.get('corpus', 'noise')} on {self.first.corpus}, {self.first.protocol}{self.apart}"

    @property
    def key(self) -> str:
        """What tells it from other boards."""
        return f"{self.first.fingerprint}_{self.first.setting}"

    @property
    def has_clean(self) -> bool:
        """Whether a system was judged on clean speech."""
        return any((CLEAN, None) in system.answers for system in self.systems)


def measure_answers(truth: Sequence[int], answers: Sequence[int], classes: int) -> dict[str, float]:
    """Compute UA, WA and both F1 of one fold; clips without a class (-1) are left out."""
    rows = np.array([(t, a) for t, a in zip(truth, answers, strict=True) if t >= 0], dtype=np.int64).reshape(-1, 2)
    names = np.arange(len(rows)).astype(np.str_)
    counts = count_confusion(Answers(rows[:, 0], rows[:, 1], names, names, classes))
    return {name: float(metric(counts)) for name, metric in METRICS.items()}


def gather_boards(records: Sequence[RobustnessRecord], *, teacher: str | None = None, resamples: int = RESAMPLES) -> list[RobustnessBoard]:
    """Pool records over folds and seeds, apart by protocol and by setting of the noise.

    Args:
        records: Of any systems; one without a condition is passed over.
        teacher: Identity of the teacher; None takes whoever taught another system of the board.
        resamples: Bootstrap resamples.
    """
    apart: dict[tuple[str, str], list[RobustnessRecord]] = {}
    for record in records:
        if record.conditions:
            apart.setdefault((record.fingerprint, _find_setting(record)), []).append(record)
    boards = [_gather_board(group, teacher, resamples) for _, group in sorted(apart.items())]
    titles = [board.title for board in boards]
    return [replace(board, apart=f", setting {board.first.setting}") if titles.count(board.title) > 1 else board for board in boards]


def _find_setting(record: RobustnessRecord) -> str:
    return f"{record.noise.get('corpus')} {record.setting}"


def _gather_board(records: Sequence[RobustnessRecord], teacher: str | None, resamples: int) -> RobustnessBoard:
    groups: dict[tuple[str, ...], list[RobustnessRecord]] = {}
    for record in records:
        parts = (record.experiment, record.identity, record.kind, record.precision, record.checkpoint)
        groups.setdefault((*parts, record.enhancement, record.enhancement_setting), []).append(record)
    taught = {identity for record in records for identity in record.teachers}
    chosen = {teacher} if teacher else {record.identity for record in records if record.identity in taught}
    order = {"teacher": 0, "enhanced": 1, "alone": 2, "distilled": 3}
    systems = []
    for names, group in zip(_name_apart(list(groups)), groups.values(), strict=True):
        group.sort(key=lambda record: (record.fold, record.seed))
        first = group[0]
        role = "enhanced" if first.enhancement else "teacher" if first.identity in chosen else "distilled" if first.distilled else "alone"
        answers = _pool(group)
        intervals = {key: bootstrap_metrics(found, resamples=resamples) for key, found in answers.items()}
        systems.append(RobustSystem(names, role, tuple(group), answers, intervals))
    systems.sort(key=lambda system: (order[system.role], system.name))
    keys = list(dict.fromkeys(key for system in systems for key in system.answers))
    found = [system for system in systems if system.role == "teacher" and system.first.kind == "run"]
    noises = tuple(dict.fromkeys(noise for noise, _ in keys if noise != CLEAN))
    ratios = tuple(sorted({ratio for _, ratio in keys if ratio is not None}, reverse=True))
    return RobustnessBoard(tuple(systems), noises, ratios, found[0] if len(found) == 1 else None, resamples, _tell_notes(systems))


def _name_apart(keys: Sequence[tuple[str, ...]]) -> list[str]:
    def name(key: tuple[str, ...], with_identity: bool) -> str:
        experiment, identity, kind, precision, checkpoint, enhancement, setting = key
        same = [other for other in keys if other[0] == experiment and other[1] == identity and other[5] == enhancement]
        parts = [experiment, f" @{identity[:4]}" if with_identity else "", f" {precision} file" if kind == "file" else ""]
        parts += [" last" if checkpoint == "last" else "", f" + {enhancement}" if enhancement else ""]
        parts += [f" ({setting[:4]})" if enhancement and len({other[6] for other in same}) > 1 else ""]
        return "".join(parts)

    plain = [name(key, False) for key in keys]
    return [text if plain.count(text) == 1 else name(key, True) for text, key in zip(plain, keys, strict=True)]


def _pool(records: Sequence[RobustnessRecord]) -> dict[Key, tuple[Answers, ...]]:
    """Put the answers of all folds and seeds together, condition by condition."""
    shared = [condition.key for condition in records[0].conditions]
    pooled: dict[Key, tuple[Answers, ...]] = {}
    for key in shared:
        found = [record.find(*key) for record in records]
        if any(condition is None for condition in found):
            continue
        parts = []
        for record, condition in zip(records, found, strict=True):
            if condition is None:
                continue
            columns: Mapping[str, object] = {
                "split": "test",
                "id": record.ids,
                "speaker": record.speakers,
                "truth": _name_classes(record, record.truth),
                "prediction": _name_classes(record, condition.answers),
                "fold": record.fold,
                "seed": record.seed,
            }
            parts.append(pd.DataFrame(columns))
        pooled[key] = read_test_sets(pd.concat(parts, ignore_index=True), records[0].classes)
    return pooled


def _name_classes(record: RobustnessRecord, indices: Sequence[int]) -> list[str]:
    if any(index >= len(record.classes) for index in indices):
        raise DataError(
            "A record of robustness names a class that there is not.",
            expected=f"indices below {len(record.classes)}",
            got=f"{max(indices)} in {record.experiment}, fold {record.fold}",
            remedy="delete the record and run 'ser-kd robustness' again",
        )
    return [record.classes[index] if index >= 0 else "" for index in indices]


def _tell_notes(systems: Sequence[RobustSystem]) -> tuple[str, ...]:
    first = systems[0].first
    split = first.noise.get("noise_split", "time")
    notes = [
        f"Noise is mixed into whole clips at a level by {first.level}, seed {first.noise_seed}: each clip meets the same stretch of a "
        "noise at every ratio and before every model."
    ]
    if split == "paper":
        notes.append("noise_split=paper: the noise of the test was heard in training, as published.")
    units = {interval.unit for system in systems for found in system.intervals.values() for interval in found.values()}
    if "utterances" in units:
        notes.append("Too few test speakers: some intervals resample utterances and say nothing about other voices.")
    if len({(tuple(system.folds), tuple(system.seeds)) for system in systems}) > 1:
        told = "; ".join(f"{s.name}: folds {', '.join(map(str, s.folds))}, seeds {', '.join(map(str, s.seeds))}" for s in systems)
        notes.append(f"Not all were run on the same folds and seeds ({told}); comparisons use the folds that both have.")
    left = [s.name for s in systems if len({condition.key for r in s.records for condition in r.conditions}) > len(s.answers)]
    if left:
        notes.append(f"Conditions that not every fold has yet are left out: {', '.join(left)}.")
    notes += dict.fromkeys(warning for system in systems for record in system.records for warning in record.warnings)
    return tuple(notes)
