"""A sweep in worker processes: killed and gone on with, no trial repeated; and the lines that wandb's agent makes of the same file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEP = {
    "program": "ser-kd",
    "name": "flow/sweep",
    "method": "grid",
    "metric": {"name": "validation/ua", "goal": "maximize"},
    "parameters": {"objective.temperature": {"values": [1.0, 2.0]}, "objective.alpha": {"values": [0.1, 0.9]}},
    "command": ["${env}", "ser-kd", "train", "experiments=demo/distilled", "fold=0", "${args_no_hyphens}"],
}


@pytest.fixture(scope="module")
def file(workplace: Path) -> str:
    path = workplace / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    return str(path)


@pytest.fixture
def words(workplace: Path) -> list[str]:
    return [*SMALL, f"paths.runs={workplace / 'swept'}"]


@pytest.fixture
def teacher(ser_kd, words: list[str]) -> None:
    code, _, errors = ser_kd("train", "experiments=demo/teacher", *words)
    assert code == 0, errors


def agents_command(content: dict, values: dict[str, object]) -> list[str]:
    """The command that wandb's agent would start for a trial."""
    macros = {**create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}}), "env": ["/usr/bin/env"]}
    command: list[str] = []
    for word in create_sweep_command(list(content["command"])):
        command += macros[word[2:-1]] if word.startswith("${") else [word]
    return command


def trials(workplace: Path) -> list[optuna.trial.FrozenTrial]:
    path = workplace / "swept" / "sweeps" / "flow-sweep.db"
    return optuna.load_study(study_name="flow/sweep", storage=f"sqlite:///{path}").trials if path.is_file() else []


def test_killed_it_goes_on_and_repeats_no_trial(workplace: Path, ser_kd, file: str, words: list[str], teacher: None) -> None:
    environment = {**os.environ, "SER_KD_CACHE": str(workplace / "cache")}
    process = subprocess.Popen([sys.executable, "-m", "ser_kd", "sweep", file, *words, "workers=2"], cwd=workplace, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    records = lambda: set((workplace / "swept").glob("demo/distilled/*/fold=0/seed=0/record.json"))  # noqa: E731
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 300 and '"finished"' not in "".join(path.read_text() for path in records()):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in records() if '"status": "finished"' in path.read_text()}
    numbers = [trial.number for trial in trials(workplace)]
    assert 1 <= len(numbers) <= 4
    time.sleep(2)  # its workers notice
    code, output, errors = ser_kd("sweep", file, *words, "workers=2")
    assert code == 0, output + errors
    assert [trial.number for trial in trials(workplace)] == [0, 1, 2, 3]
    assert all(trial.state.name == "COMPLETE" for trial in trials(workplace))
    assert len(records()) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "best: trial" in output
    assert "ser-kd train experiments=demo/distilled fold=0" in output
    code, output, errors = ser_kd("sweep", file, *words)
    assert code == 0, errors
    assert "best: trial" in output


def test_what_changed_since_is_told(ser_kd, file: str, words: list[str]) -> None:
    code, _, errors = ser_kd("sweep", file, *words, "trainer.max_epochs=1")
    assert code == 2
    assert "has changed since it was begun" in errors
    assert "words.trainer.max_epochs unset -> 1" in errors


def test_the_line_that_wandbs_agent_makes_is_accepted(workplace: Path, ser_kd, words: list[str], teacher: None) -> None:
    content = yaml.safe_load((ROOT / "experiments/demo/sweeps/temperature_alpha.yaml").read_text())
    command = agents_command(content, {name: part["values"][0] for name, part in content["parameters"].items()})
    assert command[:3] == ["/usr/bin/env", "ser-kd", "train"]
    code, output, errors = ser_kd(*command[2:], *words, "dry_run=true")
    assert code == 0, errors
    assert "dry run: nothing was trained" in output


def test_without_its_teacher_nothing_begins(workplace: Path, ser_kd, file: str) -> None:
    code, _, errors = ser_kd("sweep", file, *SMALL, f"paths.runs={workplace / 'none'}")
    assert code == 2
    assert "No finished run" in errors
    assert not list((workplace / "none").rglob("*.db"))
