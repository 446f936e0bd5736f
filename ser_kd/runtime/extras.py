"""Which optional packages a verb needs, and what to install where they are missing."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from importlib import metadata

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.paths import find_checkout

EXTRA_MODULES: dict[str, tuple[str, ...]] = {
    "train": (
        "torch", "torchaudio", "torchvision", "lightning", "torchmetrics", "transformers", "timm", "hydra", "wandb", "optuna",
        "safetensors", "huggingface_hub", "scipy", "sklearn", "pandas", "matplotlib", "jinja2", "rich", "onnx", "onnxscript",
        "onnxruntime",
    ),
    "predict": ("onnxruntime",),
    "demo": ("espeakng_loader",),
    "opensmile": ("opensmile",),
    "dashboards": ("optuna_dashboard",),
    "postgresql": ("psycopg",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}  # fmt: skip
"""Extra of the package -> the modules it brings."""


def find_missing_modules(extra: str) -> list[str]:
    """List the modules of an extra that are not installed, without importing any."""
    return [name for name in EXTRA_MODULES[extra] if importlib.util.find_spec(name) is None]


def check_extra(*extras: str, verb: str, modules: tuple[str, ...] = ()) -> None:
    """Check that what a verb imports is installed.

    Args:
        extras: Extras the verb needs.
        verb: Named in the error.
        modules: The modules the verb really imports; empty means all of the extras'.

    Raises:
        ConfigError: If a module is missing; it tells what to install.
    """
    missing = [name for extra in extras for name in find_missing_modules(extra) if not modules or name in modules]
    if missing:
        raise ConfigError(
            f"The verb '{verb}' needs packages that are not installed.",
            expected=", ".join(modules) if modules else f"what the extra {' and '.join(extras)} brings",
            got=f"missing: {', '.join(missing)}",
            remedy=f'pip install "ser-kd[{",".join(extras)}]"',
        )


def read_requirements() -> dict[str, dict[str, str]]:
    """Give what each extra wants as package -> lowest version, the base install under an empty name.

    A checkout's ``pyproject.toml`` comes first: the metadata of an editable install may be older than the code.
    """
    checkout = find_checkout()
    if checkout is not None:
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        listed = {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}
    else:
        listed = {"": []}
        for line in _installed_requirements():
            extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
            listed.setdefault(extra[1] if extra else "", []).append(line)
    return {extra: dict(map(_split_requirement, lines)) for extra, lines in listed.items()}


def _installed_requirements() -> list[str]:
    try:
        return metadata.requires("ser-kd") or []
    except metadata.PackageNotFoundError:
        return []


def _split_requirement(line: str) -> tuple[str, str]:
    found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([\w.]+))?", line)
    return (found[1], found[2] or "") if found else (line, "")


def is_at_least(version: str, lowest: str) -> bool:
    """Compare versions by their numbers; what follows them (``+cu128``, ``rc1``) does not count.

    Example:
        >>> is_at_least("2.11.0+cu128", "2.11"), is_at_least("2.9.1", "2.11")
        (True, False)
    """
    return version_numbers(version) >= version_numbers(lowest)


def version_numbers(version: str) -> tuple[int, ...]:
    """Give the leading numbers of a version, without trailing zeros.

    Example:
        >>> version_numbers("2.11.0+cu128")
        (2, 11)
    """
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
