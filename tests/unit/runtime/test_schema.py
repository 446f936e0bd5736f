"""What a target takes is read from its signature; the generated file is kept true."""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import schema
from ser_kd.runtime.paths import find_checkout


class Term(TypedDict):
    weight: float | str
    loss: NotRequired[object]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Plain:
    width: int
    name: str = "x"


class Parent:
    def __init__(self, root: str, rate_hz: int = 16_000) -> None: ...


class Child(Parent):
    def __init__(self, labels: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @classmethod
    def from_path(cls, path: Path) -> Child:
        return cls(root=str(path))


class Silent(Plain):
    pass


@pytest.mark.parametrize(
    ("hint", "types"),
    [
        (int, ["int"]),
        (float, ["float"]),
        (bool, ["bool"]),
        (str | Path, ["str"]),
        (int | None, ["int", "none"]),
        (tuple[float, float], ["list"]),
        (Sequence[str], ["list"]),
        (Mapping[str, int], ["dict"]),
        (Parent, ["object"]),
        (Callable[[int], int], ["object"]),
        (Parent | None, ["none", "object"]),
        (Any, ["any"]),
        (int | Any, ["any"]),
        (Colour, ["any"]),
    ],
)
def test_hints(hint, types):
    assert schema.describe_hint(hint).types == types


def test_literals_items_and_typed_dicts():
    assert schema.describe_hint(Literal["a", "b"] | None).choices == ["a", "b"]
    assert schema.describe_hint(Literal["a"] | str).choices == []
    assert schema.describe_hint(Literal["auto"] | int).choices == []
    assert schema.describe_hint(Literal["auto"] | list[int]).choices == ["auto"]
    assert schema.describe_hint(list[int] | None).items == schema.ValueSchema(["int"])
    assert schema.describe_hint(tuple[float, ...]).items == schema.ValueSchema(["float"])
    assert schema.describe_hint(tuple[float, str]).items is None
    term = schema.describe_hint(Mapping[str, Term]).items
    assert term.keys["weight"].types == ["float", "str"]
    assert term.required_keys == ["weight"]


@pytest.fixture
def here(monkeypatch):
    """The classes of this file under a name that can be imported, as if they were ours."""
    import sys
    import types

    module = types.ModuleType("ser_kd_planted")
    for part in (Plain, Parent, Child, Silent):
        setattr(module, part.__name__, part)
    monkeypatch.setitem(sys.modules, "ser_kd_planted", module)
    return "ser_kd_planted"


def test_a_dataclass_and_a_class_without_its_own_constructor(here):
    for name in ("Plain", "Silent"):
        found = schema.describe_target(f"{here}.{name}")
        assert found.required == ["width"]
        assert found.parameters["name"].types == ["str"]
        assert not found.takes_more


def test_kwargs_are_open_unless_they_go_to_a_parent_of_ours(here, monkeypatch):
    found = schema.describe_target(f"{here}.Child")
    assert found.takes_more
    assert list(found.parameters) == ["labels"]
    monkeypatch.setattr(Parent, "__module__", "ser_kd.planted")
    found = schema.describe_target(f"{here}.Child")
    assert not found.takes_more
    assert set(found.parameters) == {"labels", "root", "rate_hz"}
    assert found.required == ["root"]


def test_a_torch_module_without_a_constructor_takes_nothing():
    found = schema.describe_target("torch.nn.Identity")
    assert found.takes_more
    found = schema.describe_target("ser_kd.models.pooling.StatisticsPooling")
    assert (found.parameters, found.takes_more) == ({}, False)


def test_classmethods_and_functions(here):
    assert schema.describe_target(f"{here}.Child.from_path").required == ["path"]
    found = schema.describe_target("functools.reduce")
    assert found.parameters or found.takes_more


def test_a_none_default_allows_null_even_where_the_hint_forgot_it():
    def function(width: int = None) -> None: ...  # noqa: RUF013

    assert schema._describe_callable(function).parameters["width"].types == ["int", "none"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nowhere_at_all.Thing", "no 'nowhere_at_all'"),
        ("pathlib.Pth", "no 'pathlib.Pth'"),
        ("ser_kd.runtime.paths.RUNS_VARIABLE", "a str, which cannot be called"),
    ],
)
def test_what_cannot_be_a_target(target, told):
    with pytest.raises(ConfigError, match="cannot be used as a _target_") as caught:
        schema.describe_target(target)
    assert told in caught.value.got


@pytest.mark.parametrize(("body", "told"), [("import nowhere_at_all", "needs 'nowhere_at_all'"), ("1 / 0", "ZeroDivisionError")])
def test_a_module_of_the_users_own_that_fails_to_import(tmp_path, monkeypatch, body, told):
    (tmp_path / "my_broken_parts.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        schema.describe_target("my_broken_parts.Thing")
    assert told in caught.value.got


def test_targets_are_found_in_nested_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.yaml").write_text("a:\n  - _target_: one.One\n    b: {_target_: two.Two}\nc: {_target_: '${a}'}\n")
    (tmp_path / "y.yaml").write_text("# nothing\n")
    assert schema.find_targets([tmp_path]) == ["one.One", "two.Two"]


def test_the_file_reads_back_as_it_was_described(tmp_path, monkeypatch):
    (tmp_path / "x.yaml").write_text("_target_: pathlib.PurePath\nb: {_target_: fractions.Fraction}\n")
    described = schema.TargetSchema({"a": schema.describe_hint(Mapping[str, Term])}, ["a"], takes_more=False)
    monkeypatch.setattr(schema, "describe_target", lambda target: described)
    path = tmp_path / "targets.json"
    path.write_text(schema.make_schema_text([tmp_path]))
    assert list(json.loads(path.read_text())) == ["fractions.Fraction", "pathlib.PurePath"]
    assert schema.read_schema(path)["pathlib.PurePath"] == described


def test_all_targets_that_fail_are_named(tmp_path):
    (tmp_path / "x.yaml").write_text("a: {_target_: nowhere.One}\nb: {_target_: nowhere.Two}\n")
    with pytest.raises(ConfigError, match="2 faults"):
        schema.make_schema_text([tmp_path])


@functools.cache
def fresh_schema() -> str:
    checkout = find_checkout()
    return schema.make_schema_text([checkout / "conf", checkout / "experiments"])


def test_the_generated_file_is_true():
    """After a signature or a ``_target_`` changed: ``python -m ser_kd.runtime.schema``."""
    assert fresh_schema() == schema.TARGETS_FILE.read_text(encoding="utf-8")


def test_an_installation_without_the_file_inspects_live(tmp_path):
    assert schema.read_schema(tmp_path / "nothing.json") == {}
