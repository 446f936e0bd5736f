"""Whole runs that several processes share: as two machines under torchrun, killed and gone on with, refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.flows.conftest import SMALL, only_run
from tests.flows.test_two_processes import find_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORDS = [
    "experiments=wav_to_mfcc/student", "corpus=demo", *SMALL, "datamodule.clip_samples=32000", "datamodule.batch_size=8",
    "student.encoder.dropout=0", "trainer.max_epochs=2", "optimizer._target_=torch.optim.SGD", "~optimizer.betas", "~optimizer.eps",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.devices=2", *WORDS, "checkpoint_minutes=0.005"]  # the later words say accelerator=cpu


def start(workplace: Path, name: str, launcher: list[str], words: list[str], **more: str) -> subprocess.Popen[str]:
    folders = {"SER_KD_RUNS": str(workplace / "runs"), "SER_KD_CACHE": str(workplace / "cache")}
    environment = {**os.environ, **folders, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **more}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "ser_kd", "train", *words, f"experiment={name}"],
        cwd=workplace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def alone(workplace: Path) -> Path:
    process = start(workplace, "shared/alone", [], WORDS)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return only_run(workplace, "shared/alone")


def check_same_finding(folder: Path, alone: Path, nodes: str) -> None:
    assert folder.parents[1].name == alone.parents[1].name  # the identity leaves devices out
    expected = state_of(alone)
    for name, value in state_of(folder).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
    rows, wanted = read_predictions(folder), read_predictions(alone)
    assert [row["id"] for row in rows] == [row["id"] for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
        assert {name: row[name] for name in row if not name.startswith("pro")} == {n: want[n] for n in want if not n.startswith("pro")}
    found, record = (json.loads((place / "record.json").read_text()) for place in (folder, alone))
    for split in ("validation", "test"):
        assert found["confusion"][split] == record["confusion"][split]
    assert found["metrics"] == pytest.approx(record["metrics"], abs=1e-5, nan_ok=True)
    assert (found["hardware"]["processes"], found["hardware"]["nodes"]) == ("2", nodes)
    assert not [note for note in found["notes"] if note.startswith("batch normalisation")]


def test_two_agents_of_torchrun_are_two_machines(workplace: Path, alone: Path) -> None:
    agent = [
        "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{find_port()}", "--rdzv-id=shared",
    ]  # fmt: skip
    processes = [start(workplace, "shared/nodes", agent, ["trainer=ddp_multinode", *WORDS]) for _ in range(2)]
    told = [process.communicate(timeout=500) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sorted(text.count("test, fold 0, seed 0") for text, _ in told) == [0, 1]
    check_same_finding(only_run(workplace, "shared/nodes"), alone, "2")


def test_one_of_two_is_killed_and_the_same_command_goes_on(workplace: Path, alone: Path) -> None:
    process = start(workplace, "shared/killed", [], TWO)
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 300:
        if list((workplace / "runs" / "shared" / "killed").glob("*/fold=0/seed=0/checkpoints/last.ckpt")):
            break
        time.sleep(0.1)
    (other,) = (int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    os.kill(other, signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "One of the 2 processes of this run is gone" in errors
    assert "Traceback" not in errors
    process = start(workplace, "shared/killed", [], TWO)
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "goes on from its last checkpoint" in output
    assert output.count("test, fold 0, seed 0") == 1
    check_same_finding(only_run(workplace, "shared/killed"), alone, "1")


def test_more_gpus_than_there_are_is_refused(ser_kd) -> None:
    count = torch.cuda.device_count() + 1
    code, _, errors = ser_kd("train", "trainer=ddp", f"trainer.devices={count}", "corpus=demo", "corpus.speakers=6")
    assert code == 2
    assert "There are fewer GPUs than the trainer asks for." in errors


def test_a_port_in_use_is_refused(ser_kd, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen(1)
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        code, output, errors = ser_kd("train", *TWO, "experiment=shared/port")
    assert code == 2
    assert "is in use" in errors
    assert "Traceback" not in output + errors


def test_a_batch_that_cannot_be_shared_is_one_message(workplace: Path) -> None:
    process = start(workplace, "shared/odd", [], [word for word in TWO if "batch_size" not in word] + ["datamodule.batch_size=7"])
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2, errors
    assert errors.count("The batch cannot be shared equally.") == 1
    assert "set datamodule.batch_size=8" in errors
