"""What to do where a student's teacher has no finished run: the very commands that make it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.teacher_spec import TeacherSpec
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose, list_choices
from ser_kd.tasks.teachers import WantedRun, find_teacher_run, list_wanted_runs
from ser_kd.tasks.wanted_upstreams import list_wanted_upstreams

_GROUPS = ("corpus", "protocol")
"""Groups that decide which clips are in which split; a teacher is found by them."""

_ALSO_TYPED = ("scale", "paths")
"""Groups whose words a teacher shares where they were typed: how large it is, and where runs are looked for."""

_PLAIN = re.compile(r"[\w./~-]+")


def advise_training(wanted: WantedRun, config: DictConfig, command: str, runs_root: Path) -> str:
    """Say how the finished run that a student lacks is made.

    Args:
        wanted: The run.
        config: The student's configuration.
        command: The student's command line.
        runs_root: Where runs lie.
    """
    typed = shlex.split(command)[2:]
    commands = list(dict.fromkeys(_list_commands(wanted, config, typed, runs_root, ())))
    if not commands:
        known = suggest(wanted.experiment, _list_trained(runs_root))
        words = shlex.join([f"experiment={wanted.experiment}", *wanted.words[1:]])
        return (
            f"{known + ' ' if known else ''}There is no experiment file of this name: train it with the corpus, protocol and scale "
            f"of the student and {words}, or name another teacher (teacher.experiment, teacher.run=FOLDER)"
        )
    if len(commands) == 1:
        return f"train it first: {commands[0]}"
    return f"it needs others before it; train them in this order: {'; '.join(commands)}"


def _list_commands(wanted: WantedRun, config: DictConfig, typed: Sequence[str], runs_root: Path, above: Sequence[str]) -> Iterator[str]:
    """List the command that trains a run behind those of its own teachers; nothing where no experiment has its name."""
    found = compose_teacher(wanted, config, typed)
    if found is None or wanted.experiment in above:
        return
    words, teacher = found
    if teacher.get("teacher") is not None:
        try:
            spec: TeacherSpec = build(teacher.teacher)
        except ConfigError:  # told once that experiment is trained
            spec = TeacherSpec(run="")
        yield from _list_missing(list_wanted_runs(spec, wanted.fold, wanted.seed), config, typed, runs_root, (*above, wanted.experiment))
    upstreams = list_wanted_upstreams(teacher, wanted.fold, wanted.seed)
    yield from _list_missing(upstreams, config, typed, runs_root, (*above, wanted.experiment))
    first, *others = wanted.words
    yield shlex.join(["ser-kd", "train", first, *words, *others])


def _list_missing(
    needed: Sequence[WantedRun], config: DictConfig, typed: Sequence[str], runs_root: Path, above: Sequence[str]
) -> Iterator[str]:
    """List the commands of runs that are needed first, as far as they are not there."""
    for own in needed:
        try:
            find_teacher_run(runs_root, own.experiment, own.fold, own.seed, exact_seed=own.exact_seed)
        except ConfigError:
            yield from _list_commands(own, config, typed, runs_root, above)


def compose_teacher(wanted: WantedRun, config: DictConfig, typed: Sequence[str]) -> tuple[list[str], DictConfig] | None:
    """Give the words beside ``wanted.words`` that let a teacher meet the student's clips, and its configuration under them."""
    first = wanted.words[0]
    try:
        plain = compose("train", [first], allow_missing=True)
    except ConfigError:
        return None
    choices = list_choices("train", typed)
    # a group first, for its keys are none of another's
    words = [
        f"{group}={choices[group]}"
        for group in _GROUPS
        if (_is_other(plain, config, group) and not choices[group].startswith("by_")) or f"{group}={choices[group]}" in typed
    ]
    told = {word.partition("=")[0] for word in words}
    shared = (*_GROUPS, *_ALSO_TYPED)
    words += [word for word in typed if (key := word.partition("=")[0].lstrip("+~")).partition(".")[0] in shared and key not in told]
    if plain.scale.name != config.scale.name and "scale" not in {word.partition("=")[0] for word in words}:
        words.append(f"scale={config.scale.name}")
    teacher = compose("train", [first, *words], allow_missing=True)
    more = [*_list_other_values(teacher, config), *_list_texts(config)]
    if config.datamodule.withhold and wanted.withhold is None:
        more.append(f"datamodule.withhold={config.datamodule.withhold}")
    return [*words, *more], compose("train", [first, *words, *more], allow_missing=True) if more else teacher


def _is_other(teacher: DictConfig, student: DictConfig, group: str) -> bool:
    return OmegaConf.is_missing(teacher, group) or teacher[group].get("_target_") != student[group].get("_target_")


def _list_other_values(teacher: DictConfig, student: DictConfig) -> list[str]:
    """List the keys of corpus and protocol that an experiment of the student's set, and the teacher's did not."""
    words: list[str] = []
    for group in _GROUPS:
        ours: dict[str, Any] = OmegaConf.to_container(student[group], resolve=True)  # type: ignore[assignment]
        theirs: dict[str, Any] = OmegaConf.to_container(teacher[group], resolve=True)  # type: ignore[assignment]
        words += _list_differences(group, ours, theirs)
    return words


def _list_differences(place: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key, value in ours.items():
        if isinstance(value, Mapping) and isinstance(theirs.get(key), Mapping):
            yield from _list_differences(f"{place}.{key}", value, theirs[key])
        elif key not in theirs:
            yield f"+{place}.{key}={_write(value)}"
        elif theirs[key] != value:
            yield f"{place}.{key}={_write(value)}"


def _list_texts(config: DictConfig) -> list[str]:
    """List the keys that leave clips without a text out of the protocol."""
    if config.datamodule.on_missing_text != "skip":
        return []
    path = config.datamodule.transcripts
    return [*([f"datamodule.transcripts={_write(path)}"] if path else []), "datamodule.on_missing_text=skip"]


def _write(value: Any) -> str:
    """Write a value as it stands behind ``key=``."""
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and OmegaConf.from_dotlist([f"value={value}"]).value == value  # "1.11" would be read as a number
        return value if is_plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _list_trained(runs_root: Path) -> list[str]:
    """List the names of experiments that have run folders."""
    folders = [*runs_root.glob("*/*/fold=*"), *runs_root.glob("*/*/*/fold=*")]
    return sorted({folder.parents[1].relative_to(runs_root).as_posix() for folder in folders})
