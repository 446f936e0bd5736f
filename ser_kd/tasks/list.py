"""``ser-kd list [GROUP]``: what can be chosen, each option with the first comment of its file."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog, read_first_comment
from ser_kd.runtime.faults import join_names, suggest
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots


def run(arguments: list[str]) -> int:
    """List one group's options, or every group.

    Raises:
        ConfigError: If there is no such group or more than one word.
    """
    catalog = Catalog(find_conf_dir(), find_experiment_roots())
    if len(arguments) > 1:
        raise ConfigError("'list' takes one group.", expected="ser-kd list GROUP", got=" ".join(arguments), remedy="ask for one at a time")
    if arguments:
        _list_group(catalog, arguments[0])
        return 0
    # Experiments first: they are what one runs.
    for group in [EXPERIMENTS_GROUP, *(name for name in catalog.groups() if name != EXPERIMENTS_GROUP)]:
        if catalog.offers(group):
            console.heading(group)
            _print_options(catalog.offers(group))
    console.show("\nChoose as GROUP=OPTION: ser-kd train experiments=wav_to_mfcc/student corpus=demo")
    return 0


def _list_group(catalog: Catalog, group: str) -> None:
    options = catalog.offers(group)
    if not options and group != EXPERIMENTS_GROUP:
        raise ConfigError(
            f"Unknown group '{group}'.",
            expected=f"one of {join_names(catalog.groups())}",
            got=group,
            remedy=suggest(group, catalog.groups()) or "'ser-kd list' shows them all",
        )
    _print_options(options)
    if group == EXPERIMENTS_GROUP:
        console.show(f"\nsearched in {', '.join(map(str, catalog.experiment_roots)) or 'no folder, for none exists'}")


def _print_options(options: dict[str, Path]) -> None:
    console.table((name, read_first_comment(path)) for name, path in options.items())
