"""What the processes of one run ask each other: who comes first, who has decided what, whether all are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")
_PATIENCE = timedelta(days=7)  # one process may decode a corpus or ask a large teacher for hours while the others wait
_control: distributed.ProcessGroup | None = None
_local_rank = 0


def count_processes() -> int:
    """Give the number of processes that share this run; 1 where it has not been started with several."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank() -> int:
    """Give this process's place among them, from 0."""
    return distributed.get_rank() if count_processes() > 1 else 0


def is_first() -> bool:
    """Tell whether this process writes the run folder and speaks to the user."""
    return process_rank() == 0


def note_local_rank(rank: int) -> None:
    """Tell this process's place among those of its machine."""
    global _local_rank
    _local_rank = rank


def leave_group() -> None:
    """Leave; the process is alone from then on."""
    global _control, _local_rank
    _control, _local_rank = None, 0
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process is here."""
    if count_processes() > 1:
        distributed.barrier(group=_control_group())


def compute_once(function: Callable[[], T]) -> T:
    """Compute something in the first process and give the result to all.

    Args:
        function: Not called elsewhere; what it gives can be pickled.
    """
    if count_processes() == 1:
        return function()
    box = [function() if is_first() else None]
    distributed.broadcast_object_list(box, src=0, group=_control_group())
    return box[0]  # type: ignore[return-value]


def take_largest(number: int) -> int:
    """Give the largest of the numbers that the processes bring."""
    if count_processes() == 1:
        return number
    told = torch.tensor(number)
    distributed.all_reduce(told, op=distributed.ReduceOp.MAX, group=_control_group())
    return int(told)


@contextmanager
def first_on_each_machine() -> Iterator[None]:
    """Let one process of each machine go through a block before the others: what it puts on disk they find there."""
    if _local_rank > 0:
        wait_for_all()
    yield
    if _local_rank == 0:
        wait_for_all()


def _control_group() -> distributed.ProcessGroup:
    """Give a group of all processes that speaks through the processors and has patience, whatever gradients travel by."""
    global _control
    if _control is None:
        _control = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    return _control
