from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb.sdk.sweeps.scheduler.optuna import search_space_from_sweep_config

from ser_kd.sweeps.keyed_sampler import suggest_value
from ser_kd.sweeps.sweep_command import find_train_words, write_words
from ser_kd.sweeps.sweep_file import Hyperband, Parameter, SweepFile
from ser_kd.sweeps.sweep_reader import read_sweep

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiments").glob("*/sweeps/*.yaml"))
GOOD: dict[str, Any] = {
    "program": "ser-kd",
    "method": "bayes",
    "run_cap": 9,
    "metric": {"name": "validation/ua", "goal": "maximize"},
    "parameters": {
        "objective.alpha": {"min": 0.1, "max": 0.9},
        "objective.temperature": {"distribution": "log_uniform_values", "min": 1, "max": 8},
        "trainer.max_epochs": {"min": 2, "max": 5},
        "datamodule.batch_size": {"distribution": "q_uniform", "min": 8, "max": 32, "q": 8},
        "objective.beta": {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25},
        "student": {"values": ["timnet_39", "cnn14"]},
        "optimizer.lr": {"value": 0.001},
    },
    "early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 2},
    "command": ["${env}", "ser-kd", "train", "experiments=demo/distilled", "${args_no_hyphens}"],
}


def read(**changes: Any) -> tuple[SweepFile | None, list[str]]:
    sweep, faults = read_sweep({**copy.deepcopy(GOOD), **changes}, {"HERE": "/data"})
    return sweep, [str(fault) for fault in faults]


def read_good(**changes: Any) -> SweepFile:
    sweep, faults = read(**changes)
    assert sweep is not None
    assert not faults
    return sweep


def test_a_file_becomes_plain_objects() -> None:
    sweep = read_good()
    assert (sweep.method, sweep.metric, sweep.maximize, sweep.run_cap) == ("bayes", "validation/ua", True, 9)
    assert sweep.train_words == ("experiments=demo/distilled",)
    assert sweep.hyperband == Hyperband(3, None, 2)
    by_name = {parameter.name: parameter for parameter in sweep.parameters}
    assert by_name["student"] == Parameter("student", values=("timnet_39", "cnn14"))
    assert by_name["datamodule.batch_size"].list_values() == (8, 16, 24, 32)
    assert by_name["objective.alpha"].list_values() is None
    assert sweep.count_points() is None


def test_parameters_are_drawn_from_as_wandb_draws_from_them() -> None:
    theirs = search_space_from_sweep_config(GOOD["parameters"])
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    for parameter in read_good().parameters:
        suggest_value(trial, parameter)
    assert trial.distributions == theirs
    assert isinstance(theirs["trainer.max_epochs"], optuna.distributions.IntDistribution)


def test_a_grid_is_listed_whole_in_the_files_order() -> None:
    parameters = {"a": {"values": [2, 1]}, "b": {"min": 0, "max": 2}}
    sweep = read_good(method="grid", parameters=parameters)
    points = list(sweep.list_points())
    assert points == [{"a": a, "b": b} for a in (2, 1) for b in (0, 1, 2)]
    assert sweep.count_points() == len(points)


def test_stages_counted_from_the_end_begin_where_wandb_begins() -> None:
    assert read_good(early_terminate={"type": "hyperband", "max_iter": 27, "s": 2}).hyperband == Hyperband(3, 27, 3)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_read_and_expand_as_wandbs_agent_expands_them(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    sweep, faults = read_sweep(content, {})
    assert sweep is not None
    assert not faults
    point = {parameter.name: parameter.list_ends()[0] for parameter in sweep.parameters}
    theirs = create_sweep_command_args({"args": {name: {"value": value} for name, value in point.items()}})
    assert write_words(point) == theirs["args_no_hyphens"]
    command = create_sweep_command(list(content["command"]))
    assert [word for word in command if not word.startswith("${")] == ["ser-kd", "train", *sweep.train_words]


def test_shipped_sweeps_have_the_trials_that_their_first_line_tells() -> None:
    sizes = {}
    for path in SHIPPED:
        sweep, _ = read_sweep(yaml.safe_load(path.read_text()), {})
        assert sweep is not None
        trials = sweep.count_points() or sweep.run_cap
        sizes[sweep.name] = trials
        told = re.search(r"(\d+) (short )?trials", path.read_text().splitlines()[0])
        assert told is None or int(told[1]) == trials
        assert f"ser-kd sweep {sweep.name} " in path.read_text().splitlines()[1]
    assert sizes == {
        "demo/temperature_alpha_beta": 12,
        "emodistill/temperature_linguistic": 5,
        "emodistill/temperature_prosodic": 5,
        "mlkd_noisy/temperature_alpha": 25,
        "wav_to_mfcc/dkd_weights": 12,
        "wav_to_mfcc/ensemble_temperature": 24,
        "wav_to_mfcc/rkd_beta": 18,
        "wav_to_mfcc/temperature_alpha_beta": 27,
        "wav_to_mfcc/wide_grid": 48,
    }


def test_the_command_takes_variables_and_the_program() -> None:
    words, faults = find_train_words(
        ["${env}", "${program}", "train", "corpus.root=${envvar:HERE}/x", "${args_no_hyphens}"], "ser-kd", {"HERE": "/d"}
    )
    assert (words, faults) == (["corpus.root=/d/x"], [])
    words, faults = find_train_words(["${interpreter}", "-m", "ser_kd", "train", "fold=0", "${args_no_hyphens}"], "x", {})
    assert (words, faults) == (["fold=0"], [])


def parameters(**content: Any) -> dict[str, Any]:
    return {"parameters": {"objective.alpha": content}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "bayse"}, "did you mean 'bayes'"),
        ({"metod": "grid"}, "did you mean 'method'"),
        ({"method": "grid"}, "A grid needs values that can be counted"),
        ({"metric": None}, "metric is missing"),
        ({"metric": {"name": "validation/ua", "gaol": "maximize"}}, "did you mean 'goal'"),
        ({"metric": {"name": "validation/ua", "goal": "maximise"}}, "did you mean 'maximize'"),
        ({"metric": {"name": "test/ua", "goal": "maximize"}}, "must not choose on test clips"),
        ({"metric": {"name": "loss", "goal": "minimize"}}, "validation/loss"),
        ({"metric": {"name": "validation/ua", "goal": "maximize", "target": 1}}, "metric.target is not offered"),
        ({"parameters": {}}, "parameters is missing"),
        ({"parameters": {"+x": {"value": 1}}}, "cannot be a parameter's name"),
        ({"parameters": {"x": 3}}, r"write x: {value: 3}"),
        ({"parameters": {"x": {"parameters": {"y": {"value": 1}}}}}, "is nested"),
        (parameters(valeus=[1]), "no distribution that can be drawn from"),
        (parameters(values=[1], max=2), "Unknown key 'max'"),
        (parameters(distribution="normal", mu=0), "no distribution that can be drawn from"),
        (parameters(distribution="log_uniform_value", min=1, max=2), "did you mean 'log_uniform_values'"),
        (parameters(distribution="log_uniform_values", min=0, max=2), "min above 0"),
        (parameters(min=1), "lacks max"),
        (parameters(min=2, max=1), "min below max"),
        (parameters(min="a", max=1), "has no range"),
        (parameters(distribution="int_uniform", min=0.5, max=2), "whole numbers"),
        (parameters(distribution="q_uniform", min=1, max=4, q=2), "multiples"),
        (parameters(distribution="q_uniform", min=1, max=4, q=0), "multiples"),
        (parameters(values=[]), "no list of values"),
        (parameters(values=[1, True]), "names a value twice"),
        (parameters(values=[None]), "holds null"),
        (parameters(values=[[1]]), "no plain value"),
        (parameters(values=[float("nan")]), "no plain value"),
        ({"early_terminate": {"type": "median"}}, "early_terminate=median"),
        ({"early_terminate": {"type": "hyperband"}}, "lacks a beginning"),
        ({"early_terminate": {"type": "hyperband", "min_itr": 1}}, "did you mean 'min_iter'"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1.5}}, "early_terminate.eta cannot be used"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "max_iter": 2}}, "ends before it begins"),
        ({"run_cap": 0}, "run_cap cannot be used"),
        ({"name": 3}, "name is no text"),
        ({"command": None}, "command is missing"),
        ({"command": ["python", "train.py", "${args_no_hyphens}"]}, "command does not train"),
        ({"command": ["ser-kd", "train", "fold=0"]}, "not one place for the parameters"),
        ({"command": ["ser-kd", "train", "--fold", "${args_no_hyphens}"]}, "KEY=VALUE"),
        ({"command": ["ser-kd", "train", "${args}", "${args_no_hyphens}"]}, "KEY=VALUE"),
        ({"command": ["ser-kd", "train", "corpus.root=${envvar:NOWHERE}", "${args_no_hyphens}"]}, "export NOWHERE"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(changes: dict[str, Any], message: str) -> None:
    _, faults = read(**changes)
    assert message in "\n".join(faults)


def test_all_faults_are_told_together() -> None:
    _, faults = read(method="gird", run_cap=-1, parameters={"a": {"values": []}, "b": {"min": 1}})
    assert len(faults) == 4


@pytest.mark.parametrize("content", [None, [], "text", {}])
def test_a_file_without_keys_is_one_fault(content: Any) -> None:
    assert len(read_sweep(content, {})[1]) == 1
