"""Which runs of two systems belong together: fold by fold and seed by seed, under one protocol and one rule of selection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import ProtocolRecord
from ser_kd.reports.ledger import RunEntry

_MOST_NAMED = 5
_STATES = {"finished": "finished", "failed": "failed", "running": "unfinished", "stopped": "stopped early"}

RunKey = tuple[int, int]
"""Fold and seed."""


@dataclass(frozen=True)
class RunPairs:
    """The runs that two systems have in common.

    Args:
        keys: Fold and seed of each pair, sorted.
        reference: The first system's runs, in this order.
        candidate: The other's.
        left_out: What was not paired and why, a note each.
    """

    keys: tuple[RunKey, ...]
    reference: tuple[RunEntry, ...]
    candidate: tuple[RunEntry, ...]
    left_out: tuple[str, ...]


def check_comparable(systems: Sequence[Sequence[RunEntry]]) -> None:
    """Check that each system has a finished run, and that all finished runs share protocol and rule of selection.

    Args:
        systems: All runs of each, whatever their status.

    Raises:
        DataError: Where they do not.
    """
    for runs in systems:
        _check_finished(runs)
    _check_one(systems, "protocols", lambda protocol: f"{protocol.name}, fingerprint {protocol.fingerprint}")
    _check_one(systems, "rules of model selection", lambda protocol: f"selected on {protocol.selection}")


def pair_runs(
    reference: Sequence[RunEntry], candidate: Sequence[RunEntry], folds: Collection[int] = (), seeds: Collection[int] = ()
) -> RunPairs:
    """Pair the finished runs of two systems by fold and seed, and list what only one of them has.

    Args:
        reference: All runs of the first system, whatever their status.
        candidate: All runs of the other.
        folds: Only these; none takes all.
        seeds: Only these; none takes all.

    Raises:
        DataError: If no fold and seed is finished on both sides, or a system has one twice.
    """
    theirs, ours = _index_runs(reference), _index_runs(candidate)
    keys = sorted(key for key in ours.keys() & theirs.keys() if _is_wanted(key, folds, seeds) and _both_finished(key, ours, theirs))
    if not keys:
        raise DataError(
            "The two systems have no run in common.",
            expected="a fold and seed that both finished" + _tell_restriction(folds, seeds),
            got="; ".join(f"{name_system(runs[0])}: {name_some(map(tell_key, _finished_keys(runs)))}" for runs in (reference, candidate)),
            remedy="train the missing folds and seeds, with the same fold=… seed=… for both",
        )
    left_out = _list_left_out(ours, theirs, folds, seeds)
    return RunPairs(tuple(keys), tuple(theirs[key] for key in keys), tuple(ours[key] for key in keys), tuple(left_out))


def name_system(entry: RunEntry) -> str:
    """Name the system of a run as the command line takes it: ``experiment@identity``."""
    return f"{entry.record.experiment}@{entry.record.identity}"


def tell_key(key: RunKey) -> str:
    """Write ``fold 0, seed 1``."""
    return f"fold {key[0]}, seed {key[1]}"


def name_some(names: Iterable[str]) -> str:
    """Write the first few of some names, and how many more there are."""
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more


def _check_finished(runs: Sequence[RunEntry]) -> None:
    if not any(entry.record.status == "finished" for entry in runs):
        found = [entry.record.status for entry in runs]
        told = ("failed", "running", *({"stopped"} & set(found)))
        counts = [f"{found.count(status)} {_STATES[status]}" for status in told]
        raise DataError(
            f"{runs[0].record.experiment} has no finished run.",
            expected="a finished run on both sides",
            got=", ".join(counts),
            remedy="train it, or go on with an unfinished run by its own command line",
        )


def _check_one(systems: Sequence[Sequence[RunEntry]], what: str, tell: Callable[[ProtocolRecord], str]) -> None:
    told = {
        f"{name_system(entry)}: {tell(entry.record.protocol)}": tell(entry.record.protocol)
        for runs in systems
        for entry in runs
        if entry.record.status == "finished"
    }
    if len(set(told.values())) > 1:
        raise DataError(
            f"Results of different {what} are never compared.",
            expected="one for all systems",
            got="; ".join(told),
            remedy="train both alike, or name another training: EXPERIMENT@IDENTITY",
        )


def _index_runs(runs: Sequence[RunEntry]) -> dict[RunKey, RunEntry]:
    index: dict[RunKey, RunEntry] = {}
    for entry in runs:
        key = (entry.record.protocol.fold, entry.record.seed)
        if key in index:
            raise DataError(
                f"{entry.record.experiment} has two runs of {tell_key(key)}.",
                expected="one run per fold and seed",
                got=f"{index[key].name} and {entry.name}",
                remedy="move the copy out of the folder of runs, or name another one: runs=FOLDER",
            )
        index[key] = entry
    return index


def _list_left_out(
    ours: Mapping[RunKey, RunEntry], theirs: Mapping[RunKey, RunEntry], folds: Collection[int], seeds: Collection[int]
) -> list[str]:
    notes = []
    known = sorted(ours.keys() | theirs.keys())
    for key in known:
        if _is_wanted(key, folds, seeds) and not _both_finished(key, ours, theirs):
            states = [f"{_name_side(side)} {_tell_state(side.get(key))}" for side in (theirs, ours)]
            notes.append(f"left out: {tell_key(key)} ({', '.join(states)})")
    unwanted = sum(_both_finished(key, ours, theirs) for key in known if not _is_wanted(key, folds, seeds))
    if unwanted:
        notes.append(f"left out: {unwanted} more pair{'s' if unwanted > 1 else ''} of runs{_tell_restriction(folds, seeds, ' by ')}")
    for name, asked, place in (("fold", folds, 0), ("seed", seeds, 1)):
        missing = sorted(set(asked) - {key[place] for key in known})
        if missing:
            notes.append(f"left out: {name} {', '.join(map(str, missing))} was asked for, and neither has it")
    return notes


def _name_side(side: Mapping[RunKey, RunEntry]) -> str:
    return name_system(next(iter(side.values())))


def _tell_state(entry: RunEntry | None) -> str:
    return "has none" if entry is None else _STATES.get(entry.record.status, entry.record.status)


def _tell_restriction(folds: Collection[int], seeds: Collection[int], between: str = ", within ") -> str:
    parts = [f"{name}={','.join(map(str, sorted(asked)))}" for name, asked in (("folds", folds), ("seeds", seeds)) if asked]
    return between + " ".join(parts) if parts else ""


def _is_wanted(key: RunKey, folds: Collection[int], seeds: Collection[int]) -> bool:
    return (not folds or key[0] in folds) and (not seeds or key[1] in seeds)


def _both_finished(key: RunKey, ours: Mapping[RunKey, RunEntry], theirs: Mapping[RunKey, RunEntry]) -> bool:
    return all(key in side and side[key].record.status == "finished" for side in (ours, theirs))


def _finished_keys(runs: Sequence[RunEntry]) -> list[RunKey]:
    return [(entry.record.protocol.fold, entry.record.seed) for entry in runs if entry.record.status == "finished"]
