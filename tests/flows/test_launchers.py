"""Cross-validation through submitit and through a Ray cluster: real trainings, one of whose nodes dies."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORDS = ["experiments=demo/teacher", "corpus=demo", *SMALL]
ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Runs a command in a network namespace that has only loopback."""


def read_run(runs: Path, fold: int = 0) -> tuple[dict, list[int]]:
    """The record of the one run of a fold, and the epochs of its log."""
    (folder,) = runs.glob(f"demo/teacher/*/fold={fold}/seed=0")
    with (folder / "logs" / "metrics.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file) if row["train/loss"]]
    return json.loads((folder / "record.json").read_text()), epochs


def test_a_node_dies_and_its_training_goes_on_elsewhere(workplace: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    if not shutil.which("unshare") or not shutil.which("ip") or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here, and Ray would listen on every interface")
    runs = workplace / "of_ray"
    environment = {**os.environ, "SER_KD_CACHE": str(workplace / "cache"), "PYTHONPATH": str(ROOT)}
    words = [*WORDS, f"paths.runs={runs}", "folds=[0]", "trainer.max_epochs=5"]
    command = [*ALONE, sys.executable, str(ROOT / "tests/flows/ray_story.py"), str(runs), *words]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed node" in done.stdout
    assert "1/1 finished  demo/teacher fold=0 seed=0: finished" in done.stdout
    record, epochs = read_run(runs)
    assert record["status"] == "finished"
    assert "resumed from its last checkpoint" in record["notes"]
    assert epochs == list(range(5))  # none lost, none twice


def test_submitit_trains_in_jobs_of_its_own(workplace: Path, ser_kd, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    runs = workplace / "of_submitit"
    words = [*WORDS, f"paths.runs={runs}", "folds=[0,1]", "launcher=slurm", "launcher.cluster=local"]
    code, output, errors = ser_kd("cross-validate", *words)
    assert code == 0, output + errors
    assert "2/2 finished" in output
    assert all(read_run(runs, fold)[0]["status"] == "finished" for fold in (0, 1))
    assert len(list((runs / "launched").glob("*/*_submitted.pkl"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["launcher=slurn"], "did you mean 'slurm'?"),
        (["launcher=slurm", "launcher.partision=gpu"], "did you mean 'launcher.partition'?"),
        (["workers=4096"], "There are more workers than devices."),
        (["launcher=slurm", "launcher.nodes=2"], "another number of processes"),
        (["launcher=ray", "launcher.address=127.0.0.1:1"], "There is no Ray cluster at this address."),
        (["launcher=ray", "launcher.address=somewhere"], "this is not HOST:PORT"),
        (["launcher=ray"], "There is no Ray cluster at this address."),
    ],
)
def test_what_cannot_be_launched_is_told(workplace: Path, ser_kd, words: list[str], message: str) -> None:
    for module, launcher in (("submitit", "launcher=slurm"), ("ray", "launcher=ray")):
        if launcher in words:
            pytest.importorskip(module)
    code, output, errors = ser_kd("cross-validate", *WORDS, f"paths.runs={workplace / 'none'}", "folds=[0]", *words)
    assert code == 2, output + errors
    assert message in errors
    assert not (workplace / "none" / "demo").exists()
