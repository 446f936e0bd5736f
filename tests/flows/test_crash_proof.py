"""Runs that are killed, told to stop, or find no room, and the same command after that."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = [
    "experiments=wav_to_mfcc/student", "corpus=demo", *SMALL, "datamodule.clip_samples=32000", "datamodule.batch_size=8",
    "views=waveform_000",
]  # fmt: skip


OFTEN, SELDOM = ("trainer.max_epochs=4", "checkpoint_minutes=0.005"), ("trainer.max_epochs=4", "checkpoint_minutes=60")


def start(workplace: Path, name: str, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SER_KD_RUNS": str(workplace / "runs"), "SER_KD_CACHE": str(workplace / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ser_kd", "train", *WORDS, f"experiment={name}", *more],
        cwd=workplace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def steps_of(folder: Path) -> int:
    last = folder / "checkpoints" / "last.ckpt"
    return int(torch.load(last, weights_only=True)["global_step"]) if last.is_file() else 0


def folder_of(workplace: Path, name: str) -> Path | None:
    return next((workplace / "runs").glob(f"{name}/*/fold=0/seed=0"), None)


def wait_for_a_step(process: subprocess.Popen[str], workplace: Path, name: str, after: int = 0) -> None:
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 120:
        folder = folder_of(workplace, name)
        if folder is not None and steps_of(folder) > after:
            return
        time.sleep(0.1)


def weights(folder: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / checkpoint, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def whole(workplace: Path) -> Path:
    process = start(workplace, "crash/whole", *OFTEN)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return only_run(workplace, "crash/whole")


def check_equal(folder: Path, whole: Path) -> None:
    for checkpoint in ("last.ckpt", "best.ckpt"):
        for name, value in weights(whole, checkpoint).items():
            assert torch.equal(weights(folder, checkpoint)[name], value), (checkpoint, name)
    for file in ("predictions.csv", "logs/metrics.csv"):
        assert (folder / file).read_text() == (whole / file).read_text()
    got, expected = (RunRecord.from_json((place / "record.json").read_text()) for place in (folder, whole))
    assert got.metrics == expected.metrics
    assert got.epochs == expected.epochs


def test_killed_twice_at_any_moment_it_ends_with_the_same_weights(workplace: Path, whole: Path) -> None:
    chance = random.Random(0)
    for _ in range(2):
        process = start(workplace, "crash/killed", *OFTEN)
        wait_for_a_step(process, workplace, "crash/killed", after=steps_of(folder_of(workplace, "crash/killed") or Path("none")))
        time.sleep(chance.random())
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(workplace, "crash/killed", *OFTEN)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    folder = only_run(workplace, "crash/killed")
    assert not list(folder.rglob("*.part"))
    check_equal(folder, whole)


def test_told_to_stop_it_saves_and_the_same_command_goes_on(workplace: Path, whole: Path) -> None:
    process = start(workplace, "crash/told", *SELDOM)
    wait_for_a_step(process, workplace, "crash/told")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 143, errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    process = start(workplace, "crash/told", *SELDOM)
    process.communicate()
    check_equal(only_run(workplace, "crash/told"), whole)


def test_what_changed_since_is_told(workplace: Path, ser_kd) -> None:
    process = start(workplace, "crash/changed", "trainer.max_epochs=200")
    wait_for_a_step(process, workplace, "crash/changed")
    process.kill()
    process.communicate()
    code, _, errors = ser_kd("train", *WORDS, "experiment=crash/changed", "trainer.max_epochs=1", "optimizer.lr=0.01")
    assert code == 0, errors
    assert "the experiment has changed: optimizer.lr 0.002 -> 0.01; trainer.max_epochs 200 -> 1" in errors
    assert len(list((workplace / "runs" / "crash" / "changed").iterdir())) == 2  # nothing of the first is lost


def test_a_folder_that_cannot_be_written_is_one_message(workplace: Path, ser_kd) -> None:
    (workplace / "file").write_text("in the way")
    code, output, errors = ser_kd("train", *WORDS, "experiment=crash/nowhere", f"paths.runs={workplace / 'file'}")
    assert code == 2
    assert "A file cannot be written." in errors
    assert "Traceback" not in output + errors


def test_a_hostile_checkpoint_is_refused(workplace: Path, whole: Path, ser_kd) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (Path.touch, (workplace / "trace",))

    target = workplace / "runs" / "crash" / "hostile" / "0" / "fold=0" / "seed=0"
    (target / "checkpoints").mkdir(parents=True)
    for name in ("record.json", "config.yaml"):
        (target / name).write_text((whole / name).read_text())
    torch.save({"state_dict": Hostile()}, target / "checkpoints" / "best.ckpt")
    code, _, errors = ser_kd("evaluate", f"run={target}")
    assert code == 2
    assert "no file of tensors and plain data" in errors
    assert not (workplace / "trace").exists()


@pytest.mark.parametrize("words", [["patience=1", "trainer.max_epochs=12", "optimizer.lr=0.0"], ["refit=true", "trainer.max_epochs=3"]])
def test_a_run_that_stopped_early_stays_stopped(workplace: Path, ser_kd, words: list[str]) -> None:
    words = ["train", *WORDS, *words, f"experiment=stopped/{words[0].partition('=')[0]}"]
    code, _, errors = ser_kd(*words)
    assert code == 0, errors
    folder = only_run(workplace, words[-1].partition("=")[2])
    record = json.loads((folder / "record.json").read_text())
    before = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert record["epochs"]["run"] < record["epochs"]["planned"]
    (folder / "record.json").write_text(json.dumps({**record, "status": "running"}))  # killed while it was judged
    code, _, errors = ser_kd(*words)
    assert code == 0, errors
    again = json.loads((folder / "record.json").read_text())
    assert again["epochs"] == record["epochs"]
    assert again["metrics"] == record["metrics"]
    after = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert after["global_step"] == before["global_step"]
    assert all(torch.equal(after["state_dict"][name], value) for name, value in before["state_dict"].items())
