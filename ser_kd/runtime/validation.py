"""The check of a whole configuration against the signatures it will be built by, before anything is built."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.runtime.schema import TargetSchema, ValueSchema, describe_target, read_schema

GIVEN_BY_TASKS: Mapping[str, Collection[str]] = {
    "datamodule": {"corpus", "protocol", "fold", "seed", "key_epochs"},
    "student": {"classes"},
    "trainer": {
        "callbacks",
        "default_root_dir",
        "enable_model_summary",
        "enable_progress_bar",
        "logger",
        "num_sanity_val_steps",
        "use_distributed_sampler",
    },
}
"""Path of a node -> parameters that the tasks give when they build it, so that no file may."""

ROOT_CHOICES: Mapping[str, tuple[str, ...]] = {"batch_scope": ("global", "process")}
"""Keys beside the nodes -> what they can be, the default first; a test holds them to the classes that take them."""

_INSTANTIATE_KEYS = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
_KIND_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "dict": "keys and values",
    "none": "null",
    "object": "a node with _target_",
}


def check_config(
    config: DictConfig | Mapping[str, Any],
    late: Mapping[str, Collection[str]] | None = None,
    schema: Mapping[str, TargetSchema] | None = None,
) -> None:
    """Check every node with a ``_target_``: keys, required keys, types, choices; all faults are told together.

    Args:
        config: The composed configuration.
        late: Path of a node (``*`` matches anything) -> parameters that the program gives when it builds it; None is what our
            tasks give.
        schema: Target -> what it takes; None is the generated file. A target outside it is imported and inspected.

    Raises:
        ConfigError: All faults.
    """
    content = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    check = _Check(GIVEN_BY_TASKS if late is None else late, read_schema() if schema is None else schema)
    check.visit(content, "")
    for place in _find_nan(content, ""):
        check.add(f"'{place}' is no number.", "a number", "nan", f"correct {place}")
    for key in ("fold", "seed"):
        number = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(number, int) and number < 0:
            check.faults.append(ConfigError(f"The {key} is negative.", expected="0 or more", got=f"{key}={number}", remedy=f"set {key}=0"))
        elif key == "seed" and isinstance(number, int) and number >= 2**32:
            check.faults.append(ConfigError("The seed is too large.", expected="below 2^32", got=f"seed={number}", remedy="set seed=0"))
    for key, choices in ROOT_CHOICES.items():
        chosen = content.get(key, choices[0]) if isinstance(content, Mapping) else choices[0]
        if chosen not in choices:
            near = suggest(str(chosen), choices) or f"set {key}={choices[0]}"
            check.faults.append(ConfigError(f"{key} cannot be used.", expected=" or ".join(choices), got=f"{key}={chosen}", remedy=near))
    raise_faults(check.faults)


@dataclass
class _Check:
    late: Mapping[str, Collection[str]]
    schema: Mapping[str, TargetSchema]
    faults: list[ConfigError] = field(default_factory=list)

    def visit(self, node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            if "_target_" in node:
                self.check_node(node, path)
            for key, value in node.items():
                self.visit(value, f"{path}.{key}".lstrip("."))
        elif isinstance(node, (list, tuple)):
            for number, value in enumerate(node):
                self.visit(value, f"{path}[{number}]")

    def check_node(self, node: Mapping[str, Any], path: str) -> None:
        target = node["_target_"]
        try:
            takes = self.schema.get(target) or describe_target(str(target))
        except ConfigError as fault:
            near = suggest(str(target), self.schema) if fault.got.startswith("no ") else ""
            self.add(f"{path}: {fault.problem}", fault.expected, fault.got, near or fault.remedy)
            return
        late = {name for pattern, names in self.late.items() if fnmatchcase(path, pattern) for name in names}
        keys = {str(key) for key in node} - _INSTANTIATE_KEYS
        for key in sorted(keys):
            place = f"{path}.{key}".lstrip(".")
            if key in late:
                self.add(f"'{place}' is filled in by the program.", f"no key {key} here", repr(node[key]), "leave it out")
            elif key in takes.parameters:
                self.check_value(node[key], takes.parameters[key], place)
            elif not takes.takes_more:
                free = set(takes.parameters) - late
                near = suggest(key, free - keys) or "leave it out"
                self.add(f"Unknown key '{place}'.", f"one of {join_names(free)} ({target})", repr(node[key]), near)
        positional = len(node.get("_args_") or [])
        given = {*keys, *late, *list(takes.parameters)[:positional]}
        if not node.get("_partial_"):
            for name in takes.required:
                if name not in given:
                    place = f"{path}.{name}".lstrip(".")
                    self.add(f"'{place}' is missing.", f"{_describe(takes.parameters[name])} ({target})", "nothing", f"add {place}=VALUE")

    def check_value(self, value: Any, takes: ValueSchema, place: str) -> None:
        if "any" in takes.types or (isinstance(value, Mapping) and "_target_" in value) or value == "???":
            return
        if not any(_is_kind(value, kind) for kind in takes.types):
            self.add(f"'{place}' has a value of the wrong type.", _describe(takes), _show(value), _advise(value, takes, place))
        elif takes.choices and isinstance(value, (str, int, float)) and value not in takes.choices:
            near = suggest(str(value), map(str, takes.choices)) or f"write {place}={takes.choices[0]}, say"
            self.add(f"'{place}' has a value that is not offered.", _describe(takes), _show(value), near)
        elif isinstance(value, Mapping) and takes.keys:
            self.check_keys(value, takes, place)
        elif takes.items and isinstance(value, Mapping):
            for key, part in value.items():
                self.check_value(part, takes.items, f"{place}.{key}")
        elif takes.items and isinstance(value, (list, tuple)):
            for number, part in enumerate(value):
                self.check_value(part, takes.items, f"{place}[{number}]")

    def check_keys(self, value: Mapping[str, Any], takes: ValueSchema, place: str) -> None:
        for key, part in value.items():
            if key in takes.keys:
                self.check_value(part, takes.keys[key], f"{place}.{key}")
            else:
                near = suggest(key, set(takes.keys) - set(value)) or "leave it out"
                self.add(f"Unknown key '{place}.{key}'.", f"one of {join_names(takes.keys)}", _show(part), near)
        for key in takes.required_keys:
            if key not in value:
                self.add(f"'{place}.{key}' is missing.", _describe(takes.keys[key]), "nothing", f"add {place}.{key}=VALUE")

    def add(self, problem: str, expected: str, got: str, remedy: str) -> None:
        self.faults.append(ConfigError(problem, expected=expected, got=got, remedy=remedy))


def _find_nan(value: Any, place: str) -> Iterator[str]:
    """Give the places of numbers that are none: every comparison with them is false, so range checks would let them through."""
    if isinstance(value, float) and math.isnan(value):
        yield place
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _find_nan(part, f"{place}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from _find_nan(part, f"{place}[{number}]")


def _is_kind(value: Any, kind: str) -> bool:
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    plain = {"bool": bool, "str": str, "list": (list, tuple), "dict": Mapping, "none": type(None)}
    # An object can only come from a node with _target_, which was let through before.
    return kind in plain and isinstance(value, plain[kind])  # type: ignore[arg-type]


def _describe(takes: ValueSchema) -> str:
    if takes.choices:
        offered = [str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in takes.choices]
        others = [_KIND_NAMES[kind] for kind in takes.types if kind in ("none", "list", "dict", "object")]
        return f"one of {', '.join([*offered, *others])}"
    if "any" in takes.types:
        return "a value"
    return " or ".join(_KIND_NAMES[kind] for kind in takes.types)


def _show(value: Any) -> str:
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _advise(value: Any, takes: ValueSchema, place: str) -> str:
    kinds = set(takes.types)
    if isinstance(value, str):
        plain = value.strip().lower()
        if "none" in kinds and plain in ("none", "nil", "nan", ""):
            return f"write {place}=null"
        if "bool" in kinds and plain in ("yes", "on", "no", "off", "true", "false"):
            return f"write {place}={'true' if plain in ('yes', 'on', 'true') else 'false'}, without quotes"
        if kinds & {"int", "float"} and _is_number(plain):
            number = float(plain)
            whole = "float" not in kinds and number.is_integer()
            return f"write {place}={int(number) if whole else plain}, without quotes"
        if "object" in kinds and not kinds & {"int", "float", "bool", "list", "dict"}:
            return "an object is chosen as an option of its group (GROUP@PACKAGE=OPTION), or written as keys with _target_"
        if "list" in kinds:
            return f"write '{place}=[{value}]'"
    if isinstance(value, float) and kinds & {"int"} and value.is_integer():
        return f"write {place}={int(value)}"
    if value is None:
        return f"give {place} a value"
    return f"write {_describe(takes)}, such as {place}={_example(takes)}"


def _example(takes: ValueSchema) -> str:
    if takes.choices:
        return str(takes.choices[0])
    examples = {"int": "1", "float": "0.5", "bool": "true", "str": "TEXT", "list": "[…]", "dict": "{…}", "none": "null"}
    return next((examples[kind] for kind in takes.types if kind in examples), "VALUE")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
