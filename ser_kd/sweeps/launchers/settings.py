"""What can be said about where jobs run, one class for each launcher; the comments are the help."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LocalSettings:
    """Processes on this machine (``launcher=local``).

    Args:
        workers_per_gpu: Trainings that share a GPU.
    """

    workers_per_gpu: int = 1


@dataclass(frozen=True)
class SlurmSettings:
    """Jobs of SLURM (``launcher=slurm``), one for each training.

    Args:
        cluster: ``slurm``; ``local`` starts each job as a process of this machine, to try the words out.
        folder: Where the jobs' files lie, seen by all nodes; None is ``launched`` in the folder of runs.
        partition: Partition; None is the cluster's.
        account: Account that is charged.
        qos: Quality of service.
        constraint: Features that nodes must have.
        timeout_min: Minutes after which SLURM ends a job; it is saved, queued again and goes on.
        signal_delay_s: Seconds before that at which it is told.
        nodes: Nodes of a job; None is what the training asks for.
        tasks_per_node: Processes on each node; None is one for each device of the training.
        gpus_per_node: GPUs on each node; None is one for each device where the training asks for GPUs.
        cpus_per_task: Cores of each process.
        mem_gb: Memory on each node.
        setup: Shell commands before the job, such as ``module load cuda``.
        retries: So often a job that is gone without a result is handed over again.
        sbatch: Further parameters of sbatch.
    """

    cluster: str = "slurm"
    folder: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    timeout_min: int = 240
    signal_delay_s: int = 90
    nodes: int | None = None
    tasks_per_node: int | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    setup: str | None = None
    retries: int = 3
    sbatch: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RaySettings:
    """Tasks of a Ray cluster (``launcher=ray``).

    Args:
        address: ``auto`` (the cluster of this machine), ``local`` (one that lasts as long as the command), or HOST:PORT.
        folder: Where the jobs' files lie, seen by all nodes; None is ``launched`` in the folder of runs.
        gpus_per_job: GPUs of a training, also a part of one; None is one for each of its devices, where the cluster has any.
        cpus_per_job: Cores of a training.
        retries: So often a training is begun anew elsewhere when its process or node dies; it goes on from its checkpoint.
    """

    address: str = "auto"
    folder: str | None = None
    gpus_per_job: float | None = None
    cpus_per_job: float = 1.0
    retries: int = 3


@dataclass(frozen=True)
class Demand:
    """What one training asks for.

    Args:
        devices: Devices, and so processes, on each node; None is as many as it is given.
        nodes: Nodes; None is as many as it is given.
        accelerator: Lightning's: ``auto``, ``cpu``, ``gpu``.
    """

    devices: int | None = 1
    nodes: int | None = 1
    accelerator: str = "auto"

    @property
    def least(self) -> int:
        """Devices on each node that are enough."""
        return self.devices or 1
