"""What Hydra and OmegaConf refuse, said in our own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.command_line import read_root_file
from ser_kd.runtime.faults import join_names
from ser_kd.runtime.key_lists import list_keys


def unchosen_group(fault: Exception) -> str:
    """Give the group of which Hydra says that one option must be chosen, or nothing where it says something else."""
    found = re.match(r"You must specify '([^']+)'", str(fault))
    return found[1] if found else ""


def nothing_chosen(group: str, catalog: Catalog) -> ConfigError:
    """Give the error for a group of which one option must be chosen."""
    options = catalog.offers(group.partition("@")[0])
    return ConfigError(
        f"No {group} is chosen.", expected=f"one of {join_names(options)}", got="nothing", remedy=f"add {group}={next(iter(options))}, say"
    )


def missing_value(key: str) -> ConfigError:
    """Give the error for a value that is still ``???``."""
    return ConfigError(f"'{key}' has no value yet.", expected="a value of your choice", got="???", remedy=f"add {key}=VALUE")


def find_broken_interpolations(config: DictConfig) -> list[ConfigError]:
    """Find every ``${…}`` that cannot be resolved."""
    faults: dict[str, ConfigError] = {}  # by cause: what merely refers to a broken reference is not told again
    known = list_keys(config)

    def visit(node: Any, path: str) -> None:
        keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
        for key in keys:
            place = f"{path}[{key}]" if isinstance(node, ListConfig) else f"{path}.{key}".lstrip(".")
            if OmegaConf.is_missing(node, key):
                continue
            if OmegaConf.is_interpolation(node, key):
                try:
                    node[key]
                except InterpolationToMissingValueError:
                    continue  # the missing value is told by itself
                except OmegaConfBaseException as fault:
                    written: Any = OmegaConf.to_container(node, resolve=False)
                    told = _broken_interpolation(place, str(written[key]), fault, known)
                    faults.setdefault(str(fault).splitlines()[0], told)
            elif OmegaConf.is_config(node[key]):
                visit(node[key], place)

    visit(config, "")
    return list(faults.values())


def _broken_interpolation(place: str, raw: str, fault: Exception, known: Sequence[str]) -> ConfigError:
    message = str(fault).splitlines()[0]
    variable = re.search(r"Environment variable '([^']+)' not found", message)
    if variable:
        return ConfigError(
            f"'{place}' is read from the environment, where it is not set.",
            expected=f"the environment variable {variable[1]}",
            got=raw,
            remedy=f"export {variable[1]}=…, or add {place}=VALUE",
        )
    target = re.search(r"Interpolation key '([^']+)' not found", message)
    return ConfigError(
        f"'{place}' refers to something that does not exist.",
        expected="${KEY} with a key of this configuration",
        got=raw,
        remedy=(suggest(target[1], known) if target else "") or f"add {place}=VALUE, or correct the reference ({message})",
    )


def translate(fault: Exception, task: str, catalog: Catalog) -> ConfigError:
    """Give our words for a fault of Hydra's that lies in a file or concerns a group."""
    message = next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
    place = re.match(r"In '([^']+)': ", message)
    where = f"{place[1]}.yaml" if place else task
    if isinstance(fault, MissingConfigException) and fault.missing_cfg_file:
        group, _, option = fault.missing_cfg_file.partition("/")
        options = catalog.options(group)
        return ConfigError(
            f"{where} asks for an option that does not exist.",
            expected=f"one of {join_names(options)}" if catalog.is_group(group) else f"one of the groups {join_names(catalog.groups())}",
            got=fault.missing_cfg_file,
            remedy=suggest(option, options) or suggest(group, set(catalog.groups()) - {group}) or "correct its defaults list",
        )
    refused = re.search(r"Could not (?:override|delete) '([^']+)'", message)
    if refused:
        hint = re.search(r"Did you mean to override (?:one of )?([^?]+)\?", str(fault))
        groups = read_root_file(task, catalog).groups
        near = f"write {hint[1]}=…" if hint else suggest(refused[1], groups)
        return ConfigError(
            f"{where} overrides '{refused[1]}', which '{task}' lacks." if place else f"'{task}' has no group '{refused[1]}' to choose.",
            expected=f"one of {join_names(groups)}",
            got=refused[1],
            remedy=near or f"leave it out, or use a verb that has it, not '{task}'",
        )
    return ConfigError(
        "The configuration cannot be composed.",
        expected=f"files and words that fit together for '{task}'",
        got=message,
        remedy=f"look at {where}; 'ser-kd {task} --help' names the groups and keys",
    )
