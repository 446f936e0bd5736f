"""A sweep in worker processes: killed and gone on with, no trial repeated; and what wandb's agent does with the shipped file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import yaml
from wandb import wandb_agent

from ser_kd.contracts.records import RunRecord
from ser_kd.runtime.composition import compose
from ser_kd.tasks.sweep_checks import list_metrics
from ser_kd.tasks.training_run import prepare_run
from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEP = {
    "program": "ser-kd",
    "name": "flow/sweep",
    "method": "grid",
    "metric": {"name": "validation/ua", "goal": "maximize"},
    "parameters": {
        "objective.temperature": {"values": [1.0, 2.0]},
        "objective.alpha": {"values": [0.5]},
        "objective.beta": {"values": [0.0, 1.0]},
    },
    "command": ["${env}", "ser-kd", "train", "experiments=demo/distilled", "objective=ce_kl_rkd", "fold=0", "${args_no_hyphens}"],
}


@pytest.fixture(scope="module")
def file(workplace: Path) -> str:
    path = workplace / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    return str(path)


@pytest.fixture
def words(workplace: Path) -> list[str]:
    return [*SMALL, f"paths.runs={workplace / 'swept'}"]


@pytest.fixture
def teacher(ser_kd, words: list[str]) -> None:
    code, _, errors = ser_kd("train", "experiments=demo/teacher", *words)
    assert code == 0, errors


def start_as_agent(content: dict, values: dict[str, object], monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict:
    """What wandb's agent would start for a trial: its own code, up to the process."""
    started: list[dict] = []
    monkeypatch.chdir(folder)  # it writes the trial's parameters below wandb/
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda **given: started.append(given) or SimpleNamespace())
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")  # it sets them, which ends with the test
    monkeypatch.setenv("WANDB_SWEEP_ID", "swp1")
    agent = SimpleNamespace(_in_jupyter=False, _sweep_command=list(content["command"]), _function=None, _forward_signals=False,
                            _run_processes={})  # fmt: skip
    command = {"run_id": "run1", "program": content["program"], "args": {name: {"value": value} for name, value in values.items()}}
    wandb_agent.Agent._command_run(agent, command)
    return started[0]


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
    assert "ser-kd train experiments=demo/distilled objective=ce_kl_rkd fold=0" in output
    assert "optuna-dashboard sqlite:///" in output
    code, output, errors = ser_kd("sweep", file, *words)
    assert code == 0, errors
    assert "best: trial" in output


def test_the_report_shows_the_response_surface_and_keeps_trials_apart(workplace: Path, ser_kd, words: list[str]) -> None:
    record = json.loads((workplace / "swept" / "sweeps" / "flow-sweep.json").read_text())
    folders = [workplace / "swept" / trial["run"] for trial in record["trials"]]
    assert len(set(folders)) == 4
    assert {json.loads((folder / "record.json").read_text())["sweep"] for folder in folders} == {"flow/sweep"}
    code, output, errors = ser_kd("report", str(workplace / "swept"), f"out={workplace / 'told'}", "resamples=200")
    assert code == 0, errors
    assert "Sweep flow/sweep" in output
    page = (workplace / "told" / "report.md").read_text()
    assert "| demo/distilled |" not in page
    assert all(os.path.relpath(folder, workplace / "told") in page for folder in folders)
    assert (workplace / "told" / "figures" / "sweep_flow-sweep_objective.temperature_objective.beta.png").is_file()
    shown = record["best_command"].split()[1:]
    code, output, errors = ser_kd(*shown)
    assert code == 0, errors
    assert "is an ordinary run now" in errors + output
    code, output, errors = ser_kd("report", str(workplace / "swept"), f"out={workplace / 'told'}", "resamples=200")
    assert code == 0, errors
    assert (workplace / "told" / "leaderboard.csv").read_text().count("demo/distilled") == 1


def test_what_changed_since_is_told(ser_kd, file: str, words: list[str]) -> None:
    code, _, errors = ser_kd("sweep", file, *words, "trainer.max_epochs=1")
    assert code == 2
    assert "has changed since it was begun" in errors
    assert "words.trainer.max_epochs unset -> 1" in errors


def test_what_wandbs_agent_starts_for_the_shipped_file_trains(
    workplace: Path, words: list[str], teacher: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = yaml.safe_load((ROOT / "experiments/demo/sweeps/temperature_alpha_beta.yaml").read_text())
    started = start_as_agent(content, {name: part["values"][-1] for name, part in content["parameters"].items()}, monkeypatch, tmp_path)
    command = started["command"]
    assert command[:3] == ["/usr/bin/env", "ser-kd", "train"]
    assert command[-3:] == ["objective.temperature=4.0", "objective.alpha=0.5", "objective.beta=1.0"]
    small = [word for word in words if not word.startswith(("logger=", "paths."))]
    places = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WANDB_MODE": "offline",
        "SER_KD_RUNS": str(workplace / "swept"),
        "SER_KD_CACHE": str(workplace / "cache"),
    }
    done = subprocess.run([*command, *small], cwd=tmp_path, env={**started["env"], **places}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [RunRecord.from_json(path.read_text()) for path in (workplace / "swept").glob("demo/distilled/*/fold=0/seed=0/record.json")]
    (record,) = [record for record in records if record.sweep == "wandb/swp1"]
    assert record.status == "finished"
    assert record.objective["temperature"] == 4.0


def test_a_trial_that_was_stopped_early_says_so_and_goes_on_when_asked_for(workplace: Path, ser_kd) -> None:
    runs = workplace / "stopped"
    content = {
        **SWEEP,
        "name": "flow/stopped",
        "parameters": {"optimizer.lr": {"values": [0.01, 0.0]}},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2},
        "command": ["${env}", "ser-kd", "train", "experiments=demo/student", "fold=0", "trainer.max_epochs=12", "${args_no_hyphens}"],
    }
    path = workplace / "stopped.yaml"
    path.write_text(yaml.safe_dump(content))
    code, output, errors = ser_kd("sweep", str(path), *SMALL, f"paths.runs={runs}", "workers=1")
    assert code == 0, output + errors
    record = json.loads((runs / "sweeps" / "flow-stopped.json").read_text())
    assert [trial["state"] for trial in record["trials"]] == ["finished", "stopped early"]
    folder = runs / record["trials"][1]["run"]
    stopped = RunRecord.from_json((folder / "record.json").read_text())
    assert (stopped.status, stopped.sweep) == ("stopped", "flow/stopped")
    code, output, errors = ser_kd("report", str(runs), f"out={workplace / 'told'}", "resamples=200")
    assert code == 0, errors
    assert "stopped early" in (workplace / "told" / "report.md").read_text()
    line = ["experiments=demo/student", "fold=0", "trainer.max_epochs=12", "optimizer.lr=0.0"]
    code, output, errors = ser_kd("train", *line, *SMALL, f"paths.runs={runs}")
    assert code == 0, errors
    assert "goes on from its last checkpoint" in output + errors
    finished = RunRecord.from_json((folder / "record.json").read_text())
    assert (finished.status, finished.sweep, finished.epochs["run"]) == ("finished", "", 12)


def test_what_cannot_be_is_told_before_the_first_trial(workplace: Path, ser_kd, file: str, words: list[str]) -> None:
    def tell(*further: str, **changes: object) -> str:
        content = {**SWEEP, "command": [*SWEEP["command"][:3], "experiments=demo/student", "fold=0", "${args_no_hyphens}"],
                   "parameters": {"objective.terms.cross_entropy.weight": {"values": [0.5, 1.0]}}, **changes}  # fmt: skip
        path = workplace / "bad.yaml"
        path.write_text(yaml.safe_dump(content))
        code, output, errors = ser_kd("sweep", str(path), *words, *further)
        assert code == 2, output + errors
        assert "Traceback" not in errors
        return errors

    assert "did you mean 'optimizer.lr'" in tell(parameters={"optimizer.rl": {"values": [0.1]}})
    out_of_range = tell(
        parameters={"objective.terms.cross_entropy.weight": {"values": [0.5, -1.0]}, "optimizer.lr": {"values": [0.1, -2.0]}}
    )
    assert "The weight of 'cross_entropy' is negative" in out_of_range
    assert "Invalid learning rate: -2.0" in out_of_range
    assert "did you mean 'validation/f1_macro'" in tell(metric={"name": "validation/f1_marco", "goal": "maximize"})
    optuna.create_study(storage=f"sqlite:///{workplace / 'other.db'}", study_name="flow/other")
    assert "The storage holds another sweep" in tell(f"storage={workplace / 'other.db'}")
    (workplace / "none.db").write_bytes(b"no database at all" * 99)
    assert "storage cannot be used" in tell(f"storage={workplace / 'none.db'}")


def test_the_metrics_that_are_known_before_training_are_those_of_its_record(workplace: Path, words: list[str], ser_kd) -> None:
    record = json.loads((workplace / "swept" / "sweeps" / "flow-sweep.json").read_text())
    told = json.loads((workplace / "swept" / record["trials"][0]["run"] / "record.json").read_text())["metrics"]
    config = compose("train", ["experiments=demo/distilled", "fold=0", *words])
    module = prepare_run(config, config.experiment, "").make_module(with_weights=False)
    assert {f"validation/{name}" for name in list_metrics(module)} == {name for name in told if name.startswith("validation/")}


def test_without_its_teacher_nothing_begins(workplace: Path, ser_kd, file: str) -> None:
    code, _, errors = ser_kd("sweep", file, *SMALL, f"paths.runs={workplace / 'none'}")
    assert code == 2
    assert "No finished run" in errors
    assert not list((workplace / "none").rglob("*.db"))
