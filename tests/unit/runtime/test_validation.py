"""A configuration is checked against signatures before anything is built, all faults together."""

from typing import get_args

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.distillation_module import BatchScope
from ser_kd.runtime.catalog import read_experiments
from ser_kd.runtime.composition import compose
from ser_kd.runtime.paths import find_experiment_roots
from ser_kd.runtime.schema import TargetSchema, ValueSchema
from ser_kd.runtime.validation import GIVEN_BY_TASKS, ROOT_CHOICES, check_config


def takes(*types, **more):
    return ValueSchema(list(types), **more)


TERM = takes("dict", keys={"weight": takes("float", "str"), "loss": takes("object")}, required_keys=["loss"])
SCHEMA = {
    "Student": TargetSchema({"frontend": takes("object"), "width": takes("int"), "classes": takes("int")}, ["frontend", "classes"], False),
    "Frontend": TargetSchema({"filters": takes("int"), "top_db": takes("float", "none")}, ["filters"], False),
    "Loss": TargetSchema({"direction": takes("str", "none", choices=["student_first", "teacher_first"])}, [], False),
    "Objective": TargetSchema({"terms": takes("dict", items=TERM), "betas": takes("list", items=takes("float"))}, ["terms"], False),
    "Optimizer": TargetSchema({"params": takes("any"), "lr": takes("float"), "fused": takes("bool", "none")}, ["params"], False),
    "Open": TargetSchema({"a": takes("int")}, [], True),
}


def good() -> dict:
    return {
        "student": {"_target_": "Student", "frontend": {"_target_": "Frontend", "filters": 39, "top_db": None}, "width": 60},
        "objective": {"_target_": "Objective", "terms": {"ce": {"weight": "1 - alpha", "loss": {"_target_": "Loss"}}}, "betas": [0, 0.9]},
        "optimizer": {"_target_": "Optimizer", "_partial_": True, "lr": 1},
        "open": [{"_target_": "Open", "a": 1, "b": "anything"}],
        "fold": 0,
    }


def check(config: dict) -> None:
    check_config(OmegaConf.create(config), late={"student": {"classes"}}, schema=SCHEMA)


def test_a_right_configuration_passes():
    check(good())


def changed(place: str, value: object) -> dict:
    config = good()
    *outer, last = place.split(".")
    node = config
    for key in outer:
        node = node[key]
    node[last] = value
    return config


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("student.widht", 3, "leave it out"),
        ("student.frontend.filter", 3, "Unknown key 'student.frontend.filter'."),
        ("student.frontend.topdb", 3, "leave it out"),
        ("student.frontend", "mel", "a node with _target_"),
        ("student.frontend", {"filters": 3}, "a node with _target_"),
        ("student.frontend", None, "got:      null"),
        ("student.classes", 7, "filled in by the program"),
        ("student.width", "60", "write student.width=60, without quotes"),
        ("student.width", 60.0, "write student.width=60"),
        ("student.width", 60.5, "a whole number"),
        ("student.width", True, "a whole number"),
        ("student.frontend.top_db", "none", "write student.frontend.top_db=null"),
        ("student.frontend.top_db", "80", "write student.frontend.top_db=80, without quotes"),
        ("optimizer.fused", "yes", "write optimizer.fused=true, without quotes"),
        ("optimizer.fused", 1, "true or false"),
        ("optimizer.lr", "fast", "a number"),
        ("objective.betas", 0.9, "a list"),
        ("objective.betas", ["a"], "'objective.betas[0]'"),
        ("objective.terms.ce.wieght", 3, "Unknown key 'objective.terms.ce.wieght'."),
        ("objective.terms.ce.weight", [1], "a number or a text"),
        ("objective.terms.kl", {"weight": 1}, "'objective.terms.kl.loss' is missing."),
        ("objective.terms.ce.loss.direction", "teacher_frist", "did you mean 'teacher_first'?"),
        ("objective.terms.ce.loss.direction", 3, "one of student_first, teacher_first, null"),
        ("student._target_", "Studnt", "did you mean 'Student'?"),
        ("open", [{"_target_": "Open", "a": "x"}], "'open[0].a'"),
        ("objective._target_", "nowhere.Objective", "objective: 'nowhere.Objective' cannot be used as a _target_."),
    ],
)
def test_each_fault_is_told_with_its_place(place, value, told):
    with pytest.raises(ConfigError) as caught:
        check(changed(place, value))
    assert told in str(caught.value)
    assert "faults" not in str(caught.value)


def test_an_unknown_key_that_is_near_a_free_one_is_suggested():
    config = good()
    del config["student"]["width"]
    config["student"]["widht"] = 3
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        check(config)


def test_required_keys_unless_partial_late_or_positional():
    config = good()
    del config["student"]["frontend"]["filters"]
    with pytest.raises(ConfigError, match=r"'student\.frontend\.filters' is missing"):
        check(config)
    config["student"]["frontend"]["_args_"] = [39]
    check(config)
    config["optimizer"]["_partial_"] = False
    with pytest.raises(ConfigError, match=r"'optimizer\.params' is missing"):
        check(config)


def test_all_faults_are_told_together():
    config = changed("student.width", "wide")
    config["optimizer"]["lr"] = "fast"
    config["objective"]["nothing"] = 1
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert "3 faults" in str(caught.value)


def test_late_paths_may_hold_wildcards():
    config = {"members": {"a": good()["student"], "b": good()["student"]}}
    with pytest.raises(ConfigError, match="2 faults"):
        check_config(config, late={}, schema=SCHEMA)
    check_config(config, late={"members.*": {"classes"}}, schema=SCHEMA)


def test_a_target_of_the_users_own_is_inspected_live(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text("class Mine:\n    def __init__(self, size: int) -> None: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    check_config({"a": {"_target_": "my_parts.Mine", "size": 3}}, schema={})
    with pytest.raises(ConfigError, match="a whole number"):
        check_config({"a": {"_target_": "my_parts.Mine", "size": "big"}}, schema={})


def test_interpolations_are_followed():
    config = changed("student.width", "${fold}")
    check(config)
    config["fold"] = "first"
    with pytest.raises(ConfigError, match=r"'student\.width'"):
        check(config)


def test_what_the_tasks_give_is_taken_for_granted():
    target = TargetSchema({"classes": takes("int")}, ["classes"], False)
    assert "classes" in GIVEN_BY_TASKS["student"]
    check_config({"student": {"_target_": "T"}}, schema={"T": target})
    with pytest.raises(ConfigError, match="missing"):
        check_config({"other": {"_target_": "T"}}, schema={"T": target})


SHIPPED = [(root, option) for root in find_experiment_roots()[:1] for option in read_experiments([root])]


@pytest.mark.parametrize(("root", "experiment"), SHIPPED, ids=[option for _, option in SHIPPED])
def test_every_shipped_experiment_composes_and_fits_its_signatures(root, experiment):
    config = compose("train", [f"experiments={experiment}"], experiment_roots=[root])
    check_config(config)
    assert config.experiment == experiment


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trainer.max_epochs=ten", "'trainer.max_epochs' has a value of the wrong type."),
        ("+trainer.max_epoch=3", "Unknown key 'trainer.max_epoch'."),
        ("+trainer.logger=true", "filled in by the program"),
        ("protocol.validation=nxt_fold", "did you mean 'next_fold'?"),
        ("optimizer.lr='0.1'", "write optimizer.lr=0.1, without quotes"),
        ("optimizer.lr=nan", "'optimizer.lr' is no number."),
        ("datamodule.padding=centre", "did you mean 'center'?"),
    ],
)
def test_wrong_values_of_the_real_configuration_are_told_without_torch(word, told):
    with pytest.raises(ConfigError) as caught:
        check_config(compose("train", ["corpus=demo", word], experiment_roots=[]))
    assert told in str(caught.value)


def test_a_choice_beside_the_nodes_is_checked_before_anything_is_built():
    with pytest.raises(ConfigError, match="did you mean 'global'"):
        check_config({"batch_scope": "globl"})
    check_config({"batch_scope": "process"})
    assert ROOT_CHOICES["batch_scope"] == get_args(BatchScope)


def test_a_seed_is_no_larger_than_generators_take():
    with pytest.raises(ConfigError, match="seed is too large"):
        check_config({"seed": 2**32})
    check_config({"seed": 2**32 - 1})
