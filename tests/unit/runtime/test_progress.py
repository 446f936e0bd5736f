from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ser_kd.runtime.progress import StopWhere


class StoppedError(BaseException):
    """Stands for that of a launcher."""


@pytest.mark.parametrize("told", [[False, False], [True, False], [False, True]])
def test_a_training_ends_on_all_processes_where_one_is_told(told: list[bool]) -> None:
    answers = []

    def reduce(decision: bool, all: bool) -> bool:
        assert not all
        answers.append(decision)
        return any(told)

    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=reduce))
    for mine in told:
        watcher = StopWhere(lambda mine=mine: mine, StoppedError)  # type: ignore[misc]
        if any(told):
            with pytest.raises(StoppedError):
                watcher.on_train_epoch_end(trainer, trainer)
        else:
            watcher.on_train_epoch_end(trainer, trainer)
    assert answers == told
