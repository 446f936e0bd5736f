"""The ``command`` of a W&B sweep file: the words of ``ser-kd train`` in it, expanded as W&B's agent expands them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ser_kd.contracts.errors import ConfigError

PARAMETERS = "${args_no_hyphens}"
"""Stands for ``KEY=VALUE`` words, one for each parameter."""

_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_STARTS = (("ser-kd", "train"), ("-m", "ser_kd", "train"))
_EXAMPLE = '["${env}", ser-kd, train, experiments=NAME, "${args_no_hyphens}"]'


def find_train_words(command: Any, program: str, environment: Mapping[str, str]) -> tuple[list[str], list[ConfigError]]:
    """Give the words behind ``train`` that all trials share.

    Args:
        command: The file's ``command``.
        program: What ``${program}`` stands for.
        environment: Variables that ``${envvar:NAME}`` stands for.

    Returns:
        The words without the parameters' place, and every fault.
    """
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        got = "nothing" if command is None else repr(command)
        return [], [ConfigError("command is missing or no list of texts.", expected=_EXAMPLE, got=got, remedy=f"write command: {_EXAMPLE}")]
    plain = [program if word == "${program}" else word for word in command if word != "${env}"]
    start = next((begin for begin in _STARTS for place in range(3) if tuple(plain[place : place + len(begin)]) == begin), None)
    if start is None:
        shown = " ".join(command)
        return [], [ConfigError("command does not train.", expected="ser-kd train …", got=shown, remedy=f"write command: {_EXAMPLE}")]
    words = plain[plain.index("train") + 1 :]
    faults = []
    if words.count(PARAMETERS) != 1:
        faults.append(ConfigError(f"command has not one place for the parameters ({words.count(PARAMETERS)}).", expected=_EXAMPLE,
                                  got=" ".join(command), remedy=f"put {PARAMETERS} at its end, once"))  # fmt: skip
    shared = []
    for word in words:
        if word == PARAMETERS:
            continue
        unset = [name for name in _VARIABLE.findall(word) if name not in environment]
        if unset:
            faults.append(ConfigError(f"command needs the environment variable {unset[0]}, which is not set.", expected=f"{unset[0]}=…",
                                      got=word, remedy=f"export {unset[0]}=…"))  # fmt: skip
        word = _VARIABLE.sub(lambda found: environment.get(found[1], ""), word)
        if "${" in word or "=" not in word:
            faults.append(ConfigError("command has a word that ser-kd train cannot take.", expected=f"KEY=VALUE or {PARAMETERS}",
                                      got=word, remedy="leave it out"))  # fmt: skip
        shared.append(word)
    return shared, faults


def write_words(parameters: Mapping[str, Any]) -> list[str]:
    """Give ``KEY=VALUE`` words as W&B's agent writes them for ``${args_no_hyphens}``."""
    return [f"{name}={value}" for name, value in parameters.items()]
