"""Changes that an experiment or a word makes to the configuration files and that nothing would read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog
from ser_kd.runtime.command_line import unknown_key
from ser_kd.runtime.faults import join_names
from ser_kd.runtime.key_lists import list_keys, read_content


def find_refused_changes(
    full: DictConfig, plain: DictConfig, overrides: Sequence[Override], choices: Mapping[str, Any], catalog: Catalog
) -> list[ConfigError]:
    """Compare a configuration with what the files alone say.

    Refused are: a new key outside of every ``_target_`` (within one its signature decides, later); one value where the files have keys;
    a value of another type than the files' own; keys of a group of which nothing was chosen. Below a key that is null or ``{}`` in the
    files anything goes.

    Args:
        full: The configuration as asked for.
        plain: The same choices without the experiment's values and without the words' values.
        overrides: The words, to name the culprit.
        choices: Group (with package) -> chosen option.
        catalog: Tells what is a group.
    """
    comparison = _Comparison(overrides, choices, catalog, [*choices, *list_keys(plain)])
    comparison.visit(read_content(full), read_content(plain), "", within_target=False)
    return comparison.faults


@dataclass
class _Comparison:
    overrides: Sequence[Override]
    choices: Mapping[str, Any]
    catalog: Catalog
    candidates: list[str]
    faults: list[ConfigError] = field(default_factory=list)

    def visit(self, node: Mapping[Any, Any], before: Mapping[Any, Any], path: str, within_target: bool) -> None:
        within_target = within_target or "_target_" in node
        for key, value in node.items():
            place = f"{path}.{key}".lstrip(".")
            if key not in before:
                if not within_target:
                    expected = f"one of {join_names(map(str, before))}"
                    self.faults.append(unknown_key(place, self.culprit(place, value), self.candidates, expected))
                continue
            old = before[key]
            if isinstance(value, Mapping) and isinstance(old, Mapping) and old:
                self.visit(value, old, place, within_target)
            elif isinstance(value, Mapping) and old is None and self.catalog.is_group(place) and not self.choices.get(place):
                self.faults.append(nothing_to_fill(place, self.culprit(place, value), self.catalog))
            elif isinstance(old, Mapping) and old and not isinstance(value, Mapping) and value is not None:
                self.faults.append(self.flattened(place, value, old))
            elif not within_target and not _is_same_kind(value, old):
                self.faults.append(self.other_type(place, value, old))

    def culprit(self, place: str, value: Any) -> str:
        """Name the word or the experiment that brought the value."""
        for override in reversed(self.overrides):
            inner, outer = f"{override.key_or_group}.", f"{place}."
            if outer.startswith(inner) or inner.startswith(outer):
                return str(override.input_line)
        shown = f"{{{join_names(map(str, value))}}}" if isinstance(value, Mapping) else repr(value)
        return f"{place}: {shown} in the experiment {self.choices.get(EXPERIMENTS_GROUP)}"

    def flattened(self, place: str, value: Any, old: Mapping[Any, Any]) -> ConfigError:
        keys = [str(key) for key in old if key != "_target_"]
        choice = {key.rpartition("@")[2].replace("/", "."): key for key in self.choices}.get(place)
        return ConfigError(
            f"'{place}' holds keys and cannot become one value.",
            expected=f"{place}.KEY=… with one of {join_names(keys)}",
            got=self.culprit(place, value),
            remedy=f"to choose another option write {choice}={value}" if choice else f"write {place}.{keys[0] if keys else 'KEY'}=…",
        )

    def other_type(self, place: str, value: Any, old: Any) -> ConfigError:
        kind = {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}.get(type(old), "a text")
        return ConfigError(
            f"'{place}' has a value of the wrong type.",
            expected=f"{kind}, such as {str(old).lower() if isinstance(old, bool) else old}",
            got=self.culprit(place, value),
            remedy=f"write {place}={str(old).lower() if isinstance(old, bool) else old}, say",
        )


def nothing_to_fill(place: str, got: str, catalog: Catalog) -> ConfigError:
    """Give the error for a key of a group of which nothing was chosen."""
    return ConfigError(
        f"'{place}' is empty, so its keys cannot be set.",
        expected=f"{place}= one of {join_names(catalog.options(place))}",
        got=got,
        remedy=f"choose the group {place} first, or leave the key out",
    )


def _is_same_kind(value: Any, old: Any) -> bool:
    if old is None or value is None or any(isinstance(side, str) and ("${" in side or side == "???") for side in (value, old)):
        return True
    if isinstance(old, bool) or isinstance(value, bool):
        return isinstance(old, bool) and isinstance(value, bool)
    if isinstance(old, int):
        return isinstance(value, int)
    if isinstance(old, float):
        return isinstance(value, (int, float))
    if isinstance(old, str):
        return isinstance(value, (str, int, float))
    return isinstance(value, type(old)) or not old
