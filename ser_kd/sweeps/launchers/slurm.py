"""SLURM, through submitit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.job_process import do_job
from ser_kd.sweeps.launchers.launched_jobs import Standing
from ser_kd.sweeps.launchers.settings import Demand, SlurmSettings

# At submitit's own signal (SIGUSR2) the job is queued again and left at once, whatever is being trained. Lightning and our SafePoints
# listen to SIGUSR1: within a training all ranks save first, and then the job is queued again. Outside of one (data are read, a model
# is judged) submitit's handler does that. So one signal serves all three.
_SIGNAL = "USR1"
_TIMEOUTS = 1000
"""submitit counts how often a job's time was up; each time it went on from where it was, so there is no reason to stop."""

_ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED"}


class JobOnCluster(submitit.helpers.Checkpointable):
    """What submitit calls in the job; queued again it is called again.

    Args:
        folder: The job's folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self) -> None:
        # srun starts one process for each device, so the training must not
        do_job(Path(self.folder), is_own_process=True)


class SlurmCluster:
    """Hands jobs to SLURM and asks what became of them.

    Args:
        settings: Of the user.
        demand: What each training asks for.
    """

    name = "SLURM"

    def __init__(self, settings: SlurmSettings, demand: Demand) -> None:
        self.settings = settings
        self.parameters = list_parameters(settings, demand)
        self._states: dict[str, str] = {}

    def submit(self, folder: Path, name: str) -> str:
        """Hand over the job of a folder.

        Raises:
            ConfigError: If SLURM refuses it.
        """
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=_TIMEOUTS)
        executor.update_parameters(name=name, **self.parameters)
        try:
            return executor.submit(JobOnCluster(str(folder))).job_id
        except FailedJobError as fault:
            said = [line for line in str(fault).splitlines() if line.startswith("sbatch:")] or str(fault).splitlines()[-1:]
            raise ConfigError(
                "SLURM refuses the job.",
                expected="parameters that this cluster knows ('sinfo' lists partitions)",
                got=" ".join(said),
                remedy="correct launcher.partition, launcher.account, …",
            ) from fault

    def find(self, name: str) -> str | None:
        """Give the number of the user's job with this name that waits or runs."""
        found = [number for number, (state, other) in list_jobs().items() if other == name and _judge(state) is Standing.ALIVE]
        return found[0] if found else None

    def ask(self, numbers: Collection[str]) -> dict[str, Standing]:
        """Ask squeue, which knows a job for some minutes after its end; sacct, which submitit asks, needs accounting."""
        try:
            known = list_jobs()
        except ConfigError:  # its controller is restarted, say: nothing is known, so nothing is given up
            return dict.fromkeys(numbers, Standing.ALIVE)
        self._states |= {number: known[number][0] for number in numbers if number in known}
        return {number: _judge(known[number][0]) if number in known else Standing.GONE for number in numbers}

    def explain(self, number: str) -> str:
        """Give the state in which SLURM saw a job last."""
        return self._states.get(number, "")

    def close(self) -> None:
        """Leave the jobs as they are."""


class ProcessCluster:
    """Stands for SLURM on a machine without it: submitit starts each job as a process (``launcher.cluster=local``).

    Args:
        settings: Of the user.
    """

    name = "local"

    def __init__(self, settings: SlurmSettings) -> None:
        self.settings = settings
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _SIGNAL

    def submit(self, folder: Path, name: str) -> str:
        """Start the job of a folder."""
        executor = submitit.AutoExecutor(folder=folder, cluster="local", local_max_num_timeout=_TIMEOUTS)
        executor.update_parameters(timeout_min=self.settings.timeout_min)
        return executor.submit(JobOnCluster(str(folder))).job_id

    def find(self, name: str) -> str | None:
        """Find nothing: processes have no names."""
        return None

    def ask(self, numbers: Collection[str]) -> dict[str, Standing]:
        """Look whether the processes live."""
        return {number: Standing.ALIVE if _is_alive(int(number)) else Standing.GONE for number in numbers}

    def explain(self, number: str) -> str:
        """Know nothing."""
        return ""

    def close(self) -> None:
        """Leave the jobs as they are."""


def list_jobs() -> dict[str, tuple[str, str]]:
    """Ask SLURM for the user's jobs: number -> state and name.

    Raises:
        ConfigError: If its controller does not answer.
    """
    command = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%j", f"--user={os.getuid()}"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    if answer.returncode:
        raise ConfigError(
            "SLURM does not answer.",
            expected="a controller that squeue reaches ('scontrol ping' tells)",
            got=" ".join(answer.stderr.split())[:300] or f"squeue ended with {answer.returncode}",
            remedy="try again when it is up; launcher.cluster=local tries the words out without SLURM",
        )
    return {number: (state, name) for number, state, name in (line.split("|", 2) for line in answer.stdout.splitlines())}


def list_parameters(settings: SlurmSettings, demand: Demand) -> dict[str, Any]:
    """Give the parameters of submitit for a training.

    Raises:
        ConfigError: If nodes or tasks are not those that the training asks for.
    """
    nodes, tasks = settings.nodes or demand.nodes or 1, settings.tasks_per_node or demand.least
    if nodes != (demand.nodes or nodes) or tasks != (demand.devices or tasks):
        raise ConfigError(
            "SLURM would start another number of processes than the training asks for.",
            expected=f"launcher.nodes={demand.nodes or nodes} launcher.tasks_per_node={demand.devices or tasks}, one for each device",
            got=f"launcher.nodes={nodes} launcher.tasks_per_node={tasks}",
            remedy="leave them out, or choose trainer=ddp or ddp_multinode, which take what SLURM gives",
        )
    gpus = settings.gpus_per_node
    if gpus is None and demand.accelerator in ("gpu", "cuda"):
        gpus = tasks
    setup = [f"export SUBMITIT_PREEMPT_SIGNAL={_SIGNAL}", *([settings.setup] if settings.setup else [])]
    further = {key: True if value == "true" else value for key, value in settings.sbatch.items()}
    wanted = {
        "timeout_min": settings.timeout_min,
        "nodes": nodes,
        "tasks_per_node": tasks,
        "gpus_per_node": gpus,
        "cpus_per_task": settings.cpus_per_task,
        "mem_gb": settings.mem_gb,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_qos": settings.qos,
        "slurm_constraint": settings.constraint,
        "slurm_signal_delay_s": settings.signal_delay_s,
        "slurm_setup": setup,
        "slurm_additional_parameters": {"requeue": True, "signal": f"{_SIGNAL}@{settings.signal_delay_s}", **further},
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _judge(state: str) -> Standing:
    return Standing.CANCELLED if state.startswith("CANCELLED") else Standing.GONE if state in _ENDED else Standing.ALIVE


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
