"""A real SLURM of one node on loopback: jobs run side by side, one is queued again by hand, one is cancelled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.jobs import Job, JobBoard, State
from ser_kd.sweeps.launchers.launched_jobs import LaunchedJobs
from ser_kd.sweeps.launchers.settings import Demand, SlurmSettings
from tests.unit.sweeps.worked_jobs import work

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def find_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not look() and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Daemons of our own, ended with the tests."""
    missing = [name for name in (*DAEMONS, "sbatch", "squeue", "scontrol") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"no SLURM can be started here: {', '.join(missing) or 'not root'} (Debian: slurmctld slurmd slurm-client munge)")
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    host, ports = socket.gethostname().partition(".")[0], find_ports(2)
    cores = len(os.sched_getaffinity(0))
    (folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=folder, ports=ports, cores=cores))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        environment.setenv("PYTHONPATH", str(ROOT))
        names = {"key-file": "key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "seed"}
        munge = ["munged", "--force", "--foreground", *(f"--{key}={folder / name}" for key, name in names.items())]
        daemons = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"])]
        try:
            wait_until(lambda: "idle" in subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True).stdout)
            yield folder
        finally:
            wait_until(lambda: not list_jobs())  # or what watches over their steps stays behind
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(timeout=30)


def test_jobs_go_to_slurm_and_come_back(tmp_path: Path, slurm: Path) -> None:
    from ser_kd.sweeps.launchers.slurm import SlurmCluster

    board = JobBoard([Job(what, (what, str(tmp_path))) for what in ("fine", "wrong", "once", "long")])
    cluster = SlurmCluster(SlurmSettings(partition="main", timeout_min=10), Demand())

    def notice(job: Job) -> None:
        if job.name == "long" and job.state is State.RUNNING and job.progress.get("epoch") == 2:
            (number,) = (line.split()[0] for line in list_jobs() if line.split()[1].startswith("long"))
            subprocess.run(["scancel", number], check=True)

    LaunchedJobs(work, cluster, tmp_path / "launched", most=4, retries=1, poll_s=0.2, ask_s=1.0, grace_s=3.0).run(board, notice)
    fine, wrong, once, long = board
    assert [job.state for job in board] == [State.FINISHED, State.FAILED, State.FINISHED, State.FAILED]
    assert fine.progress["epoch"] == 2
    assert wrong.message == "This cannot work.\n  expected: something else"
    assert once.progress["validation/ua"] == 0.5  # killed, and handed over again
    assert "CANCELLED" in long.message
    assert len(list((tmp_path / "launched").glob("long*/*_submitted.pkl"))) == 1


def list_jobs() -> list[str]:
    return subprocess.run(["squeue", "--noheader", "--format=%i %j"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_refused_job_is_told_with_slurms_own_words(tmp_path: Path, slurm: Path) -> None:
    from ser_kd.sweeps.launchers.slurm import SlurmCluster

    with pytest.raises(ConfigError, match=r"SLURM refuses the job\.[^$]*invalid partition"):
        SlurmCluster(SlurmSettings(partition="nowhere"), Demand()).submit(tmp_path / "job", "named")
