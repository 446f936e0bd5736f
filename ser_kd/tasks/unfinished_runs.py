"""Runs that were begun under other settings: what changed since is told, for nothing goes on silently under new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import DataError
from ser_kd.runtime.recording import NOT_SCIENCE, read_record
from ser_kd.tasks.training_run import TrainingRun


def describe_changes(run: TrainingRun) -> list[str]:
    """Name the unfinished runs of the same experiment, fold and seed that this one does not go on with, and what differs.

    Args:
        run: A run that is about to begin anew.

    Returns:
        One line for each.
    """
    identities, place = run.folder.parents[2], run.folder.relative_to(run.folder.parents[1])
    lines = []
    for folder in sorted(identities.glob(f"*/{place.as_posix()}")):
        if folder == run.folder or not (folder / "checkpoints" / "last.ckpt").is_file() or not _is_unfinished(folder):
            continue
        changes = list(_compare(OmegaConf.load(folder / "config.yaml"), run.config)) if (folder / "config.yaml").is_file() else []
        shown = "; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else "")
        lines.append(
            f"an unfinished run of this experiment lies in {folder} and is not gone on with, for the experiment has changed: "
            f"{shown or 'the data or the teacher'}. Set it back to finish that one, or delete the folder"
        )
    return lines


def _is_unfinished(folder: Path) -> bool:
    try:
        record = read_record(folder)
    except DataError:
        return False
    return record is not None and record.status != "finished" and not record.sweep  # of trials there are many


def _compare(before: Any, after: DictConfig) -> Iterator[str]:
    old, new = (
        _flatten({name: value for name, value in OmegaConf.to_container(config, resolve=True).items() if name not in NOT_SCIENCE})  # type: ignore[union-attr]
        for config in (before, after)
    )
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'unset')} -> {new.get(name, 'unset')}"


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {prefix: node}
    return {name: value for key, part in node.items() for name, value in _flatten(part, f"{prefix}.{key}".lstrip(".")).items()}
