"""Sweep files against the schema that W&B publishes (see wandb_sweep_schema/NOTICE), and where our reader differs from it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from ser_kd.sweeps.sweep_reader import read_sweep

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(__file__).parent / "wandb_sweep_schema" / "schema.json").read_text())
SHIPPED = sorted((ROOT / "experiments").glob("*/sweeps/*.yaml"))
GOOD: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "validation/ua", "goal": "maximize"},
    "run_cap": 3,
    "parameters": {"objective.alpha": {"min": 0.1, "max": 0.9}},
    "command": ["${env}", "ser-kd", "train", "experiments=demo/distilled", "${args_no_hyphens}"],
}


def with_changes(**changes: Any) -> dict[str, Any]:
    changed = {**copy.deepcopy(GOOD), **changes}
    return {key: value for key, value in changed.items() if value is not None}


def is_valid(content: Any) -> bool:
    return Draft7Validator(SCHEMA).is_valid(content)


def is_taken(content: Any) -> bool:
    return not read_sweep(content, {})[1]


def parameter(**content: Any) -> dict[str, Any]:
    return {"parameters": {"x": content}}


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["title"] == "SweepConfig"


def test_nothing_is_missed() -> None:
    assert len(SHIPPED) == 9


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_valid(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert [fault.message for fault in Draft7Validator(SCHEMA).iter_errors(content)] == []
    assert is_taken(content)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "bayes"},
        {"method": "grid", **parameter(values=[2, "a", True, 0.5])},
        parameter(value=3),
        parameter(min=1, max=4),
        parameter(distribution="uniform", min=1, max=4),
        parameter(distribution="int_uniform", min=1, max=4),
        parameter(distribution="q_uniform", min=0.5, max=4, q=0.5),
        parameter(distribution="log_uniform_values", min=1, max=4),
        parameter(distribution="categorical", values=[1]),
        parameter(distribution="constant", value=1),
        {"early_terminate": {"type": "hyperband", "min_iter": 3}},
        {"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3, "strict": True}},
        {"program": "ser-kd", "name": "a", "project": "b", "entity": "c", "description": "d"},
    ],
)  # fmt: skip
def test_what_our_reader_takes_is_valid(changes: dict[str, Any]) -> None:
    content = with_changes(**changes)
    assert is_taken(content)
    assert is_valid(content)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": None},
        {"method": "gird"},
        {"metrik": {}},
        {"metric": {"goal": "maximize"}},
        {"metric": {"name": "validation/ua", "goal": "maximise"}},
        {"run_cap": 0},
        {"parameters": {}},
        {"parameters": {"+x": {"value": 1}}},
        parameter(valeus=[1]),
        parameter(values=[]),
        parameter(min=1),
        parameter(distribution="log_uniform_values", min=0, max=1),
        parameter(distribution="q_uniform", min=0, max=1, q=0),
        {"early_terminate": {"type": "median"}},
        {"early_terminate": {"type": "hyperband"}},
        {"early_terminate": {"type": "hyperband", "min_iter": 0}},
        {"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1}},
        {"command": "ser-kd train"},
    ],
)  # fmt: skip
def test_planted_errors_are_caught_by_both(changes: dict[str, Any]) -> None:
    content = with_changes(**changes)
    assert not is_valid(content)
    assert not is_taken(content)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"metric": {"name": "validation/ua"}}, "W&B would minimise UA without a word"),
        ({"metric": {"name": "test/ua", "goal": "maximize"}}, "a sweep never chooses on test clips"),
        ({"metric": {"name": "validation/ua", "goal": "maximize", "target": 0.9}}, "no end at a target; run_cap ends a sweep"),
        ({"metric": {"name": "validation/ua", "goal": "maximize", "impute": "best"}}, "TPE needs no made-up values"),
        ({"metric": None}, "nothing to choose by"),
        ({"command": None}, "W&B's default command is python PROGRAM --KEY=VALUE, which trains nothing of ours"),
        ({"method": "custom", "scheduler": {"engine": "optuna"}}, "a scheduler of W&B's own"),
        ({"controller": {"type": "local"}}, "W&B's own controller"),
        ({"job": "a/b/c"}, "W&B Launch"),
        (parameter(distribution="normal", mu=0, sigma=1), "Optuna has no such distribution"),
        (parameter(distribution="log_uniform", min=0, max=1), "bounds as exponents are easily mistaken: log_uniform_values"),
        (parameter(values=[1, 2], probabilities=[0.5, 0.5]), "Optuna's choices have no probabilities"),
        (parameter(parameters={"y": {"value": 1}}), "W&B hands a nested parameter on as one text"),
        (parameter(values=[None]), "W&B writes None where Hydra wants null"),
        (parameter(values=[[1, 2]]), "no plain value"),
        (parameter(values=[1, 1]), "a grid repeats no trial"),
        (parameter(min=2, max=1), "the schema compares no numbers"),
        (parameter(distribution="q_uniform", min=1, max=4, q=2), "W&B and Optuna count such steps from different ends"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3, "eta": 1.5}}, "Optuna's reduction factor is a whole number"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_what_the_schema_allows_and_our_reader_refuses_has_a_reason(changes: dict[str, Any], why: str) -> None:
    content = with_changes(**changes)
    assert is_valid(content)
    assert not is_taken(content), why
