"""The words of ``ser-kd sweep``: which file, its own keys, and what is checked before the first trial."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.command_line import read_root_file
from ser_kd.runtime.composition import compose
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots
from ser_kd.runtime.validation import check_config
from ser_kd.runtime.yaml_files import read_plain_yaml
from ser_kd.sweeps.sweep_command import write_words
from ser_kd.sweeps.sweep_file import SweepFile
from ser_kd.sweeps.sweep_reader import read_sweep

OWN_KEYS = ("workers", "storage", "trials", "sampling_seed", "early_terminate", "take_over", "dry_run")
STOPPING = ("hyperband", "median", "none")
_MOST_TRIED = 12
"""So many values of one parameter are composed before the first trial."""


@dataclass
class SweepWords:
    """What the command line asked for.

    Args:
        path: The sweep file.
        words: Words behind ``ser-kd train`` that all trials share: those of the file's command, then those of the command line.
        workers: Processes; None is one for each core or GPU.
        storage: Where trials are kept; None is a file beside the runs.
        trials: Trials to do in all; None is what the file says.
        sampling_seed: Seed of random draws.
        early_terminate: ``hyperband``, ``median`` or ``none``; None is what the file says.
        take_over: Machines whose running trials are taken up.
        dry_run: Whether the trials are only told.
        tried: Configurations of a trial, one for each value of each parameter (the first dozen of each), with the words that differ.
    """

    path: Path
    words: list[str] = field(default_factory=list)
    workers: int | None = None
    storage: str | None = None
    trials: int | None = None
    sampling_seed: int = 0
    early_terminate: str | None = None
    take_over: tuple[str, ...] = ()
    dry_run: bool = False
    tried: list[tuple[list[str], DictConfig]] = field(default_factory=list)


def read_words(arguments: Sequence[str]) -> tuple[SweepWords, SweepFile, DictConfig]:
    """Read words and file, and compose the training with every parameter, so that a typo is told before the first trial.

    Returns:
        The words, the sweep, and the configuration of a trial.

    Raises:
        ConfigError: All faults.
    """
    asked, faults = _split(arguments)
    sweep, faults_of_file = read_sweep(read_plain_yaml(asked.path), os.environ)
    faults += [_say_where(fault, asked.path) for fault in faults_of_file]
    if sweep is None:
        raise_faults(faults)
        raise ConfigError("The sweep file is empty.", got=str(asked.path))  # never: without a sweep there are faults
    if not faults_of_file:
        faults += _find_missing_ends(sweep, asked)
    asked.words = _join_words(sweep.train_words, asked.words)
    given = {_key_of(word) for word in asked.words}
    faults += [
        ConfigError(f"{parameter.name} is given, and swept over.", expected="one of both", got=f"{parameter.name}=… in the words",
                    remedy="leave it out of the words, or out of the file's parameters")
        for parameter in sweep.parameters if parameter.name in given
    ]  # fmt: skip
    asked.tried, faults_of_values = _try_values(sweep, asked.words) if sweep.train_words else ([], [])
    raise_faults(faults + faults_of_values)
    if not asked.tried:
        raise ConfigError("The sweep trains nothing.", expected="experiments=NAME in its command", got=str(asked.path))
    return asked, sweep, asked.tried[0][1]


def _split(arguments: Sequence[str]) -> tuple[SweepWords, list[ConfigError]]:
    known = read_root_file("train", Catalog(find_conf_dir(), find_experiment_roots())).names()
    values: dict[str, str] = {}
    files, words, faults = [], [], []
    for word in arguments:
        key, sign, value = word.partition("=")
        near = suggest(key, OWN_KEYS)
        if not sign or "/" in key:
            files.append(word)
        elif key in values:
            faults.append(ConfigError(f"{key} is given twice.", expected="one value", got=word, remedy="leave one out"))
        elif key in OWN_KEYS:
            values[key] = value
        elif key not in known and "." not in key and near:
            expected = f"one of {', '.join(OWN_KEYS)}, or a word of ser-kd train"
            faults.append(ConfigError(f"Unknown key '{key}'.", expected=expected, got=word, remedy=near))
        else:
            words.append(word)
    if len(files) != 1:
        got = " ".join(files) or "none"
        raise ConfigError("A sweep has one file.", expected="ser-kd sweep FILE", got=got, remedy=f"one of {join_names(list_sweeps())}, say")
    asked = SweepWords(find_sweep(files[0]), words, storage=values.get("storage"), early_terminate=values.get("early_terminate"))
    for key, least in (("workers", 1), ("trials", 1), ("sampling_seed", 0)):
        if key in values and not (values[key].isdecimal() and int(values[key]) >= least):
            faults.append(ConfigError(f"{key} cannot be used.", expected=f"a whole number of {least} or more", got=f"{key}={values[key]}",
                                      remedy=f"write {key}={max(least, 2)}, say"))  # fmt: skip
        elif key in values:
            setattr(asked, key, int(values[key]))
    if asked.early_terminate not in (None, *STOPPING):
        faults.append(ConfigError("Unknown early termination.", expected=f"one of {', '.join(STOPPING)}", got=str(asked.early_terminate),
                                  remedy=suggest(str(asked.early_terminate), STOPPING) or "leave it out"))  # fmt: skip
    if values.get("dry_run", "false").lower() not in ("true", "false"):
        faults.append(
            ConfigError("dry_run is true or false.", expected="true or false", got=values["dry_run"], remedy="write dry_run=true")
        )
    asked.take_over = tuple(host for host in values.get("take_over", "").split(",") if host)
    asked.dry_run = values.get("dry_run", "").lower() == "true"
    return asked, faults


def list_sweeps() -> dict[str, Path]:
    """Give the sweeps beside the experiments as ``<paper>/<name>`` and their files."""
    found: dict[str, Path] = {}
    for root in find_experiment_roots():
        for path in sorted(root.glob("*/sweeps/*.yaml")):
            found.setdefault(f"{path.parents[1].name}/{path.stem}", path)
    return found


def find_sweep(name: str) -> Path:
    """Give the file of a sweep: a path, or ``<paper>/<name>``.

    Raises:
        ConfigError: If there is none.
    """
    listed = list_sweeps()
    if Path(name).is_file() or name in listed:
        return Path(name) if Path(name).is_file() else listed[name]
    raise ConfigError("There is no such sweep file.", expected=f"a YAML file, or one of {join_names(listed)}", got=name,
                      remedy=suggest(name, listed) or "correct the path")  # fmt: skip


def _say_where(fault: ConfigError, path: Path) -> ConfigError:
    return ConfigError(fault.problem, expected=fault.expected, got=f"{fault.got} in {path}", remedy=fault.remedy)


def _find_missing_ends(sweep: SweepFile, asked: SweepWords) -> list[ConfigError]:
    faults = []
    if asked.early_terminate == "hyperband" and sweep.hyperband is None:
        faults.append(
            ConfigError(
                "The file does not say how hyperband stops trials.",
                expected="early_terminate in the file",
                got="early_terminate=hyperband",
                remedy="add early_terminate: {type: hyperband, min_iter: 3} to the file",
            )
        )
    if sweep.count_points() is None and sweep.run_cap is None and asked.trials is None:
        faults.append(ConfigError("The sweep would have no end.", expected="run_cap in the file, or trials=N", got="neither",
                                  remedy="add trials=24, say"))  # fmt: skip
    return faults


def _key_of(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _join_words(of_file: Sequence[str], own: Sequence[str]) -> list[str]:
    """Put the command line's words behind the file's, of which those with the same key are left out."""
    replaced = {_key_of(word) for word in own}
    return [*(word for word in of_file if _key_of(word) not in replaced), *own]


def _try_values(sweep: SweepFile, words: Sequence[str]) -> tuple[list[tuple[list[str], DictConfig]], list[ConfigError]]:
    """Compose a trial, and one for each further value; all unknown keys are told by the first."""
    first = {parameter.name: parameter.list_ends()[0] for parameter in sweep.parameters}
    try:
        tried = [(write_words(first), _compose(words, first))]
    except ConfigError as fault:
        return [], [fault]
    faults = []
    for parameter in sweep.parameters:
        for value in parameter.list_ends()[1:_MOST_TRIED]:
            changed = {parameter.name: value}
            try:
                tried.append((write_words(changed), _compose(words, {**first, **changed})))
            except ConfigError as fault:
                faults.append(fault)
    return tried, faults


def _compose(words: Sequence[str], values: dict[str, object] | dict) -> DictConfig:
    config = compose("train", [*words, *write_words(values)])
    check_config(config)
    return config
