from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.sweeps.job_folder import JobFolder, Order, Result, find_work, name_folder, name_work, read_epochs
from ser_kd.sweeps.jobs import Job, State
from tests.unit.sweeps.worked_jobs import work

LOG = """epoch,learning_rate,step,train/loss,validation/ua
0,,15,,0.25
0,0.1,15,1.9,
1,,31,,0.5
1,0.1,31,1.8,
"""


def test_epochs_are_read_from_the_log_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert read_epochs(path) == []
    path.write_text(LOG)
    assert read_epochs(path) == [{"epoch": 1, "validation/ua": 0.25}, {"epoch": 2, "validation/ua": 0.5}]
    path.write_text(LOG + "2,,47,,0.75\n2,0.1,47,1.")  # a row that is not whole
    assert len(read_epochs(path)) == 2
    path.write_text(LOG + "2,,47,,0.75\n")  # the best weights, judged in the end of a training that stopped early
    assert len(read_epochs(path)) == 2
    path.write_text(LOG + "1,,40,,0.9\n")  # or as the last epoch once more
    assert read_epochs(path)[1]["validation/ua"] == 0.5


def test_without_validation_epochs_are_counted_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/loss\n0,3,1.0\n1,6,0.9\n")
    assert read_epochs(path) == [{"epoch": 1}, {"epoch": 2}]


def test_progress_is_told_once(tmp_path: Path) -> None:
    job, worker = JobFolder(tmp_path / "job"), JobFolder(tmp_path / "job")
    job.begin(Order("module:function", ("a", "b")))
    assert job.read_progress() == []
    worker.tell_place(tmp_path, "run", epochs=2)
    assert job.read_progress() == [{"run": "run", "epochs": 2}]
    assert job.read_progress() == []
    log = tmp_path / "run" / "logs" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text(LOG + "2,,47,,0.75\n")  # behind the last epoch: judged in the end
    assert [tuple(row[key] for key in ("run", "epoch", "epochs", "validation/ua")) for row in job.read_progress()] == [
        ("run", 1, 2, 0.25), ("run", 2, 2, 0.5),
    ]  # fmt: skip
    assert job.read_progress() == []


def test_what_is_said_arrives_and_is_forgotten_with_the_next_order(tmp_path: Path) -> None:
    job, worker = JobFolder(tmp_path / "job"), JobFolder(tmp_path / "job")
    order = Order("module:function", ("a", "b"))
    job.begin(order)
    assert worker.read_order() == order
    assert not worker.is_unwanted
    job.ask_to_stop()
    assert worker.is_unwanted
    result = Result(State.FAILED, "why", {"value": 0.5})
    assert job.read_result() is None
    worker.write_result(result)
    assert job.read_result() == result
    job.begin(order)
    assert job.read_result() is None
    assert not worker.is_unwanted


@pytest.mark.parametrize("rank", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    job = JobFolder(tmp_path)
    monkeypatch.setenv(rank, "1")
    job.write_result(Result(State.FINISHED))
    job.tell_place(tmp_path, "run", 1)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(rank, "0")
    job.write_result(Result(State.FINISHED))
    assert job.read_result() == Result(State.FINISHED)


def test_an_order_carries_what_another_machine_needs_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_KD_RAVDESS", "/data")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    carried = Order("module:function", ()).environment
    assert carried["SER_KD_RAVDESS"] == "/data"
    assert "secret" not in carried.values()


def test_work_is_found_by_its_name() -> None:
    assert find_work(name_work(work)) is work


def test_a_folder_is_named_by_the_words() -> None:
    names = {name_folder(Job("trial 1: alpha 0.1", words)) for words in (("a",), ("a", "b"), ("a",))}
    assert len(names) == 2
    assert all(name.startswith("trial_1__alpha_0.1-") for name in names)
    assert len(name_folder(Job("x" * 400, ()))) < 100
