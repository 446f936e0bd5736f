"""The words of a command line, parsed, and whatever can be told about them before anything is composed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from yaml import YAMLError

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog, own_experiment_name, read_experiments, read_key_comments
from ser_kd.runtime.experiment_source import find_wrong_choices, unreadable_yaml
from ser_kd.runtime.faults import join_names, raise_faults


def parse_words(words: Sequence[str], catalog: Catalog) -> list[Override]:
    """Parse ``key=value`` words by Hydra's grammar.

    Args:
        words: As typed.
        catalog: Takes in the experiment files that are chosen by path.

    Raises:
        ConfigError: For words outside the grammar, several values for one key, Hydra's own keys, missing experiment files, and a
            key that is given twice with different values.
    """
    parser = OverridesParser.create()
    overrides, faults = [], []
    for word in _join_dashed(words):
        try:
            override = parser.parse_override(_take_own_file(_quote_run_folder(word), catalog))
        except HydraException:
            faults.append(_malformed(word))
        except ConfigError as fault:
            faults.append(fault)
        else:
            if override.is_sweep_override():
                faults.append(_several_values(word))
            elif override.is_hydra_override():
                faults.append(
                    ConfigError("Hydra's own keys are not used here.", expected="a key of ser-kd", got=word, remedy="leave it out")
                )
            else:
                overrides.append(override)
    raise_faults([*faults, *_find_contradictions(overrides)])
    return overrides


def check_names_and_options(overrides: Sequence[Override], task: str, catalog: Catalog) -> None:
    """Check that each word begins with a name the task knows and that each chosen option exists.

    Raises:
        ConfigError: For unknown names and options, and for experiments of which there are two.
    """
    root = read_root_file(task, catalog)
    packages = [group.rpartition("@")[2].partition(".")[0] for group in root.groups]
    known = {*root.names(), *packages, *catalog.groups()}
    faults = []
    for override in overrides:
        key, word = override.key_or_group, str(override.input_line)
        first = key.partition(".")[0]
        if first.partition("/")[0] not in known:
            near = suggest(key, known) or suggest(first, known) or suggest(key, _list_option_keys(root, catalog))
            faults.append(unknown_key(key, word, known, f"one of {join_names(root.names())}", near))
        elif override.is_add() and override.get_key_element().lstrip("+") in root.groups:
            faults.append(already_there(word, key))
        elif override.is_add() and catalog.is_group(key) and not _has_place(override, {*root.names(), *packages}, catalog):
            near = f"to choose an option of a group there is, write {word.lstrip('+')}"
            faults.append(unknown_key(override.package or key, word, (), f"one of {join_names(root.names())}", near))
        elif catalog.is_group(key) and not override.is_delete():
            faults += _check_options(key, override.value(), catalog)
    raise_faults(faults)


def find_missing_plural(overrides: Sequence[Override], catalog: Catalog) -> list[ConfigError]:
    """Find ``experiment=`` (the name of the run folder) where ``experiments=`` (the choice of an experiment) was meant."""
    if any(override.key_or_group == EXPERIMENTS_GROUP for override in overrides):
        return []
    named = [str(override.value()) for override in overrides if override.key_or_group == "experiment"]
    return [
        ConfigError(
            f"'{name}' is an experiment, and experiment= only names the run folder.",
            expected=f"experiments={name}, which trains as the experiment does",
            got=f"experiment={name}",
            remedy=f"did you mean experiments={name}?",
        )
        for name in named
        if name in catalog.options(EXPERIMENTS_GROUP)
    ]


@dataclass
class RootFile:
    """The root file of a task.

    Args:
        values: Its own keys and values.
        groups: Group (with its package) -> the option of its defaults list, ``???`` where one must be chosen.
    """

    values: dict[str, Any]
    groups: dict[str, str | None]

    def names(self) -> list[str]:
        """Give everything a word may begin with."""
        return sorted({*self.values, *self.groups})


def _has_place(override: Override, names: Collection[str], catalog: Catalog) -> bool:
    """Tell whether an added option lands below a name of the root file, or spreads over the root by its own header."""
    place = (override.package or override.key_or_group).partition(".")[0].partition("/")[0]
    file = catalog.options(override.key_or_group).get(str(override.value()))
    return place in names or (file is not None and "@package _global_" in file.read_text(encoding="utf-8"))


def _list_option_keys(root: RootFile, catalog: Catalog) -> list[str]:
    """List ``group.key`` for every option a task could take, for whoever left the group out."""
    keys = set()
    for group in root.groups:
        name, _, package = group.partition("@")
        for path in catalog.options(name).values():
            keys |= {f"{package or name}.{key}" for key in read_key_comments(path)}
    return sorted(keys)


def read_root_file(task: str, catalog: Catalog) -> RootFile:
    """Read the root file of a task.

    Raises:
        ConfigError: If the file is missing or unreadable.
    """
    path = catalog.conf_dir / f"{task}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"'{task}' has no configuration.",
            expected=str(path),
            got="no such file",
            remedy="choose a verb of 'ser-kd --help', or install ser-kd again",
        )
    try:
        root = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except YAMLError as fault:
        raise unreadable_yaml(path, fault) from fault
    content = root if isinstance(root, dict) else {}
    entries = [entry for entry in content.pop("defaults", []) if isinstance(entry, Mapping)]
    groups = {str(key).split()[-1].lstrip("/"): option for entry in entries for key, option in entry.items()}
    return RootFile({str(key): value for key, value in content.items()}, groups)


def is_addition(override: Override) -> bool:
    """Tell whether a word begins with ``+`` or ``++``."""
    return bool(override.is_add() or override.is_force_add())


def already_there(word: str, key: str) -> ConfigError:
    """Give the error for ``+key=value`` where the key exists."""
    return ConfigError(f"'{key}' is there already.", expected="+ only before a new key", got=word, remedy=f"write {word.lstrip('+')}")


def unknown_key(key: str, got: str, candidates: Collection[str], expected: str, near: str = "") -> ConfigError:
    """Give the error for a key that nothing reads."""
    return ConfigError(
        f"Unknown key '{key}'.",
        expected=expected,
        got=got,
        remedy=near or suggest(key, candidates) or "leave it out; 'ser-kd VERB --help' names the groups and keys",
    )


def _join_dashed(words: Sequence[str]) -> list[str]:
    """Put ``--key value`` into one word, so that it is told as one fault."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("-") and "=" not in joined[-1] and "=" not in word:
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def _take_own_file(word: str, catalog: Catalog) -> str:
    key, _, value = word.partition("=")
    if key != EXPERIMENTS_GROUP or not value.endswith((".yaml", ".yml")):
        return word
    path = Path(value).expanduser()
    if path.is_file():
        catalog.own_files.append(path.resolve())
        return f"{key}={own_experiment_name(path.resolve())}"
    name = value.removesuffix(".yaml")
    if name in read_experiments(catalog.experiment_roots):
        return f"{key}={name}"
    raise ConfigError(
        "The experiment file does not exist.",
        expected="the path of a YAML file, or the name of an experiment",
        got=str(path.absolute()),
        remedy="correct the path; 'ser-kd list experiments' names the experiments there are",
    )


def _quote_run_folder(word: str) -> str:
    """Put a value such as runs/x/fold=0/seed=0, or a list of them, in quotes: so our own folders are called, and Hydra wants it."""
    key, _, value = word.partition("=")
    if "=" not in value or any(sign in value for sign in "{}()'\""):
        return word
    if value[0] == "[" and value[-1] == "]" and value.count("[") == 1:
        folders = [f"'{part.strip()}'" if "=" in part else part for part in value[1:-1].split(",")]
        return f"{key}=[{','.join(folders)}]"
    return word if value[0] == "[" or "," in value else f"{key}='{value}'"


def quote_value(text: str) -> str:
    r"""Give a text as a value on the command line that means exactly this text: no number, list or interpolation.

    Example:
        >>> print(quote_value("T, alpha: it's ${x}"))
        'T, alpha: it\'s \${x}'
    """
    escaped = re.sub(r"(\\*)(\$\{)", lambda found: found[1] * 2 + "\\" + found[2], text)
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", escaped)
    return "'" + re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped) + "'"


def _malformed(word: str) -> ConfigError:
    key, equals, value = word.partition("=")
    if word.startswith("-"):
        name, _, value = word.lstrip("-").replace("=", " ").partition(" ")
        remedy = f"write {name}={value or 'VALUE'}, without dashes"
    elif not equals:
        remedy = f"write {word}=VALUE"
    else:
        remedy = f"""put the value in quotes inside quotes: "{key}='{value.replace("'", "")}'" """.rstrip()
    return ConfigError(
        "A word of the command line cannot be read.",
        expected="key=value; brackets, commas and : in a value need quotes",
        got=word,
        remedy=remedy,
    )


def _several_values(word: str) -> ConfigError:
    key, _, value = word.partition("=")
    return ConfigError(
        f"'{key}' was given several values.",
        expected="one value per run",
        got=word,
        remedy=f"for a list write '{key}=[{value}]', for a text with a comma \"{key}='{value}'\"; for several runs give several commands",
    )


def _find_contradictions(overrides: Sequence[Override]) -> list[ConfigError]:
    first: dict[str, str] = {}
    faults = []
    for override in overrides:
        key, word = override.get_key_element().lstrip("+~"), str(override.input_line)
        if first.setdefault(key, word) != word:
            faults.append(
                ConfigError(
                    f"'{key}' is given twice.", expected="one value", got=f"{first[key]} and {word}", remedy="leave one of them out"
                )
            )
    return faults


def _check_options(group: str, value: object, catalog: Catalog) -> list[ConfigError]:
    if value is None or isinstance(value, dict):
        return []
    options = list(catalog.options(group))
    faults = []
    for option in map(str, value if isinstance(value, list) else [value]):
        if option not in options:
            faults.append(_unknown_option(group, option, list(catalog.offers(group)), catalog))
        elif group == EXPERIMENTS_GROUP:
            faults += _find_doubles(option, catalog) or find_wrong_choices(catalog.options(group)[option], catalog)
    return faults


def _unknown_option(group: str, option: str, options: Sequence[str], catalog: Catalog) -> ConfigError:
    near = suggest(option, options)
    if group == EXPERIMENTS_GROUP:
        searched = ", ".join(map(str, catalog.experiment_roots)) or "no folder, for none exists"
        return ConfigError(
            f"There is no experiment '{option}'.",
            expected=f"one of {join_names(options)}",
            got=f"{option}; searched in {searched}",
            remedy=near or "'ser-kd list experiments' describes them; of your own: SER_KD_EXPERIMENTS=/folder, or experiments=./file.yaml",
        )
    if option.lower() in ("", "none", "no", "false"):
        near = f"write {group}=null for none"
    return ConfigError(
        f"'{group}' has no option '{option}'.",
        expected=f"one of {join_names(options)}",
        got=f"{group}={option}",
        remedy=near or f"'ser-kd list {group}' describes them",
    )


def _find_doubles(option: str, catalog: Catalog) -> list[ConfigError]:
    files = read_experiments(catalog.experiment_roots).get(option, [])
    if len(files) < 2 or option in map(own_experiment_name, catalog.own_files):
        return []
    return [
        ConfigError(
            f"Two experiments are called '{option}'.",
            expected="one file of that name",
            got=" and ".join(map(str, files)),
            remedy=f"rename one, or choose by path: experiments={files[-1]}",
        )
    ]
