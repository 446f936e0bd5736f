"""``ser-kd list [GROUP [OPTION]]``: what can be chosen, each option with the first comment of its file, or one option's file."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime import console
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog, read_first_comment
from ser_kd.runtime.faults import join_names
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots


def run(arguments: list[str]) -> int:
    """List every group, one group's options, or the keys of one option.

    Raises:
        ConfigError: If there is no such group or option, or more than two words.
    """
    catalog = Catalog(find_conf_dir(), find_experiment_roots())
    if len(arguments) > 2:
        raise ConfigError(
            "'list' takes one group and one option.",
            expected="ser-kd list, ser-kd list GROUP, or ser-kd list GROUP OPTION",
            got=" ".join(arguments),
            remedy="ask for one at a time",
        )
    if len(arguments) == 2:
        _show_option(catalog, *arguments)
        return 0
    if arguments:
        _list_group(catalog, arguments[0])
        return 0
    # Experiments first: they are what one runs.
    for group in [EXPERIMENTS_GROUP, *(name for name in catalog.groups() if name != EXPERIMENTS_GROUP)]:
        if catalog.offers(group):
            console.heading(group)
            _print_options(catalog.offers(group))
    console.show("\nChoose as GROUP=OPTION: ser-kd train experiments=wav_to_mfcc/student corpus=demo")
    console.show("An option's keys:       ser-kd list GROUP OPTION; each is typed as GROUP.KEY=VALUE")
    return 0


def _show_option(catalog: Catalog, group: str, option: str) -> None:
    options = _find_options(catalog, group)
    if option not in options:
        raise ConfigError(
            f"'{group}' has no option '{option}'.",
            expected=f"one of {join_names(options)}",
            got=option,
            remedy=suggest(option, options) or f"'ser-kd list {group}' describes them",
        )
    console.show(options[option].read_text(encoding="utf-8").rstrip())


def _find_options(catalog: Catalog, group: str) -> dict[str, Path]:
    options = catalog.offers(group)
    if not options and group != EXPERIMENTS_GROUP:
        raise ConfigError(
            f"Unknown group '{group}'.",
            expected=f"one of {join_names(catalog.groups())}",
            got=group,
            remedy=suggest(group, catalog.groups()) or "'ser-kd list' shows them all",
        )
    return options


def _list_group(catalog: Catalog, group: str) -> None:
    _print_options(_find_options(catalog, group))
    if group == EXPERIMENTS_GROUP:
        console.show(f"\nsearched in {', '.join(map(str, catalog.experiment_roots)) or 'no folder, for none exists'}")


def _print_options(options: dict[str, Path]) -> None:
    console.table((name, read_first_comment(path)) for name, path in options.items())
