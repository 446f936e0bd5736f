"""What each ``_target_`` takes, read once from the signatures and kept as a file, so that a wrong key is told without importing torch."""

from __future__ import annotations

import collections.abc
import enum
import functools
import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.faults import raise_faults
from ser_kd.runtime.paths import find_checkout
from ser_kd.storage.atomic import write_text

TARGETS_FILE = Path(__file__).with_name("targets.json")
"""The generated schema; ``python -m ser_kd.runtime.schema`` writes it anew."""

_SIMPLE: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    complex: "float",
    str: "str",
    bytes: "str",
    type(None): "none",
    None: "none",
}
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


@dataclass
class ValueSchema:
    """Which values a parameter takes.

    Args:
        types: Any of ``int float bool str list dict none object any``; ``object`` is built from a ``_target_`` of its own,
            ``any`` is not checked.
        choices: The allowed values where it is a ``Literal``.
        items: Schema of a list's items or a dict's values; None where they are not checked.
        keys: Key -> schema where it is a ``TypedDict``.
        required_keys: Those of ``keys`` that must be given.
    """

    types: list[str]
    choices: list[Any] = field(default_factory=list)
    items: ValueSchema | None = None
    keys: dict[str, ValueSchema] = field(default_factory=dict)
    required_keys: list[str] = field(default_factory=list)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ValueSchema:
        """Read it from plain data."""
        items = data.get("items")
        keys = {name: cls.from_data(inner) for name, inner in data.get("keys", {}).items()}
        required_keys = list(data.get("required_keys", []))
        return cls(list(data["types"]), list(data.get("choices", [])), cls.from_data(items) if items else None, keys, required_keys)


@dataclass
class TargetSchema:
    """What a class or function takes.

    Args:
        parameters: Name -> its values, in the order of the signature.
        required: Parameters without a default.
        takes_more: Whether it takes names beyond them (``**kwargs``).
    """

    parameters: dict[str, ValueSchema]
    required: list[str]
    takes_more: bool

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> TargetSchema:
        """Read it from plain data."""
        parameters = {name: ValueSchema.from_data(values) for name, values in data["parameters"].items()}
        return cls(parameters, list(data["required"]), bool(data["takes_more"]))


def locate_target(target: str) -> Any:
    """Import the class, function or classmethod that a dotted name means.

    Raises:
        ConfigError: If a module fails to import, a name is missing in it, or it cannot be called.
    """
    parts = target.split(".")
    found: Any = None
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        if found is not None and hasattr(found, parts[number - 1]):
            found = getattr(found, parts[number - 1])
            continue
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as fault:
            inside = fault.name is not None and not target.startswith(fault.name)
            raise _no_target(target, f"its module needs '{fault.name}', which is not installed" if inside else f"no '{name}'") from fault
        except Exception as fault:
            raise _no_target(target, f"importing {name} fails: {type(fault).__name__}: {fault}") from fault
    if not callable(found):
        raise _no_target(target, f"a {type(found).__name__}, which cannot be called")
    return found


def _no_target(target: str, got: str) -> ConfigError:
    return ConfigError(
        f"'{target}' cannot be used as a _target_.",
        expected="the dotted name of a class or function that can be imported",
        got=got,
        remedy="correct the name; a file of your own must lie in a folder of PYTHONPATH",
    )


def describe_target(target: str) -> TargetSchema:
    """Read what a target takes from its signature.

    Where one of our classes passes ``**kwargs`` on to a parent that is ours too, the parent's parameters count as its own.

    Raises:
        ConfigError: If it cannot be imported.
    """
    return _describe_callable(locate_target(target))


def _describe_callable(found: Any) -> TargetSchema:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return TargetSchema({}, [], takes_more=True)
    hints = _read_hints(found)
    parameters: dict[str, ValueSchema] = {}
    required, takes_more = [], False
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            parameters[name] = describe_hint(hints.get(name, Any))
            if parameter.default is inspect.Parameter.empty:
                required.append(name)
            elif parameter.default is None and "any" not in parameters[name].types and "none" not in parameters[name].types:
                parameters[name].types.append("none")
    if _provider(found).__module__ == "torch.nn.modules.module":
        takes_more = False  # nn.Module names *args and **kwargs only to refuse them itself
    parent = _next_of_ours(found) if takes_more else None
    if parent is not None:
        inherited = _describe_callable(parent)
        required += [name for name in inherited.required if name not in parameters]
        parameters = {**inherited.parameters, **parameters}
        takes_more = inherited.takes_more
    return TargetSchema(parameters, required, takes_more)


def _read_hints(found: Any) -> dict[str, Any]:
    function = found.__init__ if inspect.isclass(found) else found
    try:
        return typing.get_type_hints(function)
    except Exception:  # a foreign annotation may name what exists only for type checkers
        return {}


def _provider(found: Any) -> Any:
    """Give the class whose constructor a class uses; a function gives itself."""
    return next(parent for parent in found.__mro__ if "__init__" in vars(parent)) if inspect.isclass(found) else found


def _next_of_ours(found: Any) -> type | None:
    if not inspect.isclass(found):
        return None
    later = found.__mro__[found.__mro__.index(_provider(found)) + 1 :]
    return next((parent for parent in later if parent.__module__.startswith("ser_kd.") and "__init__" in vars(parent)), None)


def describe_hint(hint: Any) -> ValueSchema:
    """Turn a type hint into the values it stands for.

    Example:
        >>> describe_hint(float | None).types, describe_hint(list[int]).items.types
        (['float', 'none'], ['int'])
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, inspect.Parameter.empty) or isinstance(hint, (typing.TypeVar, str)):
        return ValueSchema(["any"])
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return describe_hint(arguments[0])
    if isinstance(hint, typing.Hashable) and hint in _SIMPLE:
        return ValueSchema([_SIMPLE[hint]])
    if origin is typing.Literal:
        kinds = sorted({_SIMPLE[type(choice)] for choice in arguments})
        return ValueSchema(kinds, [choice for choice in arguments if choice is not None])
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(_join, map(describe_hint, arguments))
    if typing.is_typeddict(hint):
        inner = typing.get_type_hints(hint, include_extras=True)
        # Not __required_keys__: it overlooks NotRequired where annotations are strings.
        marks = {name: typing.get_origin(kind) for name, kind in inner.items()}
        required = [name for name, mark in marks.items() if mark is typing.Required or (hint.__total__ and mark is not typing.NotRequired)]
        return ValueSchema(["dict"], keys={name: describe_hint(kind) for name, kind in inner.items()}, required_keys=sorted(required))
    plain = origin or hint
    if plain in _LISTS:
        items = describe_hint(arguments[0]) if arguments and len(set(arguments) - {...}) == 1 else None
        return ValueSchema(["list"], items=items)
    if plain in _DICTS:
        return ValueSchema(["dict"], items=describe_hint(arguments[1]) if len(arguments) == 2 else None)
    if inspect.isclass(plain) and issubclass(plain, Path):
        return ValueSchema(["str"])
    if inspect.isclass(plain) and (issubclass(plain, enum.Enum) or plain is object):
        return ValueSchema(["any"])
    return ValueSchema(["object"])


def _join(first: ValueSchema, second: ValueSchema) -> ValueSchema:
    if "any" in (*first.types, *second.types):
        return ValueSchema(["any"])
    kinds = sorted({*first.types, *second.types})  # sorted: typing caches Union[int, float] and Union[float, int] as one
    # A Literal beside a plain str or int no longer limits it.
    open_ended = any(not side.choices and set(side.types) - {"none", "list", "dict", "object"} for side in (first, second))
    items = [side.items for side in (first, second) if {"list", "dict"} & set(side.types)]
    choices = [] if open_ended else [*first.choices, *second.choices]
    keys, required_keys = {**first.keys, **second.keys}, first.required_keys + second.required_keys
    return ValueSchema(kinds, choices, items[0] if len(items) == 1 else None, keys, required_keys)


def find_targets(folders: Sequence[Path]) -> list[str]:
    """List every ``_target_`` that the YAML files of some folders name."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            target = node.get("_target_")
            if isinstance(target, str) and "${" not in target and target != "???":
                yield target
        for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
            yield from walk(part)

    files = sorted(path for folder in folders for path in folder.rglob("*.yaml"))
    return sorted({target for path in files for target in walk(yaml.safe_load(path.read_text(encoding="utf-8")))})


def make_schema_text(folders: Sequence[Path]) -> str:
    """Describe every target of the folders' files as the JSON text of the schema file.

    Raises:
        ConfigError: If a target cannot be imported; all of them are named.
    """
    faults, described = [], {}
    for target in find_targets(folders):
        try:
            described[target] = _drop_empty(asdict(describe_target(target)))
        except ConfigError as fault:
            faults.append(fault)
    raise_faults(faults)
    return json.dumps(described, indent=1, sort_keys=True) + "\n"


def _drop_empty(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty fields of value schemas, which are most of them."""
    parameters = {name: _drop_empty_values(values) for name, values in data["parameters"].items()}
    return {**data, "parameters": parameters}


def _drop_empty_values(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if value or name == "types"}
    if "items" in kept:
        kept["items"] = _drop_empty_values(kept["items"])
    if "keys" in kept:
        kept["keys"] = {name: _drop_empty_values(inner) for name, inner in kept["keys"].items()}
    return kept


@functools.cache
def read_schema(path: Path = TARGETS_FILE) -> dict[str, TargetSchema]:
    """Read the generated schema; empty where the file is missing, so that every target is inspected live."""
    if not path.is_file():
        return {}
    return {target: TargetSchema.from_data(data) for target, data in json.loads(path.read_text(encoding="utf-8")).items()}


def main() -> int:
    """Write the schema of the checkout's configuration anew."""
    checkout = find_checkout()
    if checkout is None:
        print("The schema is generated in a checkout; an installed package brings it along.", file=sys.stderr)
        return 2
    try:
        text = make_schema_text([checkout / "conf", checkout / "experiments"])
    except ConfigError as fault:
        print(fault, file=sys.stderr)
        return 2
    write_text(TARGETS_FILE, text)
    print(f"{TARGETS_FILE}: {len(json.loads(text))} targets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
