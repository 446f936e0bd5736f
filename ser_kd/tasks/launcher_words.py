"""The words that say where trainings run (``launcher=slurm launcher.partition=gpu``), read before anything slow is imported."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import fields

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.faults import raise_faults
from ser_kd.sweeps.launchers.settings import LocalSettings, RaySettings, SlurmSettings

Settings = LocalSettings | SlurmSettings | RaySettings

LAUNCHERS: dict[str, type[Settings]] = {"local": LocalSettings, "slurm": SlurmSettings, "ray": RaySettings}
_OPEN = "sbatch"
"""The key whose own keys are SLURM's, which nobody here knows."""


def take_launcher_words(arguments: Sequence[str]) -> tuple[Settings, list[str]]:
    """Take the words on the launcher out of a command line.

    Args:
        arguments: As typed.

    Returns:
        What they say, and all other words.

    Raises:
        ConfigError: All faults.
    """
    values: dict[str, str] = {}
    others, faults = [], []
    for word in arguments:
        key, sign, value = word.partition("=")
        first = key.partition(".")[0]
        if sign and first != "launcher" and suggest(first, ["launcher"]):
            faults.append(ConfigError(f"Unknown key '{key}'.", got=word, remedy=f"did you mean '{key.replace(first, 'launcher', 1)}'?"))
        elif not sign or first != "launcher":
            others.append(word)
        elif key in values:
            faults.append(ConfigError(f"{key} is given twice.", expected="one value", got=word, remedy="leave one out"))
        else:
            values[key] = value
    name = values.pop("launcher", "local")
    if name not in LAUNCHERS:
        faults.append(
            ConfigError(
                "Unknown launcher.", expected=f"one of {', '.join(LAUNCHERS)}", got=f"launcher={name}", remedy=suggest(name, LAUNCHERS)
            )
        )
        raise_faults(faults)
    settings, faults_of_values = _read_settings(name, {key.partition(".")[2]: value for key, value in values.items()})
    raise_faults(faults + faults_of_values)
    return settings, others


def _read_settings(name: str, values: dict[str, str]) -> tuple[Settings, list[ConfigError]]:
    kinds = typing.get_type_hints(LAUNCHERS[name])
    known = [field.name for field in fields(LAUNCHERS[name])]
    taken: dict[str, typing.Any] = {}
    faults = []
    for key, text in values.items():
        outer, _, inner = key.partition(".")
        if inner and outer == _OPEN and _OPEN in known:
            taken.setdefault(_OPEN, {})[inner.replace("-", "_")] = text
        elif key not in known or key == _OPEN:
            shown = [f"launcher.{other}" + (".KEY" if other == _OPEN else "") for other in known]
            whose = [other for other, kind in LAUNCHERS.items() if key in {field.name for field in fields(kind)}]
            remedy = suggest(f"launcher.{key}", shown) or (f"it belongs to launcher={whose[0]}" if whose else "leave it out")
            faults.append(ConfigError(f"launcher={name} has no such key.", expected=f"one of {', '.join(shown)}",
                                      got=f"launcher.{key}={text}", remedy=remedy))  # fmt: skip
        else:
            kind = _strip_none(kinds[key])
            try:
                taken[key] = _convert(text, kind, least=0 if key in ("retries", "gpus_per_job", "gpus_per_node") else None)
            except ValueError:
                whole = "a whole number" if kind is int else "a number"
                faults.append(
                    ConfigError(
                        f"launcher.{key} cannot be used.",
                        expected=f"{whole} above 0",
                        got=f"launcher.{key}={text}",
                        remedy=f"write launcher.{key}=1, say",
                    )
                )
    if name == "slurm" and taken.get("cluster", "slurm") not in ("slurm", "local"):
        faults.append(ConfigError("Unknown cluster.", expected="slurm, or local (each job a process of this machine, to try it out)",
                                  got=f"launcher.cluster={taken['cluster']}", remedy="leave it out"))  # fmt: skip
    return LAUNCHERS[name](**taken) if not faults else LAUNCHERS[name](), faults


def _strip_none(kind: typing.Any) -> typing.Any:
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _convert(text: str, kind: typing.Any, least: int | None) -> typing.Any:
    if kind not in (int, float):
        return text
    number = kind(text)
    if not (number > 0 if least is None else number >= least) or number == float("inf"):
        raise ValueError(text)
    return number
