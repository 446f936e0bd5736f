"""From a command line to one configuration, with every fault told in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose as compose_with_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog
from ser_kd.runtime.command_line import (
    already_there,
    check_names_and_options,
    find_missing_plural,
    is_addition,
    parse_words,
    read_root_file,
    unknown_key,
)
from ser_kd.runtime.composition_faults import find_broken_interpolations, missing_value, nothing_chosen, translate, unchosen_group
from ser_kd.runtime.experiment_source import register_experiment_source, unreadable_yaml
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.runtime.key_lists import list_keys, list_missing_keys
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots
from ser_kd.runtime.refused_changes import find_refused_changes, nothing_to_fill

# for presets that serve GPUs and processors: what stands second on a processor, third elsewhere
OmegaConf.register_new_resolver(
    "by_accelerator", lambda accelerator, on_processor, elsewhere: on_processor if accelerator == "cpu" else elsewhere, replace=True
)

_MEMBER = re.compile(r"teacher\.members\.\w+")


def compose(
    task: str,
    words: Sequence[str],
    *,
    conf_dir: Path | None = None,
    experiment_roots: Sequence[Path] | None = None,
    allow_missing: bool = False,
) -> DictConfig:
    """Compose the configuration of a task from its root file, the chosen options and the given values.

    Beyond Hydra: experiments come from several folders or from a file of the user's own (``experiments=./mine.yaml``);
    ``teacher=null`` empties a group; a key in an experiment or in ``+key=value`` that nothing reads is refused; where the root
    declares ``experiment: null``, the name of the chosen experiment is filled in.

    Args:
        task: Name of the root file in the configuration folder.
        words: ``key=value`` words as typed.
        conf_dir: Configuration folder; None is the shipped one.
        experiment_roots: Folders of paper folders; None are the shipped one and the user's.
        allow_missing: Let ``???`` values pass, for listing and tests.

    Returns:
        The configuration with its interpolations, in struct mode.

    Raises:
        ConfigError: All faults found, each with what was expected, what came and what to do.
    """
    roots = find_experiment_roots() if experiment_roots is None else [root.resolve() for root in experiment_roots]
    catalog = Catalog(find_conf_dir() if conf_dir is None else conf_dir.resolve(), roots)
    overrides = parse_words(words, catalog)
    check_names_and_options(overrides, task, catalog)
    raise_faults(find_missing_plural(overrides, catalog))
    try:
        full, choices = _compose_with_hydra(task, [_hydra_word(override, catalog) for override in overrides], catalog)
    except (HydraException, OmegaConfBaseException) as fault:
        _diagnose(fault, task, overrides, catalog)
    group_words = [_hydra_word(override, catalog) for override in overrides if catalog.is_group(override.key_or_group)]
    plain, _ = _compose_with_hydra(task, group_words, catalog, experiment_values=False)
    faults = find_refused_changes(full, plain, overrides, choices, catalog)
    if not allow_missing:
        faults += [missing_value(key) for key in list_missing_keys(full)]
    raise_faults(faults + find_broken_interpolations(full))
    chosen = choices.get(EXPERIMENTS_GROUP)
    if "experiment" in full and full.experiment is None and chosen:
        full.experiment = chosen if isinstance(chosen, str) else "+".join(chosen)
    return full


def list_choices(task: str, words: Sequence[str]) -> dict[str, str]:
    """Give the option that is chosen in each group, by words, by an experiment or by the root file.

    Args:
        task: Name of the root file in the configuration folder.
        words: ``key=value`` words that ``compose`` takes.
    """
    catalog = Catalog(find_conf_dir(), find_experiment_roots())
    overrides = parse_words(words, catalog)
    _, choices = _compose_with_hydra(task, [_hydra_word(override, catalog) for override in overrides], catalog)
    return {group: str(choice) for group, choice in choices.items()}


def _compose_with_hydra(
    task: str, words: Sequence[str], catalog: Catalog, *, experiment_values: bool = True
) -> tuple[DictConfig, dict[str, Any]]:
    register_experiment_source()
    mode = "full" if experiment_values else "choices"
    places = [f"experiments://{mode}:{place}" for place in [*catalog.own_files, *catalog.experiment_roots]]
    quoted = ",".join("'" + place.replace("\\", "\\\\").replace("'", "\\'") + "'" for place in places)
    with _own_hydra(), initialize_config_dir(str(catalog.conf_dir), job_name="ser_kd", version_base="1.3"):
        try:
            config = compose_with_hydra(task, [*words, f"hydra.searchpath=[{quoted}]"], return_hydra_config=True)
        except YAMLError as fault:
            raise unreadable_yaml(catalog.conf_dir, fault) from fault
    choices = {str(key): value for key, value in config.hydra.runtime.choices.items() if not str(key).startswith("hydra")}
    with open_dict(config):
        del config["hydra"]
    return config, choices


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Set a Hydra that the caller initialised (in a notebook, say) aside and put it back."""
    state = GlobalHydra.instance()
    theirs = state.hydra
    state.clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs


def _hydra_word(override: Override, catalog: Catalog) -> str:
    if override.is_delete() and override.value() is None and _MEMBER.fullmatch(override.key_or_group):
        return f"{override.key_or_group}=null"  # who is dropped is told from who never was there
    # Hydra refuses null for a group; taking the group out of the defaults list means the same.
    plain = not is_addition(override) and not override.is_delete()
    if plain and catalog.is_group(override.key_or_group) and override.value() is None:
        return f"~{override.get_key_element()}"
    return str(override.input_line)


def _diagnose(fault: Exception, task: str, overrides: Sequence[Override], catalog: Catalog) -> NoReturn:
    """Raise what is wrong after Hydra gave up.

    Hydra stops at its first fault and explains it in its own terms. So the choices alone are composed, with a stand-in for each
    group where nothing was chosen, and every value is then held against the keys that exist.
    """
    words = [_hydra_word(override, catalog) for override in overrides if catalog.is_group(override.key_or_group)]
    unchosen: list[str] = []
    while True:
        try:
            base, choices = _compose_with_hydra(task, words, catalog)
            break
        except HydraException as base_fault:
            group = unchosen_group(base_fault)
            options = catalog.offers(group.partition("@")[0])
            if group in unchosen or not options:
                raise translate(base_fault, task, catalog) from base_fault
            unchosen.append(group)
            words.append(f"{group}={next(iter(options))}")
    known = list_keys(base)
    stand_ins = {group.rpartition("@")[2].partition(".")[0] for group in unchosen}
    faults = [nothing_chosen(group, catalog) for group in unchosen]
    for override in overrides:
        key = override.key_or_group
        if catalog.is_group(key) or key.partition(".")[0] in stand_ins:
            continue
        if catalog.is_group(first := key.partition(".")[0]) and not choices.get(first) and base.get(first) is None:
            faults.append(nothing_to_fill(first, str(override.input_line), catalog))
        elif is_addition(override):
            if key in known and not override.is_force_add():
                faults.append(already_there(str(override.input_line), key))
        elif key not in known:
            siblings = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
            expected = f"one of {join_names(siblings or read_root_file(task, catalog).names())}"
            faults.append(unknown_key(key, str(override.input_line), [*choices, *known], expected))
    given = {override.key_or_group for override in overrides}
    missing = [key for key in list_missing_keys(base) if key not in given and key.partition(".")[0] not in stand_ins]
    raise_faults(faults + [missing_value(key) for key in missing])
    raise translate(fault, task, catalog) from fault
