"""A sweep as an Optuna study on disk: which trial is next, what became of each, and who holds it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.early_stopping import make_pruner
from ser_kd.sweeps.holders import HOLDER, is_abandoned, name_holder
from ser_kd.sweeps.keyed_sampler import KeyedSampler, suggest_value
from ser_kd.sweeps.sweep_file import SweepFile
from ser_kd.sweeps.trial_storage import hide_password, open_storage, tell_unusable

_SWEEP, _SAME_AS, _FAULT, _RUN = "sweep", "same_as", "fault", "run"
_DRAWS = 200
"""So many draws in a row that were tried before end a sweep."""

_SETTLE_S = 0.5
"""So long two processes that take up the same orphan wait to see whose it is."""


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
        dead_hosts: Machines whose running trials are taken up; ``all`` stands for every other one.
    """

    sweep: SweepFile
    study: optuna.Study
    seed: int = 0
    most: int | None = None
    dead_hosts: Collection[str] = ()
    _orphans: list[int] = field(default_factory=list)
    _failed_now: set[int] = field(default_factory=set)
    _exhausted: bool = False

    def __post_init__(self) -> None:
        # Optuna's own sampler of grids passes over points that failed, and shuffles
        self.study.sampler = KeyedSampler("random" if self.sweep.method == "grid" else self.sweep.method, self.seed)
        trials = self.study.get_trials(deepcopy=False)
        self._orphans = [trial.number for trial in trials if trial.state is TrialState.RUNNING and is_abandoned(trial, self.dead_hosts)]
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
        return [trial for trial in running if trial.user_attrs.get(HOLDER) != name_holder() and not is_abandoned(trial, self.dead_hosts)]

    def take(self) -> Trial | None:
        """Give the next trial, its parameters chosen; None where all are taken or done.

        Trials that a dead process left come first.
        """
        while self._orphans:
            trial = self._open(self._orphans.pop(0))
            if trial is not None:
                return trial
        for _ in range(_DRAWS):
            if self._exhausted or self._count_claimed() >= self.planned:
                return None
            if self.sweep.method == "grid" and not self._enqueue_next_point():
                return None
            trial = self._claim(self.study.ask())
            twin = self._find_twin(trial)
            if twin is None and self._count_claimed(before=trial.number) < self.planned:
                return trial
            trial.set_user_attr(_SAME_AS, twin if twin is not None else -1)  # -1: another process took the last one just before
            self.study.tell(trial, state=TrialState.FAIL)
        self._exhausted = True  # what is left is too rare to be drawn
        return None

    def is_behind(self, trial: Trial, epoch: int, value: float) -> bool:
        """Note a trial's value after an epoch, and tell whether the trial should be stopped early.

        From the hyperband's last epoch on none is.
        """
        last = self.study.trials[trial.number].last_step
        if value != value or (last is not None and epoch <= last):  # undefined, or told before the process died
            return False
        trial.report(value, epoch)
        band = self.sweep.hyperband
        return not (band is not None and band.max_epochs is not None and epoch >= band.max_epochs) and trial.should_prune()

    def note_run(self, trial: Trial, folder: str) -> None:
        """Note where a trial's run lies."""
        trial.set_user_attr(_RUN, folder)

    def finish(self, trial: Trial, value: float) -> None:
        """Note the value of a finished trial."""
        self.study.tell(trial, value, skip_if_finished=True)

    def stop_early(self, trial: Trial) -> None:
        """Note that a trial was stopped because it fell behind."""
        self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def fail(self, trial: Trial, reason: str) -> None:
        """Note that a trial failed, and why; the next session tries its parameters again."""
        trial.set_user_attr(_FAULT, reason)
        self._failed_now.add(trial.number)
        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def _count_claimed(self, before: int | None = None) -> int:
        trials = self.study.get_trials(deepcopy=False)[:before]
        live = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return sum(trial.state in live or trial.number in self._failed_now for trial in trials)

    def _enqueue_next_point(self) -> bool:
        """Put the grid's next point at the head of the queue, where nothing waits; False where no point is left."""
        trials = self.study.get_trials(deepcopy=False)
        if any(trial.state is TrialState.WAITING for trial in trials):
            return True
        taken = [_point_of(trial) for trial in trials if trial.state is not TrialState.FAIL or trial.number in self._failed_now]
        point = next((point for point in self.sweep.list_points() if point not in taken), None)
        if point is not None:
            self.study.enqueue_trial(point)
        return point is not None

    def _claim(self, trial: Trial) -> Trial:
        trial.set_user_attr(HOLDER, name_holder())
        for parameter in self.sweep.parameters:
            suggest_value(trial, parameter)
        return trial

    def _find_twin(self, trial: Trial) -> int | None:
        """Give the number of an earlier trial with the same parameters that did not fail in an earlier session."""
        for other in self._wait_for_points(trial.number):
            counts = other.state is not TrialState.FAIL or other.number in self._failed_now
            if counts and _point_of(other) == trial.params:
                return other.number
        return None

    def _wait_for_points(self, number: int) -> list[FrozenTrial]:
        """Give the trials before one, when another process that has just taken one has chosen its parameters, too."""
        for _ in range(100):
            earlier = self.study.get_trials(deepcopy=False)[:number]
            choosing = [trial for trial in earlier if trial.state is TrialState.RUNNING and not is_abandoned(trial, self.dead_hosts)]
            if all(len(_point_of(trial)) == len(self.sweep.parameters) for trial in choosing):
                break
            time.sleep(0.05)
        return earlier

    def _open(self, number: int) -> Trial | None:
        """Take up a running trial of a dead process; None where another process did."""
        frozen = self.study.get_trials(deepcopy=False)[number]
        if frozen.state is not TrialState.RUNNING or not is_abandoned(frozen, self.dead_hosts):
            return None
        trial = self._claim(Trial(self.study, frozen._trial_id))  # Optuna has no public way back to a running trial
        time.sleep(_SETTLE_S)  # storages have no test-and-set: of two that claim it the later one has it
        return trial if trial.user_attrs.get(HOLDER) == name_holder() else None


def open_study(
    sweep: SweepFile,
    name: str,
    storage: str,
    description: Mapping[str, Any],
    *,
    stopping: str,
    epochs: int,
    seed: int,
    most: int | None,
    dead_hosts: Collection[str] = (),
) -> SweepStudy:
    """Open the study of a sweep, or make it.

    Args:
        sweep: What the file asks for.
        name: Name of the study.
        storage: See ``open_storage``.
        description: What must stay the same while the sweep goes on, as plain data.
        stopping: ``hyperband``, ``median`` or ``none``.
        epochs: Epochs of a whole trial.
        seed: Of random draws.
        most: Trials to do in all.
        dead_hosts: Machines whose running trials are taken up.

    Raises:
        ConfigError: If the storage holds another sweep, or this one with another description.
        DataError: If the storage cannot be read.
    """
    optuna.logging.set_verbosity(logging.ERROR)  # trials are shown by us
    opened = open_storage(storage)
    try:
        others = optuna.get_all_study_names(opened)
        if name not in others and others and "://" not in storage:
            raise _another_sweep(storage, name, others)
        direction = StudyDirection.MAXIMIZE if sweep.maximize else StudyDirection.MINIMIZE
        study = optuna.create_study(
            storage=opened, study_name=name, direction=direction, load_if_exists=True, pruner=make_pruner(sweep, stopping, epochs)
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
        raise tell_unusable(storage, fault) from fault
    return SweepStudy(sweep, study, seed, most, dead_hosts)


def describe_fault(trial: FrozenTrial) -> str:
    """Give why a trial failed; empty where it did not."""
    return str(trial.user_attrs.get(_FAULT, ""))


def find_run(trial: FrozenTrial) -> str:
    """Give where a trial's run lies; empty where it is not known."""
    return str(trial.user_attrs.get(_RUN, ""))


def _another_sweep(storage: str, name: str, others: list[str]) -> ConfigError:
    return ConfigError(
        "The storage holds another sweep.",
        expected=f"a storage of '{name}', or none yet",
        got=f"{hide_password(storage)} with {', '.join(sorted(others))}",
        remedy="name another file: storage=FILE.db",
    )


def _point_of(trial: FrozenTrial) -> dict[str, Any]:
    """Give a trial's parameters, also where it was queued with them and has not asked for them yet."""
    return dict(trial.system_attrs.get("fixed_params") or trial.params)


def _compare(before: Any, now: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _compare(before.get(key, "unset"), now.get(key, "unset"), f"{place}.{key}".lstrip("."))
    elif before != now:
        yield f"{place} {before} -> {now}"
