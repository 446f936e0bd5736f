"""YAML files that are no configuration: read as they are written, ``${…}`` and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ser_kd.runtime.experiment_source import unreadable_yaml


def read_plain_yaml(path: Path) -> Any:
    """Give a file's content as plain data; a key that stands twice is refused.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OSError, UnicodeDecodeError, OmegaConfBaseException) as fault:
        raise unreadable_yaml(path, fault) from fault
