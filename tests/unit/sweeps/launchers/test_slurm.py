from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="the extra slurm is not installed")

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.job_folder import JobFolder, name_folder
from ser_kd.sweeps.jobs import Job, JobBoard, State
from ser_kd.sweeps.launchers.launched_jobs import LaunchedJobs, Standing
from ser_kd.sweeps.launchers.settings import Demand, SlurmSettings
from ser_kd.sweeps.launchers.slurm import ProcessCluster, SlurmCluster, list_jobs
from tests.unit.sweeps.worked_jobs import work

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are processes of their own, which must find the work."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def launch(tmp_path: Path, **keys) -> LaunchedJobs:
    quick = {"retries": 1, "poll_s": 0.05, "ask_s": 0.2, "grace_s": 0.5}
    return LaunchedJobs(work, ProcessCluster(SlurmSettings(cluster="local")), tmp_path / "launched", most=4, **(quick | keys))


def run(tmp_path: Path, *whats: str, **keys) -> list[Job]:
    board = JobBoard([Job(what, (what, str(tmp_path))) for what in whats])
    launch(tmp_path, **keys).run(board)
    return list(board)


def test_jobs_go_through_submitit_and_come_back(tmp_path: Path) -> None:
    fine, wrong, once, killed = run(tmp_path, "fine", "wrong", "once", "killed")
    assert fine.state is State.FINISHED
    assert fine.progress["pid"] != os.getpid()
    assert (fine.progress["epoch"], fine.progress["validation/ua"]) == (2, 0.5)
    assert (wrong.state, wrong.message) == (State.FAILED, "This cannot work.\n  expected: something else")
    assert once.state is State.FINISHED  # killed, and handed over again
    assert killed.state is State.FAILED
    assert "ended without a result" in killed.message
    folder = tmp_path / "launched" / name_folder(killed)
    assert len(list(folder.glob("*_submitted.pkl"))) == 2  # first and one retry
    assert not (folder / "submitted.json").exists()


def test_one_that_is_wanted_no_more_is_ended(tmp_path: Path) -> None:
    board = JobBoard([Job("unwanted", ("unwanted", str(tmp_path)))])

    def notice(job: Job) -> None:
        job.is_unwanted |= job.progress.get("epoch", 0) >= 2

    launch(tmp_path).run(board, notice)
    (job,) = board
    assert job.state is State.STOPPED
    assert job.progress["epoch"] < 500


def test_at_the_clusters_signal_a_job_is_queued_again(tmp_path: Path) -> None:
    (job,) = run(tmp_path, "preempted", retries=0)
    assert job.state is State.FINISHED
    assert (tmp_path / "preempted").read_text() == "12"
    assert len(list((tmp_path / "launched" / name_folder(job)).glob("*_submitted.pkl"))) == 1  # the same job


SCRIPT = """
import sys
from pathlib import Path
from tests.unit.sweeps.launchers.test_slurm import run
run(Path(sys.argv[1]), "slow")
"""


def test_killed_the_launcher_finds_its_job_again_and_hands_none_over_twice(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], start_new_session=True)
    folder = tmp_path / "launched" / name_folder(Job("slow", ("slow", str(tmp_path))))
    deadline = time.monotonic() + 60
    while not (folder / "place.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert JobFolder(folder).read_result() is None
    (job,) = run(tmp_path, "slow")
    assert job.state is State.FINISHED
    assert len(list(folder.glob("*_submitted.pkl"))) == 1
    assert (tmp_path / "calls of slow").read_text() == "1"


def make_command(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins for SLURM's commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    make_command(folder, "sbatch", f'cp "$1" {tmp_path / "batch.sh"}; echo Submitted batch job 17')
    make_command(folder, "srun", "")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def read_batch(tmp_path: Path) -> set[str]:
    return {line.removeprefix("#SBATCH ") for line in (tmp_path / "batch.sh").read_text().splitlines() if line.startswith("#SBATCH")}


def test_the_sbatch_file_says_what_was_asked_for(tmp_path: Path, slurm: Path) -> None:
    settings = SlurmSettings(
        partition="gpu", account="lab", qos="low", constraint="a100", timeout_min=90, cpus_per_task=4, mem_gb=16, setup="module load cuda",
        signal_delay_s=120, sbatch={"mail_type": "END", "exclusive": "true"},
    )  # fmt: skip
    cluster = SlurmCluster(settings, Demand(devices=2, nodes=2, accelerator="gpu"))
    assert cluster.submit(tmp_path / "job", "named") == "17"
    lines = read_batch(tmp_path)
    wanted = """
        --partition=gpu --account=lab --qos=low --constraint=a100 --time=90 --cpus-per-task=4 --mem=16GB --job-name=named --nodes=2
        --ntasks-per-node=2 --gpus-per-node=2 --signal=USR1@120 --requeue --open-mode=append --mail-type=END --exclusive
    """
    assert lines >= set(wanted.split())
    text = (tmp_path / "batch.sh").read_text()
    assert "export SUBMITIT_PREEMPT_SIGNAL=USR1" in text
    assert text.index("module load cuda") < text.index("srun")
    assert (tmp_path / "job" / "17_submitted.pkl").is_file()


def test_what_nobody_asked_for_is_left_to_the_cluster(tmp_path: Path, slurm: Path) -> None:
    SlurmCluster(SlurmSettings(gpus_per_node=0), Demand(accelerator="gpu")).submit(tmp_path / "job", "named")
    assert not [line for line in read_batch(tmp_path) if line.startswith(("--partition", "--mem", "--account", "--gpus-per-node=1"))]


def test_a_training_that_takes_what_it_is_given_gets_what_was_asked_for(tmp_path: Path, slurm: Path) -> None:
    settings = SlurmSettings(nodes=2, tasks_per_node=4)
    SlurmCluster(settings, Demand(None, None, "gpu")).submit(tmp_path / "job", "named")
    assert read_batch(tmp_path) >= {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4"}


def test_tasks_are_the_trainings_devices() -> None:
    with pytest.raises(ConfigError, match=r"expected: launcher.nodes=1 launcher.tasks_per_node=2"):
        SlurmCluster(SlurmSettings(tasks_per_node=4), Demand(devices=2))


def test_a_job_that_slurm_refuses_is_the_users_fault(tmp_path: Path, slurm: Path) -> None:
    make_command(slurm, "sbatch", "echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1")
    with pytest.raises(ConfigError, match="invalid partition specified: gpuu"):
        SlurmCluster(SlurmSettings(partition="gpuu"), Demand()).submit(tmp_path / "job", "named")


def test_squeue_tells_where_jobs_stand(slurm: Path) -> None:
    make_command(slurm, "squeue", "printf '1|PENDING|a\\n2|RUNNING|b\\n3|TIMEOUT|c\\n4|CANCELLED|d\\n5|COMPLETING|e\\n'")
    cluster = SlurmCluster(SlurmSettings(), Demand())
    alive, gone = Standing.ALIVE, Standing.GONE
    wanted = {"1": alive, "2": alive, "3": gone, "4": Standing.CANCELLED, "5": alive, "6": gone}
    assert cluster.ask(list(wanted)) == wanted
    assert cluster.explain("3") == "TIMEOUT"
    assert [cluster.find(name) for name in "bcx"] == ["2", None, None]
    make_command(slurm, "squeue", "exit 1")
    assert cluster.ask(["3"]) == {"3": alive}  # nobody knows, so nothing is given up


def test_one_that_was_cancelled_is_not_handed_over_again(tmp_path: Path, slurm: Path) -> None:
    make_command(slurm, "squeue", "echo '17|CANCELLED|x'")
    board = JobBoard([Job("fine", ("fine", str(tmp_path)))])
    cluster = SlurmCluster(SlurmSettings(), Demand())
    LaunchedJobs(work, cluster, tmp_path / "launched", most=1, poll_s=0.05, ask_s=0.1, grace_s=0.2).run(board)
    (job,) = board
    assert job.state is State.FAILED
    assert "SLURM job 17 ended without a result (CANCELLED)" in job.message
    assert len(list((tmp_path / "launched").rglob("*_submitted.pkl"))) == 1


def test_one_in_the_queue_of_which_no_note_was_kept_is_found_by_its_name(tmp_path: Path, slurm: Path) -> None:
    job = Job("fine", ("fine", str(tmp_path)))
    make_command(slurm, "squeue", f"echo '16|CANCELLED|{name_folder(job)}'; echo '18|RUNNING|{name_folder(job)}'")
    launcher = LaunchedJobs(work, SlurmCluster(SlurmSettings(), Demand()), tmp_path / "launched", most=1)
    assert launcher._hand_over(job).number == "18"
    assert not (tmp_path / "batch.sh").exists()


def test_a_controller_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'squeue: error: DNS SRV lookup failed' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match=r"does not answer(.|\n)*DNS SRV lookup failed"):
        list_jobs()
    cluster = SlurmCluster(SlurmSettings(), Demand())
    assert cluster.ask(["1"]) == {"1": Standing.ALIVE}
