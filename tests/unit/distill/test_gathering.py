from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ser_kd.contracts.outputs import Outputs
from ser_kd.distill.gathering import Share, WholeBatch

WORKER = Path(__file__).with_name("gathering_worker.py")
_spec = importlib.util.spec_from_file_location("gathering_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)


def test_shares_cover_the_batch_once() -> None:
    for clips in range(3, 12):
        shares = [Share(clips, rank, 3) for rank in range(3)]
        assert sorted(row for share in shares for row in share.rows) == list(range(clips))
        assert sum(share.part for share in shares) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_processes_see_what_one_holds(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    processes = [subprocess.Popen([sys.executable, str(WORKER), str(rank), str(tmp_path)], env=environment) for rank in range(2)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    rows = list(range(worker.CLIPS))
    expected, batch = worker.make_parts(rows), worker.make_batch(rows)
    said = worker.make_parts(rows)[0].requires_grad_()
    worker.follow(WholeBatch(Outputs(dimensions=said), batch, worker.make_teacher(rows))).backward()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for number, part in enumerate(expected):
            assert found[f"part{number}"].dtype == part.dtype
            assert torch.equal(found[f"part{number}"], part)
        own = Share(worker.CLIPS, rank, 2).rows
        assert found["gradient"].tolist() == [[row + 1.0] * 3 for row in own]
        torch.testing.assert_close(found["concordance_gradient"], said.grad[own])
        assert torch.equal(found["waveforms"], batch.waveforms)
        assert torch.equal(found["keys"], batch.keys)
        torch.testing.assert_close(found["dimensions"], batch.dimensions, equal_nan=True)
        assert found["own"].tolist() == own  # names stay at home
        assert torch.equal(found["student"], expected[0])
        assert torch.equal(found["teacher"], expected[0] * 2)
        assert torch.equal(found["named"], expected[0] + 1)
        assert bool(found["same"])
