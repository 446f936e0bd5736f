from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_kd.sweeps.job_folder import JobFolder, name_folder
from ser_kd.sweeps.jobs import Job, JobBoard, State
from ser_kd.sweeps.living_workers import LivingWorkers
from tests.unit.sweeps.worked_jobs import work


def run(tmp_path: Path, *whats: str, count: int = 1) -> dict[str, Job]:
    board = JobBoard([Job(f"{place} {what}", (what, str(tmp_path))) for place, what in enumerate(whats)])
    LivingWorkers(work, count, tmp_path / "logs", environment=lambda number: {"THREADS": str(number + 3)}).run(board)
    return board.jobs


def read_log(tmp_path: Path, job: Job) -> str:
    return JobFolder(tmp_path / "logs" / name_folder(job)).log.read_text()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_does_many_jobs_and_keeps_their_output_apart(tmp_path: Path) -> None:
    jobs = run(tmp_path, "first", "second")
    assert {job.state for job in jobs.values()} == {State.FINISHED}
    assert len({job.progress["pid"] for job in jobs.values()}) == 1
    assert [job.progress["calls"] for job in jobs.values()] == [1, 2]
    assert next(iter(jobs.values())).progress["threads"] == 3
    assert "THREADS" not in os.environ
    printed = read_log(tmp_path, jobs["1 second"]).splitlines()
    assert sorted(printed) == ["printed below python", "printed by second"]


@pytest.mark.parametrize("where", ["", "apart "])
def test_a_job_that_is_wanted_no_more_ends_and_the_worker_goes_on(tmp_path: Path, where: str) -> None:
    board = JobBoard([Job(what, (what, str(tmp_path))) for what in (f"{where}unwanted", "fine")])
    epochs = []

    def notice(job: Job) -> None:
        epochs.append(job.progress.get("epoch", 0))
        job.is_unwanted |= job.progress.get("epoch", 0) >= 3 and "unwanted" in job.name

    LivingWorkers(work, 1, tmp_path / "logs", poll_s=0.05).run(board, notice)
    stopped, fine = board.jobs.values()
    assert (stopped.state, fine.state) == (State.STOPPED, State.FINISHED)
    assert 3 <= stopped.progress["epoch"] < 500
    assert stopped.progress["epochs"] == 600
    told = [epoch for epoch in epochs[: epochs.index(stopped.progress["epoch"]) + 1] if epoch]
    assert told == sorted(set(told))  # each once, none left out
    assert told == list(range(1, len(told) + 1))
    assert fine.progress["calls"] == 2  # the same process


def test_a_job_in_a_process_of_its_own_gives_its_values_and_its_faults(tmp_path: Path) -> None:
    jobs = run(tmp_path, "fine", "apart fine", "apart wrong", "apart killed")
    here, apart, wrong, killed = jobs.values()
    assert [job.state for job in jobs.values()] == [State.FINISHED, State.FINISHED, State.FAILED, State.FAILED]
    assert here.progress["pid"] != apart.progress["pid"]
    assert apart.progress["calls"] == 1
    assert apart.progress["threads"] == 3
    assert wrong.message == "This cannot work.\n  expected: something else"
    assert "its process ended with signal SIGKILL (out of memory?)" in killed.message
    assert read_log(tmp_path, apart).count("printed by apart fine") == 2  # before it was put apart, and there


def test_what_fails_fails_alone(tmp_path: Path) -> None:
    jobs = run(tmp_path, "wrong", "broken", "killed", "fine")
    assert [job.state for job in jobs.values()] == [State.FAILED, State.FAILED, State.FAILED, State.FINISHED]
    wrong, broken, killed, _ = jobs.values()
    assert wrong.message == "This cannot work.\n  expected: something else"
    assert broken.message.startswith("ValueError: a fault of ours; the output is in ")
    assert "signal SIGKILL (out of memory?)" in killed.message
    assert "Traceback" in read_log(tmp_path, broken)


SCRIPT = """
import sys
from pathlib import Path
from ser_kd.sweeps.jobs import Job, JobBoard
from ser_kd.sweeps.living_workers import LivingWorkers
from tests.unit.sweeps.worked_jobs import work
if __name__ == "__main__":
    board = JobBoard([Job("long", (sys.argv[2], sys.argv[1]))])
    LivingWorkers(work, 1, Path(sys.argv[1]) / "logs").run(board)
"""


@pytest.mark.parametrize("what", ["long", "apart long"])
@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_one_who_hands_out_jobs(tmp_path: Path, told: signal.Signals, what: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), what], env=environment, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(300):
        if (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.1)
    pid = int((tmp_path / "pid").read_text())
    assert is_alive(pid)
    process.send_signal(told)
    process.wait(timeout=30)
    for _ in range(100):
        if not is_alive(pid):
            break
        time.sleep(0.1)
    assert not is_alive(pid)
