from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from ser_kd.contracts.errors import ConfigError
from ser_kd.tasks.sweep import describe_science
from ser_kd.tasks.sweep_words import find_sweep, list_sweeps, read_words

CONTENT = {
    "method": "grid",
    "metric": {"name": "validation/ua", "goal": "maximize"},
    "parameters": {"objective.alpha": {"values": [0.1, 0.9]}, "objective.temperature": {"values": [1.0]}},
    "command": ["${env}", "ser-kd", "train", "experiments=demo/distilled", "fold=0", "${args_no_hyphens}"],
}


@pytest.fixture
def write(tmp_path: Path):
    def write(**changes: object) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**CONTENT, **changes}))
        return str(path)

    return write


def test_own_keys_are_read_and_the_others_take_the_place_of_the_files(write) -> None:
    asked, sweep, config = read_words([write(), "workers=3", "storage=x.db", "fold=1", "trainer.max_epochs=2", "dry_run=true"])
    assert (asked.workers, asked.storage, asked.dry_run, asked.trials) == (3, "x.db", True, None)
    assert asked.words == ["experiments=demo/distilled", "fold=1", "trainer.max_epochs=2"]
    assert (config.fold, config.trainer.max_epochs, config.objective.alpha) == (1, 2, 0.1)
    assert sweep.count_points() == 2


def test_shipped_sweeps_are_found_by_name_and_compose() -> None:
    assert len(list_sweeps()) == 9
    for name in list_sweeps():
        asked, sweep, config = read_words([name])
        assert config.experiment in " ".join(asked.words)
        assert sweep.name == name
    with pytest.raises(ConfigError, match="did you mean 'demo/temperature_alpha_beta'"):
        find_sweep("demo/temperature_alfa_beta")


def test_where_and_how_many_may_change_but_not_what_is_trained(write) -> None:
    def science(*words: str) -> dict:
        asked, sweep, _ = read_words([write(), *words])
        return describe_science(sweep, asked, "none")

    plain = science()
    assert science("workers=4", "trials=1", "paths.runs=x", "logger=csv", "trainer.accelerator=cpu", "corpus.root=x") == plain
    assert science("fold=1") != plain
    assert science("trainer.max_epochs=2") != plain
    assert science("scale=tiny") != plain


def test_all_faults_of_file_and_words_are_told_together(write) -> None:
    path = write(method="gird", parameters={"objective.alfa": {"values": [0.1]}, "optimizer.rl": {"values": [1]}})
    with pytest.raises(ConfigError) as told:
        read_words([path, "workers=0"])
    for message in ("did you mean 'grid'", "did you mean 'objective.alpha'", "optimizer.rl", "workers cannot be used"):
        assert message in str(told.value)


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({}, ["objective.alpha=0.3"], "is given, and swept over"),
        ({}, ["wokers=2"], "did you mean 'workers'"),
        ({}, ["workers=2", "workers=3"], "given twice"),
        ({}, ["early_terminate=medain"], "did you mean 'median'"),
        ({}, ["early_terminate=hyperband"], "does not say how hyperband"),
        ({}, ["dry_run=yes"], "true or false"),
        ({}, ["another.yaml"], "A sweep has one file"),
        ({}, ["trainer.max_epoch=1"], "did you mean 'trainer.max_epochs'"),
        ({"parameters": {"optimizer.lr": {"min": 0.1, "max": 0.2}}, "method": "random"}, [], "would have no end"),
        ({"parameters": {"student": {"values": ["timnet_39", "timnet_93"]}}}, [], "timnet_93"),
        ({"parameters": {"trainer.max_epochs": {"values": [2, "many"]}}}, [], "trainer.max_epochs"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_before_the_first_trial(write, changes: dict, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_words([write(**changes), *words])


def test_a_file_that_is_no_yaml_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: grid\nmethod: [")
    with pytest.raises(ConfigError, match="no readable YAML"):
        read_words([str(tmp_path / "mine.yaml")])


@pytest.mark.parametrize("key", ["datamodule.workers", "logger.group", "compile"])
def test_a_parameter_that_changes_nothing_is_refused(write, key: str) -> None:
    with pytest.raises(ConfigError, match="would be one run"):
        read_words([write(parameters={**CONTENT["parameters"], key: {"values": [0, 1]}})])
    assert read_words([write(parameters={**CONTENT["parameters"], "seed": {"values": [0, 1]}})])


def test_this_very_machine_is_not_taken_over_from(write) -> None:
    with pytest.raises(ConfigError, match="not dead"):
        read_words([write(), f"take_over={socket.gethostname()}"])
