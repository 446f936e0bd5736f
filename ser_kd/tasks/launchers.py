"""Where the trainings of a cross-validation or a sweep run: workers of this machine, SLURM or Ray."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.extras import check_extra
from ser_kd.sweeps.job_folder import Work
from ser_kd.sweeps.jobs import Launcher
from ser_kd.sweeps.launchers.settings import Demand, LocalSettings, RaySettings, SlurmSettings
from ser_kd.tasks.launched_training import join_demands
from ser_kd.tasks.launcher_words import Settings


@dataclass(frozen=True)
class Devices:
    """What this machine has for trainings.

    Args:
        gpus: Names of the GPUs this process may use, as in CUDA_VISIBLE_DEVICES.
        cores: Cores this process may use.
    """

    gpus: tuple[str, ...]
    cores: int


@dataclass
class Launch:
    """How trainings are launched, checked before anything is decoded or connected to.

    Args:
        settings: Of the launcher.
        demand: What each training asks for.
        workers: Trainings at once; None where the cluster decides.
        devices: Of this machine.
    """

    settings: Settings
    demand: Demand
    workers: int | None
    devices: Devices

    def describe(self) -> list[tuple[str, str]]:
        """Say where trainings run."""
        if isinstance(self.settings, LocalSettings):
            return [("workers", str(self.workers))]
        where = f"SLURM, partition {self.settings.partition or 'of the cluster'}" if isinstance(self.settings, SlurmSettings) else "Ray"
        if isinstance(self.settings, SlurmSettings) and self.settings.cluster == "local":
            where = "processes of this machine, as SLURM would be asked for jobs"
        return [("launcher", where), ("jobs at once", str(self.workers or "as many as fit"))]

    @property
    def outlives_us(self) -> bool:
        """Whether trainings go on when the process that handed them over ends."""
        return isinstance(self.settings, SlurmSettings)

    def describe_stop(self) -> str:
        """Say what Ctrl-C left behind."""
        if self.outlives_us:
            return "the jobs go on without it; the same command follows them, and scancel ends them"
        return "what was being trained is saved; the same command does what is missing"

    def make(self, work: Work, runs_root: Path) -> tuple[Launcher, Path]:
        """Make the launcher, and give the folder of the jobs' output.

        Args:
            work: What a worker does.
            runs_root: Folder of runs.

        Raises:
            ConfigError: If a cluster is not there or cannot take a training.
        """
        if isinstance(self.settings, LocalSettings):
            from ser_kd.sweeps.living_workers import LivingWorkers

            logs = runs_root / "logs" / time.strftime("%Y-%m-%d-%H%M%S")
            count = self.workers or 1
            return LivingWorkers(work, count, logs, share_devices(count, self.devices, self.demand, self.settings)), logs
        from ser_kd.sweeps.launchers.launched_jobs import LaunchedJobs

        root = Path(self.settings.folder or runs_root / "launched").expanduser().absolute()
        if isinstance(self.settings, SlurmSettings):
            from ser_kd.sweeps.launchers.slurm import ProcessCluster, SlurmCluster

            is_real = self.settings.cluster == "slurm"
            cluster = SlurmCluster(self.settings, self.demand) if is_real else ProcessCluster(self.settings)
            timing = {} if is_real else {"ask_s": 1.0, "grace_s": 2.0}
            return LaunchedJobs(work, cluster, root, self.workers or 1, retries=self.settings.retries, **timing), root
        from ser_kd.sweeps.launchers.ray_cluster import RayCluster

        ray = RayCluster(self.settings, self.demand)
        if self.workers is not None and self.workers > ray.room:
            ray.close()
            raise ConfigError(
                "There are more workers than places in the Ray cluster.",
                expected=f"workers={ray.room} or less: each training takes {ray.cpus:g} cores and {ray.gpus:g} GPUs",
                got=f"workers={self.workers}",
                remedy=f"set workers={ray.room}, or smaller shares: launcher.gpus_per_job=0.5 launcher.cpus_per_job=1",
            )
        # Ray begins a task anew by itself
        return LaunchedJobs(work, ray, root, self.workers or ray.room, retries=0, ask_s=1.0, grace_s=5.0), root


def plan_launch(
    settings: Settings, demands: Collection[Demand], workers: int | None, jobs: int, verb: str, devices: Devices | None = None
) -> Launch:
    """Check that trainings can run where they shall.

    Args:
        settings: Of the launcher.
        demands: What the trainings ask for, each kind once.
        workers: Trainings at once, as typed; None where nothing was said.
        jobs: How many trainings there are.
        verb: For messages.
        devices: Of this machine; None asks it.

    Raises:
        ConfigError: If they cannot.
    """
    demand = join_demands(demands)
    devices = devices or find_devices(demand)
    if isinstance(settings, SlurmSettings):
        check_extra("slurm", verb=f"{verb} launcher=slurm")
        _check_slurm(settings, demands, demand)
        return Launch(settings, demand, min(workers or jobs, jobs) or 1, devices)
    if (demand.nodes or 1) > 1:
        raise ConfigError(
            "A training on several nodes needs a launcher that has them.",
            expected="launcher=slurm, or trainer.num_nodes=1",
            got=f"trainer.num_nodes={demand.nodes}",
            remedy="use launcher=slurm, or torchrun for one training",
        )
    if isinstance(settings, RaySettings):
        check_extra("ray", verb=f"{verb} launcher=ray")
        return Launch(settings, demand, workers if workers is None else min(workers, jobs) or 1, devices)
    places = count_places(devices, demand, settings)
    if workers is not None and workers > places:
        kind = f"{len(devices.gpus)} GPUs" if devices.gpus else f"{devices.cores} cores"
        share = "launcher.workers_per_gpu=2 lets two share a GPU" if devices.gpus else "more would wait for each other"
        raise ConfigError(
            "There are more workers than devices.",
            expected=f"workers={places} or less: there are {kind}" + (f", {demand.least} for each training" if demand.least > 1 else ""),
            got=f"workers={workers}",
            remedy=f"set workers={places} or leave it out; {share}",
        )
    return Launch(settings, demand, max(min(workers or places, jobs), 1), devices)


def find_devices(demand: Demand) -> Devices:
    """Look what this machine has; no GPUs where the trainings are to run without."""
    cores = len(os.sched_getaffinity(0))
    if demand.accelerator == "cpu":
        return Devices((), cores)
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return Devices(tuple(named[:count] if len(named) >= count else map(str, range(count))), cores)


def count_places(devices: Devices, demand: Demand, settings: LocalSettings) -> int:
    """Give how many trainings this machine takes at once: as its GPUs suffice, else its cores.

    Raises:
        ConfigError: If one training asks for more GPUs than there are.
    """
    if not devices.gpus:
        return max(devices.cores // demand.least, 1)
    if demand.least > len(devices.gpus):
        raise ConfigError(
            "A training asks for more devices than there are.",
            expected=f"trainer.devices={len(devices.gpus)} or less",
            got=f"trainer.devices={demand.least}",
            remedy=f"set trainer.devices={len(devices.gpus)}",
        )
    return len(devices.gpus) // demand.least * settings.workers_per_gpu


def share_devices(count: int, devices: Devices, demand: Demand, settings: LocalSettings) -> Callable[[int], Mapping[str, str]]:
    """Give each worker its GPUs, and its share of the cores: threads of several trainings on one core wait for each other."""
    threads = str(max(devices.cores // (count * demand.least), 1))
    groups = len(devices.gpus) // demand.least

    def environment(number: int) -> dict[str, str]:
        shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if not groups:
            return shared
        first = number % groups * demand.least
        return {**shared, "CUDA_VISIBLE_DEVICES": ",".join(devices.gpus[first : first + demand.least])}

    return environment


def _check_slurm(settings: SlurmSettings, demands: Collection[Demand], demand: Demand) -> None:
    if len({(each.devices, each.nodes) for each in demands}) > 1:
        raise ConfigError(
            "The trainings ask for different numbers of processes, and SLURM's jobs would be alike.",
            expected="the same trainer.devices and trainer.num_nodes for all",
            got="; ".join(sorted({f"{each.devices} devices on {each.nodes} nodes" for each in demands})),
            remedy="train the teachers first, or each kind in a command of its own",
        )
    if settings.cluster == "slurm":
        from ser_kd.sweeps.launchers.slurm import list_jobs, list_parameters

        list_parameters(settings, demand)
        missing = [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]
        if missing:
            raise ConfigError(
                "This machine cannot hand jobs to SLURM.",
                expected="sbatch, squeue and srun, as on a login node",
                got=f"missing: {', '.join(missing)}",
                remedy="run it on a login node; launcher.cluster=local tries the words out without SLURM",
            )
        list_jobs()  # whether the controller answers
