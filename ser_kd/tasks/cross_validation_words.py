"""The words of ``ser-kd cross-validate``: its own keys, read and checked before anything slow is imported, and those of the trainings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.command_line import read_root_file
from ser_kd.runtime.composition import compose
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots
from ser_kd.runtime.validation import check_config

OWN_KEYS = ("experiments", "folds", "seeds", "workers", "out", "dry_run")
OTHERS = "others"
SHARED_BY_ALL = ("corpus", "protocol", "scale", "logger", "paths", "trainer.accelerator", "trainer.devices")
"""Words that hold for all experiments of a table and their teachers, or for none."""


@dataclass(frozen=True)
class ChosenExperiment:
    """An experiment and the words that hold for it alone.

    Args:
        name: Of the experiment.
        words: Its own words, behind those that hold for all.
    """

    name: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *self.words))


@dataclass(frozen=True)
class ChosenSeeds:
    """Seeds of each fold.

    Args:
        others: Seeds of the folds that are not named; None where there is no such word.
        by_fold: Seeds of a fold.
    """

    others: tuple[int, ...] | None
    by_fold: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def of_fold(self, fold: int) -> tuple[int, ...]:
        """Give the seeds of a fold.

        Raises:
            ConfigError: If none are told.
        """
        seeds = self.by_fold.get(fold, self.others)
        if seeds is None:
            raise ConfigError(
                f"No seed is told for fold {fold}.",
                expected="seeds of every fold",
                got=str(self),
                remedy=f"add {OTHERS}:[0] to seeds={{…}}",
            )
        return seeds

    def __str__(self) -> str:
        named = [f"{', '.join(map(str, seeds))} on fold {fold}" for fold, seeds in self.by_fold.items()]
        rest = [] if self.others is None else [", ".join(map(str, self.others)) + (" on the others" if named else "")]
        return "; ".join([*named, *rest])


@dataclass
class CrossValidationWords:
    """What the command line asked for.

    Args:
        experiments: What is trained.
        folds: ``all`` or numbers.
        seeds: Seeds, 0 or more.
        workers: Processes; None is one for each core or GPU.
        out: Folder of the report; None is that of ser-kd report.
        dry_run: Whether the trainings are only listed.
        words: All other words, which hold for every training.
    """

    experiments: list[ChosenExperiment]
    folds: str | list[int] = "all"
    seeds: ChosenSeeds = field(default_factory=lambda: ChosenSeeds((0,)))
    workers: int | None = None
    out: str | None = None
    dry_run: bool = False
    words: list[str] = field(default_factory=list)


def read_words(arguments: Sequence[str]) -> CrossValidationWords:
    """Read the words and compose each experiment once, so that a typo is told at once.

    Raises:
        ConfigError: If a key or value cannot be.
    """
    values, words = _split(arguments)
    if "experiments" not in values:
        raise ConfigError(
            "No experiment is chosen.", expected="experiments=NAME or experiments=[NAME,NAME]", got=" ".join(arguments) or "nothing",
            remedy="'ser-kd list experiments' shows them",
        )  # fmt: skip
    folds = values.get("folds", "all")
    if isinstance(folds, str) and folds != "all":
        raise ConfigError("Unknown folds.", expected="all, or numbers such as [0,1]", got=f"folds={folds}", remedy="set folds=all")
    told = CrossValidationWords(
        experiments=[_read_experiment(str(entry)) for entry in _as_list(values["experiments"])],
        folds=folds if isinstance(folds, str) else _read_numbers("folds", folds, least=0),
        seeds=_read_seeds(values.get("seeds", 0)),
        workers=_read_numbers("workers", values["workers"], least=1)[0] if values.get("workers") is not None else None,
        out=str(values["out"]) if values.get("out") is not None else None,
        dry_run=bool(values.get("dry_run", False)),
        words=words,
    )
    _check_once("experiment", told.experiments)
    if not isinstance(told.folds, str):
        _check_once("fold", told.folds)
    for experiment in told.experiments:
        check_config(compose("train", [f"experiments={experiment.name}", *words, *experiment.words]))
    return told


def _check_once(kind: str, values: Sequence[object]) -> None:
    """Refuse an empty list and one that names something twice.

    Raises:
        ConfigError: If it is.
    """
    twice = sorted({str(value) for value in values if list(values).count(value) > 1})
    if twice or not values:
        raise ConfigError(
            f"The same {kind} is named twice." if twice else f"No {kind} is named.",
            expected=f"each {kind} once",
            got=", ".join(twice) or "none",
            remedy=f"name each {kind} once",
        )


def _split(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    known = read_root_file("train", Catalog(find_conf_dir(), find_experiment_roots())).names()
    values: dict[str, Any] = {}
    words, parser = [], OverridesParser.create()
    for word in arguments:
        key, sign, _ = word.partition("=")
        near = suggest(key, OWN_KEYS)
        if key in ("fold", "seed", "experiment") or (key not in OWN_KEYS and key not in known and "." not in key and near):
            raise ConfigError(
                f"{key}= is for one training." if key in known else f"Unknown key '{key}'.",
                expected=f"one of {', '.join(OWN_KEYS)}, or a word of ser-kd train",
                got=word,
                remedy=f"set {key}s=…, or train one run: ser-kd train" if key in known else near,
            )
        if not sign or key not in OWN_KEYS:
            words.append(word)
            continue
        try:
            values[key] = parser.parse_override(word).value()
        except HydraException as fault:
            raise ConfigError(f"{key} cannot be read.", expected=f"{key}=VALUE or {key}=[VALUE,VALUE]", got=word) from fault
    return values, words


def _read_experiment(entry: str) -> ChosenExperiment:
    try:
        name, *words = shlex.split(entry) or [""]
    except ValueError:  # a quotation mark without its second
        name, words = entry, [entry]
    keys = [word.partition("=")[0].lstrip("+~") if "=" in word else "" for word in words]
    shared = [word for word, key in zip(words, keys, strict=True) if key.startswith(SHARED_BY_ALL)]
    if shared:
        raise ConfigError(
            f"{shared[0].partition('=')[0]} cannot differ between experiments that stand in one table.",
            expected="words on model, objective, views, optimizer or teacher",
            got=entry,
            remedy=f"put {shared[0]} behind cross-validate, where it holds for all",
        )
    if "=" in name or any(not key or key in (*OWN_KEYS, "fold", "seed", "experiment") for key in keys):
        raise ConfigError(
            "An experiment cannot be read.",
            expected="NAME, or 'NAME KEY=VALUE …' with words of ser-kd train but fold and seed",
            got=entry,
            remedy="such as experiments=[wav_to_mfcc/student,'wav_to_mfcc/ce_kl teacher=scratch_ensemble']",
        )
    return ChosenExperiment(name, tuple(words))


def _read_seeds(value: Any) -> ChosenSeeds:
    if not isinstance(value, dict):
        seeds = _read_numbers("seeds", value, least=0)
        _check_once("seed", seeds)
        return ChosenSeeds(tuple(seeds))
    strangers = [fold for fold in value if fold != OTHERS and (not isinstance(fold, int) or fold < 0)]
    if strangers:
        raise ConfigError(
            "seeds cannot be used.", expected=f"folds (numbers) or {OTHERS} before each list", got=", ".join(map(str, strangers)),
            remedy=f"such as 'seeds={{0:[0,1,2],{OTHERS}:[0]}}'",
        )  # fmt: skip
    lists = {fold: tuple(_read_numbers("seeds", seeds, least=0)) for fold, seeds in value.items()}
    for chosen in lists.values():
        _check_once("seed", chosen)
    others = lists.pop(OTHERS, None)
    return ChosenSeeds(others, lists)


def _read_numbers(key: str, value: Any, least: int) -> list[int]:
    numbers = _as_list(value)
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= least for number in numbers):
        raise ConfigError(
            f"{key} cannot be used.", expected=f"whole numbers of {least} or more", got=f"{key}={value}", remedy=f"such as {key}={least}"
        )
    return numbers


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
