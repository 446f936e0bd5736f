"""A Ray cluster: trainings as tasks with shares of GPUs and cores."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported: nothing is told to anybody

import ray

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.job_folder import JobFolder
from ser_kd.sweeps.job_process import do_job, write_output_to
from ser_kd.sweeps.launchers.launched_jobs import Standing
from ser_kd.sweeps.launchers.settings import Demand, RaySettings

_KNOCK_S = 10.0


class RayCluster:
    """Hands jobs to Ray as tasks; one whose process or node dies is begun anew by Ray, elsewhere if need be.

    Args:
        settings: Of the user.
        demand: What each training asks for.

    Raises:
        ConfigError: If there is no cluster at the address, or none of its nodes can take a training.
    """

    name = "Ray"

    def __init__(self, settings: RaySettings, demand: Demand) -> None:
        self.settings = settings
        _connect(settings.address)
        self.gpus = settings.gpus_per_job
        if self.gpus is None:
            wants = demand.accelerator in ("gpu", "cuda", "auto") and ray.cluster_resources().get("GPU", 0)
            self.gpus = float(demand.least) if wants or demand.accelerator in ("gpu", "cuda") else 0.0
        self.cpus = settings.cpus_per_job
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.room = sum(map(self._count_room, nodes))
        if not self.room:
            ray.shutdown()
            raise ConfigError(
                "No node of the Ray cluster can take a training.",
                expected=f"a node with {self.cpus:g} cores and {self.gpus:g} GPUs",
                got="; ".join(map(_describe, nodes)) or "no node",
                remedy="set launcher.cpus_per_job and launcher.gpus_per_job (0.5 lets two share a GPU)",
            )
        self._refs: dict[str, Any] = {}
        # retry_exceptions stays off: a training that raises would do so again
        self._task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=settings.retries)(_do_task)

    def submit(self, folder: Path, name: str) -> str:
        """Hand over the job of a folder."""
        ref = self._task.options(name=name).remote(str(folder))
        self._refs[ref.hex()] = ref
        return ref.hex()

    def find(self, name: str) -> str | None:
        """Find nothing: tasks end with the process that handed them over."""
        return None

    def ask(self, numbers: Collection[str]) -> dict[str, Standing]:
        """Ask which tasks are over; those of an earlier session are gone."""
        refs = [self._refs[number] for number in numbers if number in self._refs]
        waiting = {ref.hex() for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[1]} if refs else set()
        return {number: Standing.ALIVE if number in waiting else Standing.GONE for number in numbers}

    def explain(self, number: str) -> str:
        """Say why a task that is gone gave no result."""
        try:
            ray.get(self._refs[number], timeout=0)
        except Exception as fault:  # whatever Ray says of a process or node that died
            return " ".join(str(fault).split())[:300]
        return ""

    def close(self) -> None:
        """Leave the cluster, which ends the tasks that still run."""
        ray.shutdown()

    def _count_room(self, resources: dict[str, float]) -> int:
        shares = [resources.get(kind, 0.0) / each for kind, each in (("CPU", self.cpus), ("GPU", self.gpus)) if each]
        return int(min(shares, default=0.0) + 1e-6)


def _connect(address: str) -> None:
    try:
        _check_reachable(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(address=address, include_dashboard=None if address != "local" else False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as fault:
        raise ConfigError(
            "There is no Ray cluster at this address.",
            expected="auto, local or HOST:PORT of a cluster that runs ('ray start --head' starts one)",
            got=f"launcher.address={address}: {(str(fault).splitlines() or [''])[0]}",
            remedy="launcher.address=local starts one for as long as the command lasts",
        ) from fault


def _check_reachable(address: str) -> None:
    """Knock at HOST:PORT first, for Ray itself tries for many minutes.

    Raises:
        OSError: If nobody answers.
        ValueError: If it is no such address.
    """
    host, _, port = address.rpartition(":")
    if address in ("", "auto", "local"):
        return
    if not host or not port.isdecimal() or "/" in host:
        raise ValueError("this is not HOST:PORT")
    with socket.create_connection((host, int(port)), timeout=_KNOCK_S):
        pass


def _describe(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} cores and {resources.get('GPU', 0):g} GPUs"


def _do_task(folder: str) -> None:
    path = Path(folder)
    with write_output_to(JobFolder(path).log):
        do_job(path)
