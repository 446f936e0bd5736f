"""Several processes for one run: started by Lightning, by torchrun or by SLURM, joined, and ended together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.process_faults import settle_fault
from ser_kd.runtime.process_group import count_processes, leave_group, note_local_rank, process_rank, wait_for_all
from ser_kd.runtime.progress import quieten_libraries

_GRACE_S = 20.0
"""How long the first process may take to notice that another one died, before it is ended too."""
_FAREWELL_S = 30.0
_FORCE_S = 5.0


@contextmanager
def join_processes(node: DictConfig) -> Iterator[None]:
    """Make this process one of those that share a run, for the time of a block; does nothing where one is enough.

    Lightning's launcher starts the same command line once more for each further device of this machine; under torchrun and SLURM the
    processes are there already. All but the first print nothing. A fault in one ends all, and is told once.

    Args:
        node: Configuration of the trainer.

    Raises:
        ConfigError: If there are fewer devices than asked for, the port is taken, or the processes do not find each other.
    """
    check_devices(node)
    quieten_libraries("offline")
    trainer = make_bare_trainer(node) if _may_be_several(node) else None
    if trainer is None or trainer.world_size == 1:
        yield
        return
    _check_port(trainer)
    children, watch = _start(trainer)
    try:
        with _quiet_but_first():
            yield
            wait_for_all()
    except BaseException as fault:
        wait_s = _FAREWELL_S if isinstance(fault, (KeyboardInterrupt, SystemExit)) else _FORCE_S
        end = settle_fault(fault)
        watch.stop()
        _end(children, wait_s)
        raise end from (None if end is not fault else fault.__cause__)
    leave_group()
    watch.stop()
    _end(children, _FAREWELL_S)


def check_alone(node: DictConfig) -> None:
    """Refuse a trainer of several processes where they have not been started: the verb cannot do it.

    Raises:
        ConfigError: If it asks for more than one.
    """
    if count_processes() == 1 and _may_be_several(node) and (wanted := make_bare_trainer(node).world_size) > 1:
        raise ConfigError(
            "This verb trains each run in one process.",
            expected="a trainer with one device",
            got=f"{wanted} processes (trainer.devices={node.get('devices', 'auto')}, trainer.num_nodes={node.get('num_nodes', 1)})",
            remedy="set trainer.devices=1, or use 'ser-kd train' or 'ser-kd cross-validate', which share one run among processes",
        )


def check_devices(node: Mapping[str, Any]) -> None:
    """Check that there are as many devices as a trainer asks for, and that it asks for one.

    Raises:
        ConfigError: If there are fewer, or it asks for none.
    """
    wanted = node.get("devices", "auto")
    number = int(wanted) if str(wanted).lstrip("-").isdecimal() else 1
    if number < 1 and number != -1:
        raise ConfigError(
            "A trainer needs a device.", expected="trainer.devices of 1 or more, auto, or -1 for all", got=f"trainer.devices={wanted}",
            remedy="set trainer.devices=auto",
        )  # fmt: skip
    if str(node.get("accelerator")) not in ("gpu", "cuda"):
        return
    there = torch.cuda.device_count()
    if there < max(number, 1) and not torch.backends.mps.is_available():
        raise ConfigError(
            "There are fewer GPUs than the trainer asks for.",
            expected=f"{max(number, 1)} (trainer.accelerator={node['accelerator']}, trainer.devices={wanted})",
            got=f"{there} that torch can use",
            remedy=f"set trainer.devices={there}" if there else "set trainer.accelerator=cpu; with trainer=ddp, trainer.devices=2 too",
        )


def foresee_processes(node: DictConfig) -> int:
    """Check a trainer without starting its processes, and give how many there would be.

    Raises:
        ConfigError: If its devices are not there, or Lightning refuses the combination of devices, nodes and strategy.
    """
    check_devices(node)
    return int(make_bare_trainer(node).world_size)


def make_bare_trainer(node: DictConfig) -> lightning.Trainer:
    """Build a trainer that writes nothing, for what it knows of its processes.

    Raises:
        ConfigError: If Lightning refuses the combination of devices, nodes and strategy.
    """
    try:
        trainer: lightning.Trainer = build(
            node, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, sync_batchnorm=False
        )
    except MisconfigurationException as fault:
        raise _cannot_start(fault) from fault
    return trainer


def _may_be_several(node: Mapping[str, Any]) -> bool:
    return str(node.get("devices", "auto")) != "1" or int(node.get("num_nodes") or 1) > 1


def _start(trainer: lightning.Trainer) -> tuple[list[subprocess.Popen[bytes]], _Watch]:
    strategy: Any = trainer.strategy
    children: list[subprocess.Popen[bytes]] = []
    watch = _Watch(children)
    try:
        strategy.launcher.launch(lambda: None)
        # Lightning's own observer would kill this process before it could say what happened; it watches this very list
        children += strategy.launcher.procs
        strategy.launcher.procs.clear()
        watch.start()
        strategy.setup_environment()
    except (MisconfigurationException, RuntimeError, ValueError, OSError) as fault:
        watch.stop()
        _end(children, 0.0)
        raise _cannot_start(fault) from fault
    note_local_rank(strategy.local_rank)
    return children, watch


def _cannot_start(fault: Exception) -> ConfigError:
    message = next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
    if "EADDRINUSE" in message or "address already in use" in message.lower():
        return _port_taken(os.environ.get("MASTER_PORT", "unknown"))
    return ConfigError(
        "The processes of this run cannot be started, or do not find each other.",
        expected="as many processes as trainer.devices times trainer.num_nodes, all with the same MASTER_ADDR and MASTER_PORT",
        got=message[:300],
        remedy="compare trainer.devices and trainer.num_nodes with what torchrun or SLURM starts; name the network with GLOO_SOCKET_IFNAME",
    )


def _check_port(trainer: lightning.Trainer) -> None:
    """Look whether the first process can listen, before others are started that would wait for it."""
    environment: Any = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    wanted = os.environ.get("MASTER_PORT")
    hosts = trainer.global_rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if wanted is None or not hosts:
        return
    if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
        raise ConfigError(
            "MASTER_PORT is no port.", expected="a number from 1 to 65535", got=wanted, remedy="unset MASTER_PORT, or correct it"
        )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch does: a port that was just left is free
        try:
            probe.bind(("", environment.main_port))
            probe.listen(1)
        except OSError as fault:
            raise _port_taken(wanted) from fault


def _port_taken(port: str) -> ConfigError:
    return ConfigError(
        "The port at which the processes of this run would meet is in use.",
        expected="a free port in MASTER_PORT",
        got=f"MASTER_PORT={port}, on which another program listens",
        remedy="unset MASTER_PORT (on one machine a free port is then found), or choose another one on every machine",
    )


@contextmanager
def _quiet_but_first() -> Iterator[None]:
    if process_rank() == 0:
        yield
        return
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        yield


def _end(children: list[subprocess.Popen[bytes]], wait_s: float) -> None:
    """Wait for the started processes, and end those that do not end by themselves."""
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=wait_s)
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()


class _Watch(threading.Thread):
    """Ends the first process where another one died and it does not notice, as in a collective that never returns."""

    def __init__(self, children: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(daemon=True, name="process-watch")
        self._children = children
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.wait(0.5):
            lost = next((child for child in self._children if child.poll()), None)
            if lost is not None and not self._stopped.wait(_GRACE_S):
                console.tell(
                    f"A process of this run (number {lost.pid}) ended with code {lost.returncode}, and the others with it.\n"
                    "  to do:    type the same command again: it goes on from its last checkpoint"
                )
                for child in self._children:
                    child.kill()
                sys.stdout.flush()
                os._exit(1)
