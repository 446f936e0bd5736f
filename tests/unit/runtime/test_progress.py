from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from ser_kd.contracts.errors import UndefinedMetricWarning
from ser_kd.runtime.progress import StopWhere, quieten_libraries


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


def test_undefined_metrics_are_told_as_a_line_and_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    others: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: others.append(str(message)))
        for _ in range(2):
            quieten_libraries("offline")
        for _ in range(2):
            warnings.warn("ccc_valence is NaN", UndefinedMetricWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert others == ["something else"]
    errors = capfd.readouterr().err
    assert errors.count("warning: ccc_valence is NaN") == 1
    assert __file__ not in errors
