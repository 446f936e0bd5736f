"""Two processes on one machine against one, on the same data."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.flows import shared_step_worker as worker

pytestmark = pytest.mark.slow


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[dict]]:
    """What one process finds, and what each of two finds."""
    folder = tmp_path_factory.mktemp("steps")
    script = Path(worker.__file__)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_port()), "NODE_RANK": "0", "GLOO_SOCKET_IFNAME": "lo"}
    environment = {**os.environ, **meeting, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        subprocess.Popen([sys.executable, str(script), str(folder)], env={**environment, "LOCAL_RANK": str(rank)}) for rank in range(2)
    ]
    alone = worker.step_all(0, 1)
    try:
        assert [process.wait(timeout=180) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return alone, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", ["bare", *worker.VARIANTS])
def test_one_step_over_a_shared_batch_is_that_of_one_process(steps: tuple[dict, list[dict]], name: str) -> None:
    alone, both = steps
    start = worker.make_model(1, 4).state_dict()
    moved = [entry for entry in start if start[entry].is_floating_point() and not torch.equal(start[entry], alone[name][entry])]
    assert len(moved) > 5
    for found in both:
        assert set(found[name]) == set(alone[name])
        for entry, value in alone[name].items():
            if value.is_floating_point():
                torch.testing.assert_close(
                    found[name][entry], value, rtol=1e-6, atol=1e-6, equal_nan=True, msg=lambda text, e=entry: f"{e}: {text}"
                )
            else:
                assert torch.equal(found[name][entry], value), entry


def test_each_clip_is_judged_once_and_in_order(steps: tuple[dict, list[dict]]) -> None:
    _, both = steps
    for found in both:
        assert found["still"]["order"].tolist() == list(range(worker.CLIPS))
        assert int(found["still"]["confusion"].sum()) == worker.CLIPS - 1  # one has no class
