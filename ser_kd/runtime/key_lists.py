"""The keys of a configuration as dotted names, read without resolving anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf


def read_content(config: DictConfig) -> dict[Any, Any]:
    """Give the configuration as plain data, interpolations and ``???`` as they are written."""
    content = OmegaConf.to_container(config, resolve=False)
    return content if isinstance(content, dict) else {}


def _walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        parts = ((f"{path}.{key}".lstrip("."), value) for key, value in node.items())
    elif isinstance(node, list):
        parts = ((f"{path}[{number}]", value) for number, value in enumerate(node))
    else:
        return
    for place, value in parts:
        yield place, value
        yield from _walk(value, place)


def list_keys(config: DictConfig) -> list[str]:
    """Give every key, dotted, outer ones too."""
    return [place for place, _ in _walk(read_content(config), "")]


def list_missing_keys(config: DictConfig) -> list[str]:
    """Give every key whose value is ``???``."""
    return [place for place, value in _walk(read_content(config), "") if value == MISSING]
