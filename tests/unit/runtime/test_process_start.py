from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import process_group
from ser_kd.runtime.process_start import check_alone, check_devices, join_processes

WORKER = Path(__file__).with_name("process_worker.py")


def node(**keys: object):
    return OmegaConf.create({"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 1, **keys})


def run_two(what: str, **variables: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "MASTER_PORT", "WORLD_SIZE", "NODE_RANK")}
    environment = {**plain, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3]), **variables}
    return subprocess.run([sys.executable, str(WORKER), what], env=environment, capture_output=True, text=True, timeout=150, check=False)


def test_one_process_is_left_alone() -> None:
    with join_processes(node()):
        assert process_group.count_processes() == 1
        assert process_group.is_first()
        assert process_group.compute_once(lambda: 7) == process_group.take_largest(7) == 7
        with process_group.first_on_each_machine():
            process_group.wait_for_all()
    check_alone(node())


def test_more_gpus_than_there_are() -> None:
    wanted = torch.cuda.device_count() + 1
    with pytest.raises(ConfigError, match="fewer GPUs"):
        check_devices(node(accelerator="gpu", devices=wanted))
    check_devices(node(devices=64))


def test_a_verb_that_cannot_start_processes_refuses_them() -> None:
    with pytest.raises(ConfigError, match=r"(?s)one process.*2 processes"):
        check_alone(node(devices=2))


def test_a_taken_port_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="in use"), join_processes(node(devices=2)):
            pass
    monkeypatch.setenv("MASTER_PORT", "many")
    with pytest.raises(ConfigError, match="no port"), join_processes(node(devices=2)):
        pass


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ("fault", 2, "The second process finds no corpus."),
        ("bug", 1, "KeyError: 'strange'"),
        ("killed", 1, "One of the 2 processes of this run is gone"),
    ],
)
def test_two_processes_end_together_and_one_speaks(what: str, code: int, told: str) -> None:
    done = run_two(what)
    assert done.returncode == code, done.stderr
    assert done.stdout == "hello from 0\n"
    assert told in done.stderr
    assert done.stderr.count("finds") == (what == "fault")
    assert ("Traceback" in done.stderr) == (what == "bug")
