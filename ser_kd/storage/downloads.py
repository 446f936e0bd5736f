"""Where a pretrained model's files lie: in a folder, in the hub's cache on this machine, or fetched from the hub once."""

from __future__ import annotations

import json
import os
import socket
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_kd.contracts.errors import DataError

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which they are looked for; an index names the parts of weights that were cut into several files."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of one pretrained model.

    Args:
        config: Sizes and kind of the network.
        preprocessor: How audio was prepared, or None where the model does not say.
        weights: One file, or the parts of one.
    """

    config: Path
    preprocessor: Path | None
    weights: tuple[Path, ...]


def is_folder(source: str) -> bool:
    """Tell whether a source names a folder of this disk, there or not, rather than a model of the hub (``name`` or ``owner/name``)."""
    return Path(source).expanduser().is_dir() or source.startswith((".", "/", "~")) or source.count("/") > 1


def find_model(source: str, download: bool = False) -> ModelFiles | None:
    """Find a model's files.

    Args:
        source: Folder with ``config.json`` and weights, or a name on the Hugging Face hub.
        download: Whether the hub may be asked for what is not on this machine; ``HF_HUB_OFFLINE=1`` forbids it all the same.

    Returns:
        The files; None where the hub's cache does not hold them and they may not or cannot be fetched.

    Raises:
        DataError: If a folder is missing or holds no model, or the hub knows no such model.
    """

    def find(name: str) -> Path | None:
        return find_file(source, name, download)

    folder = Path(source).expanduser()
    config = find(CONFIG_FILE)
    index_or_weights = next((path for name in WEIGHT_FILES if (path := find(name)) is not None), None) if config else None
    if config is not None and index_or_weights is not None:
        parts = [index_or_weights.name]
        if index_or_weights.suffix == ".json":
            parts = sorted(set(read_json(index_or_weights).get("weight_map", {}).values()))
        found = [find(part) for part in parts]
        whole = tuple(path for path in found if path is not None)
        if len(whole) == len(parts):
            return ModelFiles(config, find(PREPROCESSOR_FILE), whole)
    if is_folder(source):
        missing = CONFIG_FILE if config is None else f"one of {', '.join(WEIGHT_FILES)} with all its parts"
        raise DataError(
            "There is no pretrained model in this folder.",
            expected=f"{folder} with {CONFIG_FILE} and weights, as save_pretrained writes them",
            got=f"no {missing}" if folder.is_dir() else "no such folder",
            remedy="correct source, or copy the files there",
        )
    return None


def find_file(source: str, name: str, download: bool = False) -> Path | None:
    """Find one file of a model; None where it has none of that name, or it is not on this machine and may not or cannot be fetched.

    Args:
        source: Folder, or a name on the Hugging Face hub.
        name: The file.
        download: See ``find_model``.

    Raises:
        DataError: If the hub knows no such model.
    """
    if not is_folder(source):
        return _find_on_hub(source, name, download)
    path = Path(source).expanduser() / name
    return path if path.is_file() else None


def _find_on_hub(source: str, name: str, download: bool) -> Path | None:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # late: half a second
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError

    try:
        cached = try_to_load_from_cache(source, name)
        if isinstance(cached, str):
            return Path(cached)
        return Path(hf_hub_download(source, name)) if download and _hub_may_be_asked() else None
    except EntryNotFoundError:  # not in this model, or not reachable
        return None
    except (HFValidationError, RepositoryNotFoundError) as fault:
        raise DataError(
            "The hub has no such model, or not for you.",
            expected="owner/name of a model on huggingface.co, or a folder",
            got=f"{source} ({str(fault).strip().splitlines()[0]})",
            remedy="correct source; for a model behind a form accept its terms and log in with: hf auth login",
        ) from fault


def _hub_may_be_asked() -> bool:
    """Tell whether the hub's address can be looked up, at once; the hub's library tries for half a minute."""
    from huggingface_hub.constants import ENDPOINT  # late

    if urllib.request.getproxies():  # behind a proxy only the proxy knows
        return True
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def describe_hub_access() -> str:
    """Say where the hub's cache lies and whether the hub may be asked."""
    from huggingface_hub.constants import HF_HUB_CACHE  # late

    offline = "; HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"} else ""
    return f"the hub's cache {HF_HUB_CACHE}{offline}"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: If the file is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise _unreadable(path, str(fault)) from fault
    if not isinstance(content, dict):
        raise _unreadable(path, f"a {type(content).__name__}")
    return content


def _unreadable(path: Path, got: str) -> DataError:
    return DataError(
        f"{path.name} cannot be read.", expected="a JSON object", got=f"{path}: {got}", remedy="it is damaged: copy or download it again"
    )
