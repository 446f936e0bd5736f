"""A sweep as an Optuna study on disk: which trial is next, what became of each, and who holds it."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.sweeps.sweep_file import Parameter, SweepFile

_SWEEP, _HOLDER, _SAME_AS, _FAULT = "sweep", "holder", "same_as", "fault"
_DRAWS = 200
"""So many draws in a row that were tried before end a sweep."""


class KeyedSampler(BaseSampler):
    """Draws as a function of the seed and the trial's number, so that a sweep that goes on draws what it would have drawn.

    Args:
        method: ``random`` or ``bayes`` (TPE, which listens to earlier trials, too).
        seed: Of the sweep.
    """

    def __init__(self, method: str, seed: int) -> None:
        self.method = method
        self.seed = seed
        self._inner: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = (self.seed * 1_000_003 + trial.number) % 2**32
        self._inner = TPESampler(seed=seed, constant_liar=True) if self.method == "bayes" else RandomSampler(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)


@dataclass
class SweepStudy:
    """The trials of a sweep, kept in a storage that outlives the process.

    Points of a grid are taken in the file's order, drawn ones by seed and number; no point is tried twice. A trial whose
    process is gone is taken up again under its number and with its parameters; one that failed is tried again in the next session.

    Args:
        sweep: What the file asks for.
        study: Optuna's study.
        seed: Of random draws.
        most: Trials to do in all; None is the whole grid.
    """

    sweep: SweepFile
    study: optuna.Study
    seed: int = 0
    most: int | None = None
    _orphans: list[int] = field(default_factory=list)
    _failed_now: set[int] = field(default_factory=set)
    _exhausted: bool = False

    def __post_init__(self) -> None:
        # Optuna's own sampler of grids passes over points that failed, and shuffles
        self.study.sampler = KeyedSampler("random" if self.sweep.method == "grid" else self.sweep.method, self.seed)
        trials = self.study.get_trials(deepcopy=False)
        self._orphans = [trial.number for trial in trials if trial.state is TrialState.RUNNING and _is_abandoned(trial)]
        done = [trial.params for trial in trials if trial.state is not TrialState.FAIL]
        for trial in trials:
            again = trial.state is TrialState.FAIL and _SAME_AS not in trial.user_attrs and trial.params not in done
            if again and len(trial.params) == len(self.sweep.parameters):
                self.study.enqueue_trial(trial.params)
                done.append(trial.params)

    @property
    def planned(self) -> int:
        """Trials that there will be in all."""
        points, cap = self.sweep.count_points(), self.most if self.most is not None else self.sweep.run_cap
        return min(value for value in (points, cap) if value is not None)

    def list_trials(self) -> list[FrozenTrial]:
        """Give the trials that count: not those that were drawn twice, nor failed ones that were tried again."""
        trials = self.study.get_trials(deepcopy=False)
        lived = [trial.params for trial in trials if trial.state is not TrialState.FAIL]
        kept: list[FrozenTrial] = []
        for trial in trials:
            failed = trial.state is TrialState.FAIL
            if _SAME_AS in trial.user_attrs or (failed and (trial.params in lived or not trial.params)):
                continue
            if failed:
                kept = [other for other in kept if other.state is not TrialState.FAIL or other.params != trial.params]
            kept.append(trial)
        return kept

    def list_foreign(self) -> list[FrozenTrial]:
        """Give running trials that another process holds, or held on another machine."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if trial.user_attrs.get(_HOLDER) != _name_holder() and not _is_abandoned(trial)]

    def take(self) -> Trial | None:
        """Give the next trial, its parameters chosen; None where all are taken or done.

        Trials that a dead process left come first.
        """
        while self._orphans:
            trial = self._open(self._orphans.pop(0))
            if trial is not None:
                return self._claim(trial)
        for _ in range(_DRAWS):
            if self._exhausted or self._count_claimed() >= self.planned:
                return None
            if self.sweep.method == "grid":
                self._enqueue_next_point()
            trial = self._claim(self.study.ask())
            twin = self._find_twin(trial)
            if twin is None:
                return trial
            trial.set_user_attr(_SAME_AS, twin)
            self.study.tell(trial, state=TrialState.FAIL)
        self._exhausted = True  # what is left is too rare to be drawn
        return None

    def is_behind(self, trial: Trial, epoch: int, value: float) -> bool:
        """Note a trial's value after an epoch, and tell whether the trial should be stopped early."""
        last = self.study.trials[trial.number].last_step
        if value != value or (last is not None and epoch <= last):  # undefined, or told before the process died
            return False
        trial.report(value, epoch)
        return trial.should_prune()

    def finish(self, trial: Trial, value: float) -> None:
        """Note the value of a finished trial."""
        self.study.tell(trial, value)

    def stop_early(self, trial: Trial) -> None:
        """Note that a trial was stopped because it fell behind."""
        self.study.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """Note that a trial failed, and why; the next session tries its parameters again."""
        trial.set_user_attr(_FAULT, reason)
        self._failed_now.add(trial.number)
        self.study.tell(trial, state=TrialState.FAIL)

    def find_best(self) -> FrozenTrial | None:
        """Give the finished trial with the best value; None where none is finished."""
        finished = [trial for trial in self.list_trials() if trial.state is TrialState.COMPLETE and trial.value is not None]
        sign = 1.0 if self.sweep.maximize else -1.0
        return max(finished, key=lambda trial: (sign * float(trial.value or 0.0), -trial.number), default=None)

    def _count_claimed(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        live = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return sum(trial.state in live or trial.number in self._failed_now for trial in trials)

    def _enqueue_next_point(self) -> None:
        trials = self.study.get_trials(deepcopy=False)
        if any(trial.state is TrialState.WAITING for trial in trials):
            return
        taken = [trial.params for trial in trials if trial.state is not TrialState.FAIL or trial.number in self._failed_now]
        point = next((point for point in self.sweep.list_points() if point not in taken), None)
        if point is not None:
            self.study.enqueue_trial(point)

    def _claim(self, trial: Trial) -> Trial:
        trial.set_user_attr(_HOLDER, _name_holder())
        for parameter in self.sweep.parameters:
            suggest_value(trial, parameter)
        return trial

    def _find_twin(self, trial: Trial) -> int | None:
        """Give the number of an earlier trial with the same parameters that did not fail in an earlier session."""
        for other in self.study.get_trials(deepcopy=False):
            counts = other.state is not TrialState.FAIL or other.number in self._failed_now
            if other.number < trial.number and counts and other.params == trial.params:
                return other.number
        return None

    def _open(self, number: int) -> Trial | None:
        """Give a running trial of a dead process as one that can be told about; None where another took it up."""
        frozen = self.study.get_trials(deepcopy=False)[number]
        if frozen.state is not TrialState.RUNNING or not _is_abandoned(frozen):
            return None
        return Trial(self.study, frozen._trial_id)  # Optuna has no public way back to a running trial


def open_study(
    sweep: SweepFile, name: str, storage: str, description: Mapping[str, Any], *, stopping: str, epochs: int, seed: int, most: int | None
) -> SweepStudy:
    """Open the study of a sweep, or make it.

    Args:
        sweep: What the file asks for.
        name: Name of the study.
        storage: ``*.db`` or ``*.sqlite`` (SQLite), ``*.journal`` or ``*.log`` (journal), or a URL such as ``postgresql://…``.
        description: What must stay the same while the sweep goes on, as plain data.
        stopping: ``hyperband``, ``median`` or ``none``.
        epochs: Epochs of a whole trial.
        seed: Of random draws.
        most: Trials to do in all.

    Raises:
        ConfigError: If the storage holds another sweep, or this one with another description.
        DataError: If the storage cannot be read.
    """
    optuna.logging.set_verbosity(logging.ERROR)  # trials are shown by us
    opened = _open_storage(storage)
    try:
        others = optuna.get_all_study_names(opened)
        if name not in others and others and "://" not in storage:
            raise _another_sweep(storage, name, others)
        direction = StudyDirection.MAXIMIZE if sweep.maximize else StudyDirection.MINIMIZE
        study = optuna.create_study(
            storage=opened, study_name=name, direction=direction, load_if_exists=True, pruner=_make_pruner(sweep, stopping, epochs)
        )
        written = study.user_attrs.get(_SWEEP)
        if written is None and study.trials:
            raise _another_sweep(storage, name, others)
        now = json.loads(json.dumps(description))
        if written is None:
            study.set_user_attr(_SWEEP, now)
        elif changes := list(_compare(written, now)):
            raise ConfigError(
                f"The sweep '{name}' has changed since it was begun.",
                expected="the file and words it was begun with (run_cap and trials may change)",
                got="; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else ""),
                remedy="set them back to go on, or begin another sweep: storage=ANOTHER_FILE.db",
            )
    except ConfigError:
        raise
    except Exception as fault:  # SQLAlchemy's, a database driver's, or a damaged journal's
        raise _unreadable(storage, fault) from fault
    return SweepStudy(sweep, study, seed, most)


def check_storage(storage: str) -> None:
    """Check that a storage can be one.

    Raises:
        ConfigError: If it is neither a file of a known kind nor a URL.
    """
    if "://" not in storage and Path(storage).suffix not in (".db", ".sqlite", ".journal", ".log"):
        raise ConfigError(
            "This storage cannot be used.",
            expected="FILE.db (SQLite), FILE.journal (journal), or a URL such as postgresql://USER@HOST/NAME",
            got=f"storage={storage}",
            remedy=f"write storage={storage}.db, say",
        )


def as_distribution(parameter: Parameter) -> BaseDistribution:
    """Give Optuna's form of a parameter."""
    if parameter.values:
        return CategoricalDistribution(parameter.values)
    if parameter.is_whole:
        return IntDistribution(int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.is_log, step=parameter.step)


def suggest_value(trial: Trial, parameter: Parameter) -> Any:
    """Give a trial's value of a parameter: the one it has, else the next point's, else a drawn one."""
    if parameter.values:
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.is_whole:
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.is_log, step=parameter.step)


def describe_fault(trial: FrozenTrial) -> str:
    """Give why a trial failed; empty where it did not."""
    return str(trial.user_attrs.get(_FAULT, ""))


def _make_pruner(sweep: SweepFile, stopping: str, epochs: int) -> optuna.pruners.BasePruner:
    if stopping == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(epochs // 5, 1))
    if stopping == "hyperband" and sweep.hyperband is not None:
        most = max(sweep.hyperband.max_epochs or epochs, sweep.hyperband.min_epochs)
        return optuna.pruners.HyperbandPruner(sweep.hyperband.min_epochs, most, sweep.hyperband.eta)
    return optuna.pruners.NopPruner()


def _open_storage(storage: str) -> optuna.storages.BaseStorage:
    check_storage(storage)
    try:
        if "://" in storage:
            return optuna.storages.RDBStorage(storage)
        path = Path(storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".db", ".sqlite"):
            return optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    except Exception as fault:  # whatever the database's driver raises, a missing driver among it
        raise _unreadable(storage, fault) from fault


def _unreadable(storage: str, fault: Exception) -> DataError:
    return DataError(
        "The sweep's storage cannot be used.",
        expected="a storage that Optuna made, or a place where one can be made",
        got=f"{storage}: {type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}",
        remedy="name another one: storage=FILE.db",
    )


def _another_sweep(storage: str, name: str, others: list[str]) -> ConfigError:
    return ConfigError(
        "The storage holds another sweep.",
        expected=f"a storage of '{name}', or none yet",
        got=f"{storage} with {', '.join(sorted(others))}",
        remedy="name another file: storage=FILE.db",
    )


def _name_holder() -> str:
    return f"{socket.gethostname()} {os.getpid()} {_read_start(os.getpid())}"


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Tell whether the process of a running trial is gone; of another machine's nothing is known."""
    host, _, rest = str(trial.user_attrs.get(_HOLDER, "")).partition(" ")
    pid, _, start = rest.partition(" ")
    if not host:
        return True
    return host == socket.gethostname() and not (pid.isdecimal() and _read_start(int(pid)) == start)


def _read_start(pid: int) -> str:
    """Give when a process began, which tells it from a later one with its number; empty where there is none."""
    try:
        # the name, in brackets, may hold spaces; the start is the 22nd field of all
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    try:  # no /proc: whether it lives is all that can be known
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"


def _compare(before: Any, now: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _compare(before.get(key, "unset"), now.get(key, "unset"), f"{place}.{key}".lstrip("."))
    elif before != now:
        yield f"{place} {before} -> {now}"
