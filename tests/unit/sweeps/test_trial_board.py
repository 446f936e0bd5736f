from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ser_kd.contracts.sweep_record import SweepRecord
from ser_kd.sweeps.jobs import Job, State
from ser_kd.sweeps.study import SweepStudy, open_study
from ser_kd.sweeps.study_record import make_record
from ser_kd.sweeps.sweep_file import Hyperband, Parameter, SweepFile
from ser_kd.sweeps.trial_board import TrialBoard
from ser_kd.tasks.sweep_results import SweepNotes, show_results

UA = "validation/ua"
SWEEP = SweepFile(
    "s", "grid", UA, True, (Parameter("objective.alpha", (0.1, 0.5)), Parameter("b", ("x", "y"))), ("fold=0",), None, Hyperband(1, None, 2)
)


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return open_study(SWEEP, "s", str(tmp_path / "s.journal"), {}, stopping="hyperband", epochs=4, seed=0, most=None)


@pytest.fixture
def board(study: SweepStudy) -> TrialBoard:
    return TrialBoard(study, ["fold=0", "sweep=s"])


def take(board: TrialBoard) -> Job:
    job = board.take()
    assert job is not None
    return job


def end(board: TrialBoard, job: Job, state: State = State.FINISHED, value: float = math.nan, message: str = "") -> None:
    job.progress = {"value": value}
    board.settle(job.name, state, message)


def record_of(study: SweepStudy) -> SweepRecord:
    return make_record(study, "demo/distilled", ["fold=0"], stopping="hyperband", command="ser-kd sweep s")


def test_a_job_is_a_line_of_ser_kd_train_and_its_metric(board: TrialBoard) -> None:
    job = take(board)
    assert job.words == (UA, "fold=0", "sweep=s", "objective.alpha=0.1", "b=x")
    assert job.name == "trial 0: b x, alpha 0.1"
    assert not board.is_done


def test_a_trial_that_falls_behind_is_unwanted_but_not_after_its_last_epoch(board: TrialBoard) -> None:
    first, second, third = take(board), take(board), take(board)
    for job, epochs, wanted in ((first, 4.0, True), (second, 1.0, True), (third, 4.0, False)):
        job.progress = {"epoch": 1.0, "epochs": epochs, UA: 0.9 if job is first else 0.1}
        board.note(job)
        assert job.is_unwanted is not wanted
    board.settle(third.name, State.STOPPED)
    assert [trial.state for trial in record_of(board.study).trials] == ["running", "running", "stopped early"]


def test_the_record_tells_where_runs_lie_and_what_became_of_them(board: TrialBoard, study: SweepStudy) -> None:
    good, bad, undefined = take(board), take(board), take(board)
    good.progress = {"run": "demo/distilled/1/fold=0/seed=0"}  # type: ignore[dict-item]
    board.note(good)
    end(board, good, value=0.5)
    end(board, bad, State.FAILED, message="no memory\nat all")
    end(board, undefined)
    record = record_of(study)
    assert [trial.state for trial in record.trials] == ["finished", "failed", "failed"]
    assert record.trials[0].run == "demo/distilled/1/fold=0/seed=0"
    assert [trial.message for trial in record.trials[1:]] == ["no memory; at all", f"{UA} is undefined"]
    assert (record.best, record.planned) == (0, 4)
    assert record.best_command == "ser-kd train fold=0 objective.alpha=0.1 b=x"
    assert [(part.name, part.values) for part in record.parameters] == [("objective.alpha", [0.1, 0.5]), ("b", ["x", "y"])]


def test_the_record_is_written_when_a_trial_changes_and_only_then(board: TrialBoard, study: SweepStudy, tmp_path: Path) -> None:
    written = []

    def make(is_stopped: bool) -> SweepRecord:
        written.append(1)
        return record_of(study)

    notes = SweepNotes(tmp_path / "runs", make)
    job = take(board)
    for _ in range(3):
        notes.notice(job)
    assert len(written) == 1
    end(board, job, value=0.5)
    notes.notice(job)
    assert len(written) == 2
    assert json.loads((tmp_path / "runs" / "sweeps" / "s.json").read_text())["trials"][0]["value"] == 0.5


def test_what_others_train_is_not_missing(board: TrialBoard, study: SweepStudy, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [take(board) for _ in range(4)]
    for job in jobs[:3]:
        end(board, job, value=0.5)
    assert show_results(record_of(study), "s.db") == 0
    assert "1 trials are being trained by other processes" in capsys.readouterr().err
    end(board, jobs[3], State.FAILED, message="no memory")
    assert show_results(record_of(study), "s.db") == 1
    shown = capsys.readouterr()
    assert "trial 3 failed: no memory" in shown.err
    assert "optuna-dashboard sqlite:///s.db" in shown.out
    assert "best: trial 0, validation/ua 0.5000" in shown.out


def test_what_this_process_trained_is_interrupted_when_it_stops(board: TrialBoard, study: SweepStudy) -> None:
    take(board)
    assert [trial.state for trial in record_of(study).trials] == ["running"]
    stopped = make_record(study, "demo/distilled", [], stopping="none", command="", storage="x.db", is_stopped=True)
    assert [trial.state for trial in stopped.trials] == ["interrupted"]
    assert stopped.storage == "x.db"
