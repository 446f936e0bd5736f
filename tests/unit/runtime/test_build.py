"""Nodes become objects; what fails names its place in the configuration."""

import sys
import types
from dataclasses import dataclass

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.runtime.build import build


@dataclass
class Labels:
    names: list


class Part:
    def __init__(self, size: int = 1, inner=None, labels=None) -> None:
        if size == 13:
            raise ValueError("13 is unlucky")
        if size == 14:
            raise RuntimeError("a bug of ours")
        self.size, self.inner, self.labels = size, inner, labels


def refuse(**parts):
    raise DataError("No data.", got=str(parts))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    module = types.ModuleType("planted_parts")
    module.Part, module.refuse = Part, refuse
    Part.__module__ = refuse.__module__ = "planted_parts"
    monkeypatch.setitem(sys.modules, "planted_parts", module)


def node(**values):
    return {"_target_": "planted_parts.Part", **values}


def config(**values):
    return OmegaConf.create({"width": 5, "student": node(**values)})


def test_a_node_and_what_lies_below_it():
    built = build(config(size="${width}", inner=node(size=2), labels={"a": [1, {"b": 2}]}).student)
    assert (built.size, built.inner.size) == (5, 2)
    assert type(built.labels) is dict
    assert type(built.labels["a"]) is list


def test_null_lists_and_dicts_of_nodes():
    assert build(None) is None
    assert [part.size for part in build(OmegaConf.create([node(size=2), node()]))] == [2, 1]
    assert build(OmegaConf.create({"a": node(size=2), "b": 3}))["a"].size == 2


def test_late_parameters_are_handed_over_as_they_are():
    labels = Labels(["angry"])
    built = build(config().student, labels=labels, size=9)
    assert built.labels is labels
    assert built.size == 9


def test_a_partial_waits_and_keeps_what_it_has():
    waiting = build(config(_partial_=True, size=4).student, labels=[1])
    built = waiting(inner="x")
    assert (built.size, built.inner, built.labels) == (4, "x", [1])


@pytest.mark.parametrize("depth", ["outer", "inner"])
def test_our_errors_pass_as_they_are(depth):
    refusing = {"_target_": "planted_parts.refuse"}
    student = OmegaConf.create({"student": refusing if depth == "outer" else node(inner=refusing)}).student
    with pytest.raises(DataError, match="No data"):
        build(student)


@pytest.mark.parametrize(
    ("values", "place", "told"),
    [
        ({"sise": 3}, "'student' cannot", "unexpected keyword argument 'sise'"),
        ({"inner": node(sise=3)}, "'student.inner' cannot", "unexpected keyword argument 'sise'"),
        ({"size": 13}, "'student' cannot", "13 is unlucky"),
        ({"inner": node(size=13)}, "'student.inner' cannot", "13 is unlucky"),
    ],
)
def test_a_refused_value_names_its_place(values, place, told):
    with pytest.raises(ConfigError) as caught:
        build(config(**values).student)
    assert place in caught.value.problem
    assert told in caught.value.got
    assert "planted_parts.Part" in caught.value.expected


def test_a_wrong_late_parameter_is_told_too():
    with pytest.raises(ConfigError, match="'student' cannot be built"):
        build(config().student, nothing=1)


def test_a_target_that_cannot_be_found():
    with pytest.raises(ConfigError, match="'student' cannot be built"):
        build(OmegaConf.create({"student": {"_target_": "planted_parts.Nothing"}}).student)


def test_a_bug_is_not_dressed_up_as_the_users_fault():
    with pytest.raises(RuntimeError, match="a bug of ours"):
        build(config(size=14).student)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        build(config(inner=node(size=14)).student)
