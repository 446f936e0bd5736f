from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.sweep_record import SweepTrial
from ser_kd.sweeps import holders, study, trial_storage
from ser_kd.sweeps.study import SweepStudy, open_study
from ser_kd.sweeps.study_record import make_record
from ser_kd.sweeps.sweep_file import Hyperband, Parameter, SweepFile
from ser_kd.sweeps.trial_storage import address_storage, check_storage, hide_password

GRID = SweepFile("s", "grid", "validation/ua", True, (Parameter("a", (2, 1)), Parameter("b", ("x", "y", "z"))), ("fold=0",))
RANDOM = dataclasses.replace(
    GRID, method="random", parameters=(Parameter("a", low=0.1, high=0.9), Parameter("n", low=1, high=9, step=2)), run_cap=6
)
SMALL_RANDOM = dataclasses.replace(GRID, method="random", run_cap=50)
Open = Callable[..., SweepStudy]


@pytest.fixture(params=["kept.db", "kept.journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "deep" / request.param)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_SETTLE_S", 0.0)


def best_of(opened: SweepStudy) -> SweepTrial | None:
    record = make_record(opened, "demo/distilled", ["fold=0"], stopping="none", command="ser-kd sweep s")
    return next((trial for trial in record.trials if trial.number == record.best), None)


def opened(storage: str, sweep: SweepFile = GRID, name: str = "s", **changes: Any) -> SweepStudy:
    given = {"stopping": "none", "epochs": 9, "seed": 0, "most": None, "description": {"words": {"fold": "0"}}, **changes}
    return open_study(sweep, name, storage, given.pop("description"), **given)


def drawn(study: SweepStudy, value: float = 0.5) -> list[dict[str, Any]]:
    """Do all trials, one after another; gives their parameters."""
    done = []
    while (trial := study.take()) is not None:
        done.append(trial.params)
        study.finish(trial, value)
    return done


def orphan(study: SweepStudy) -> optuna.trial.Trial:
    """Take a trial as a process that is gone now."""
    trial = study.take()
    assert trial is not None
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host = str(trial.user_attrs["holder"]).split()[0]
    trial.set_user_attr("holder", f"{host} {process.pid} 1")
    return trial


def test_a_grid_is_done_whole_in_the_files_order_and_once(storage: str) -> None:
    assert drawn(opened(storage)) == list(GRID.list_points())
    assert opened(storage).take() is None
    assert len(opened(storage).list_trials()) == 6


def test_it_goes_on_where_it_was_killed_and_takes_the_running_trial_up_under_its_number(storage: str) -> None:
    first = opened(storage)
    first.finish(first.take(), 0.5)  # type: ignore[arg-type]
    left = orphan(first)
    assert not first.is_behind(left, 1, 0.3)
    second = opened(storage)
    again = second.take()
    assert again is not None
    assert (again.number, again.params) == (left.number, left.params)
    assert not second.is_behind(again, 1, 0.4)  # told before: the value stays
    assert not second.is_behind(again, 2, 0.6)
    assert second.study.trials[again.number].intermediate_values == {1: 0.3, 2: 0.6}
    second.finish(again, 0.7)
    assert drawn(second) == list(GRID.list_points())[2:]


def test_a_trial_that_dies_before_it_has_parameters_gets_those_of_its_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = str(tmp_path / "kept.journal")
    first = opened(storage)
    first._enqueue_next_point()
    first.study.ask()  # and the process dies, or is about to name itself
    assert opened(storage)._orphans == []
    monkeypatch.setattr(holders, "_SETTLING_S", 0.0)  # a minute later
    assert drawn(opened(storage)) == list(GRID.list_points())


def test_what_a_living_process_runs_is_left_to_it(tmp_path: Path) -> None:
    storage = str(tmp_path / "kept.journal")
    held = opened(storage).take()
    assert held is not None
    other = opened(storage)
    assert not other.list_foreign()  # it is our own process
    held.set_user_attr("holder", "another_machine 1 1")
    assert [trial.number for trial in other.list_foreign()] == [held.number]
    assert drawn(other) == list(GRID.list_points())[1:]


def test_a_dead_machines_trials_are_taken_over_where_its_name_is_given(storage: str) -> None:
    first = opened(storage)
    held = first.take()
    assert held is not None
    held.set_user_attr("holder", "another_machine 1 1")
    assert opened(storage, dead_hosts=("a_third",))._orphans == []
    for hosts in (("another_machine",), ("all",)):
        again = opened(storage, dead_hosts=hosts)
        assert not again.list_foreign()
        taken = again.take()
        assert taken is not None
        assert taken.number == held.number
        held.set_user_attr("holder", "another_machine 1 1")


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    storage = str(tmp_path / "kept.journal")
    one, two = opened(storage), opened(storage)
    points = []
    while (trial := one.take() or two.take()) is not None:
        points.append(trial.params)
        one, two = two, one
    assert sorted(map(str, points)) == sorted(map(str, GRID.list_points()))


def test_draws_follow_seed_and_number_however_often_it_is_interrupted(tmp_path: Path) -> None:
    whole = drawn(opened(str(tmp_path / "whole.journal"), RANDOM))
    assert len(whole) == 6
    parts = []
    for _ in range(6):
        study = opened(str(tmp_path / "parts.journal"), RANDOM)
        trial = study.take()
        assert trial is not None
        parts.append(trial.params)
        study.finish(trial, 0.1)
    assert parts == whole
    assert len({str(point) for point in whole}) == 6
    assert drawn(opened(str(tmp_path / "other.journal"), RANDOM, seed=1)) != whole


def test_a_small_space_is_not_drawn_from_twice(tmp_path: Path) -> None:
    study = opened(str(tmp_path / "kept.journal"), SMALL_RANDOM)
    assert study.planned == 6
    points = drawn(study)
    assert sorted(map(str, points)) == sorted(map(str, GRID.list_points()))
    assert len(study.list_trials()) == 6


def test_bayes_comes_nearer_than_random_draws(tmp_path: Path) -> None:
    nearest = {}
    for method in ("random", "bayes"):
        sweep = dataclasses.replace(RANDOM, method=method, parameters=(Parameter("a", low=0.0, high=1.0),), run_cap=40)
        study = opened(str(tmp_path / f"{method}.journal"), sweep)
        distances = []
        while (trial := study.take()) is not None:
            distances.append(abs(trial.params["a"] - 0.37))
            study.finish(trial, -distances[-1])
        nearest[method] = sum(distances[20:])
    assert nearest["bayes"] < nearest["random"] / 2


def test_a_failed_trial_is_not_tried_again_at_once_but_next_time(storage: str) -> None:
    study = opened(storage)
    trial = study.take()
    assert trial is not None
    study.fail(trial, "no memory")
    assert trial.params not in drawn(study)
    assert [other.user_attrs.get("fault") for other in study.list_trials()].count("no memory") == 1
    again = opened(storage)
    assert drawn(again) == [trial.params]
    assert len(again.list_trials()) == 6


def test_more_trials_can_be_added(tmp_path: Path) -> None:
    storage = str(tmp_path / "kept.journal")
    assert len(drawn(opened(storage, RANDOM, most=2))) == 2
    assert len(drawn(opened(storage, RANDOM, most=5))) == 3


def test_the_best_is_the_first_with_the_best_value(tmp_path: Path) -> None:
    for goal, best in ((True, 1), (False, 0)):
        study = opened(str(tmp_path / f"{goal}.journal"), dataclasses.replace(GRID, maximize=goal))
        assert best_of(study) is None
        for value in (0.1, 0.9, 0.9, 0.1, 0.5, 0.5):
            study.finish(study.take(), value)  # type: ignore[arg-type]
        found = best_of(study)
        assert found is not None
        assert found.number == best


@pytest.mark.parametrize("stopping", ["median", "hyperband", "none"])
def test_trials_that_fall_behind_are_stopped(tmp_path: Path, stopping: str) -> None:
    sweep = dataclasses.replace(RANDOM, run_cap=20, hyperband=Hyperband(1, None, 3))
    study = opened(str(tmp_path / "kept.journal"), sweep, stopping=stopping)
    place, stopped = 0, []
    while (trial := study.take()) is not None:
        quality = 0.9 - 0.04 * place  # each worse than those before it
        place += 1
        for epoch in range(1, 10):
            if study.is_behind(trial, epoch, quality * epoch / 9):
                study.stop_early(trial)
                stopped.append(trial.number)
                break
        else:
            study.finish(trial, quality)
    assert bool(stopped) == (stopping != "none")
    assert 0 not in stopped
    best = best_of(study)
    assert best is not None
    assert best.number == 0


def test_hyperband_is_one_ladder_on_which_the_best_of_each_band_go_on(tmp_path: Path) -> None:
    sweep = dataclasses.replace(RANDOM, run_cap=18, hyperband=Hyperband(2, None, 2))
    study = opened(str(tmp_path / "kept.journal"), sweep, stopping="hyperband", epochs=20)
    values: dict[int, list[float]] = {2: [], 4: [], 8: [], 16: []}  # W&B's bands, min_iter x eta^k
    for place in range(18):
        quality = (7 * place % 18) / 18
        trial = study.take()
        assert trial is not None
        for epoch in range(1, 21):
            stops = study.is_behind(trial, epoch, quality)
            if epoch in values:
                values[epoch].append(quality)
                kept = sorted(values[epoch], reverse=True)[: max(len(values[epoch]) // 2, 1)]
                assert stops == (quality not in kept), (place, epoch)
            else:
                assert not stops
            if stops:
                study.stop_early(trial)
                break
        else:
            study.finish(trial, quality)
    assert [len(each) for each in values.values()] == sorted(map(len, values.values()), reverse=True)
    assert len(values[16]) < len(values[2]) / 2


def test_after_the_last_band_none_is_stopped(tmp_path: Path) -> None:
    sweep = dataclasses.replace(RANDOM, hyperband=Hyperband(3, 9, 3))
    study = opened(str(tmp_path / "kept.journal"), sweep, stopping="hyperband")
    for value in (0.9, 0.1):
        trial = study.take()
        assert trial is not None
        stops = [study.is_behind(trial, epoch, value if epoch >= 9 else 0.5) for epoch in range(1, 12)]
        assert not any(stops)
        study.finish(trial, value)


def test_a_point_that_another_process_has_just_taken_is_not_taken_again(storage: str) -> None:
    one, two = opened(storage), opened(storage)
    one._enqueue_next_point()
    held = one.study.ask()  # and has not asked for its parameters yet
    held.set_user_attr("holder", "another_machine 1 1")
    trial = two.take()
    assert trial is not None
    assert trial.params == list(GRID.list_points())[1]


def test_two_processes_do_not_overshoot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = str(tmp_path / "kept.journal")
    one, two = opened(storage, RANDOM, most=1), opened(storage, RANDOM, most=1)
    ask, taken = two.study.ask, []

    def ask_late() -> optuna.trial.Trial:
        taken.append(one.take())  # between its counting and its asking
        return ask()

    monkeypatch.setattr(two.study, "ask", ask_late)
    assert two.take() is None
    assert taken[0] is not None
    assert len(one.list_trials()) == 1


def test_a_changed_sweep_is_refused_with_what_changed(storage: str) -> None:
    opened(storage)
    with pytest.raises(ConfigError, match=r"words\.fold 0 -> 1"):
        opened(storage, description={"words": {"fold": "1"}})
    with pytest.raises(ConfigError, match=r"words\.corpus unset -> demo"):
        opened(storage, description={"words": {"fold": "0", "corpus": "demo"}})
    assert opened(storage).take() is not None


def test_another_sweeps_storage_is_refused(storage: str) -> None:
    opened(storage)
    with pytest.raises(ConfigError, match="The storage holds another sweep"):
        opened(storage, name="other")
    strange = optuna.create_study(storage=f"sqlite:///{Path(storage).parent}/strange.db", study_name="s")
    strange.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(ConfigError, match="The storage holds another sweep"):
        opened(str(Path(storage).parent / "strange.db"))


def test_a_password_stays_hidden() -> None:
    assert hide_password("postgresql://me:a:b@c@host:5432/x") == "postgresql://me:***@host:5432/x"
    assert hide_password("postgresql://me@host/x") == "postgresql://me@host/x"
    assert address_storage("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    assert address_storage("runs/s.db") == "sqlite:///runs/s.db"
    assert address_storage("runs/s.journal") == "runs/s.journal"


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(storage: str) -> None:
        raise ImportError("Failed to import DB access module")

    monkeypatch.setattr(trial_storage, "_open_once", fail)
    with pytest.raises(ConfigError, match=r"ser-kd\[postgresql\]") as told:
        trial_storage.open_storage("postgresql://me:secret@host/x")
    assert "secret" not in str(told.value)


def test_tables_that_another_process_makes_at_the_same_time_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_storage.time, "sleep", lambda seconds: None)
    tries, opens = [], trial_storage._open_once

    def open_late(storage: str) -> optuna.storages.BaseStorage:
        tries.append(storage)
        if len(tries) < 3:
            raise RuntimeError('duplicate key value violates unique constraint "pg_type_typname_nsp_index"')
        return opens(storage)

    monkeypatch.setattr(trial_storage, "_open_once", open_late)
    assert trial_storage.open_storage(str(tmp_path / "kept.db"))
    assert len(tries) == 3
    monkeypatch.setattr(trial_storage, "_open_once", lambda storage: (_ for _ in ()).throw(OSError("Connection refused")))
    with pytest.raises(DataError, match="Connection refused"):
        trial_storage.open_storage(str(tmp_path / "kept.db"))


def test_a_storage_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"write storage=trials\.db"):
        check_storage("trials")
    (tmp_path / "damaged.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(DataError, match="storage cannot be used"):
        opened(str(tmp_path / "damaged.db"))
    with pytest.raises(DataError, match="storage cannot be used"):
        opened("nonsense://nowhere/x")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.db"]
