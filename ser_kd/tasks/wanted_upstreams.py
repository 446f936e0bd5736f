"""Which finished runs a student's configuration wants to hear through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.models.run_upstream import RunUpstream
from ser_kd.tasks.teachers import WantedRun

TARGET = f"{RunUpstream.__module__}.{RunUpstream.__qualname__}"


def list_wanted_upstreams(config: DictConfig, fold: ProtocolFold, seed: int) -> list[WantedRun]:
    """List the runs that a student hears through and that are named by their experiment.

    Args:
        config: Checked configuration.
        fold: The student's fold.
        seed: The student's seed.
    """
    return [want_run(node, fold, seed) for node in find_nodes(config.student) if node.get("experiment") is not None]


def find_nodes(node: Any) -> Iterator[DictConfig]:
    """Give every node of an upstream within a node."""
    if not isinstance(node, DictConfig):
        return
    if node.get("_target_") == TARGET:
        yield node
        return
    for key in node:
        yield from find_nodes(node[key])


def want_run(node: DictConfig, fold: ProtocolFold, seed: int) -> WantedRun:
    """Give the run that a node names by its experiment."""
    own = node.get("seed")
    return WantedRun(str(node.name), node.experiment, seed if own is None else own, own is not None, fold)


def without_places(student: Any) -> Any:
    """Give a student's node as plain data without the places of upstreams, for which the hash of their weights stands."""
    if isinstance(student, Mapping):
        places = ("experiment", "run", "seed") if student.get("_target_") == TARGET else ()
        return {key: without_places(value) for key, value in student.items() if key not in places}
    return [without_places(part) for part in student] if isinstance(student, list) else student
