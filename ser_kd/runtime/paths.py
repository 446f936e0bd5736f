"""Where configuration, experiments, runs and the cache lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ser_kd.contracts.errors import ConfigError

EXPERIMENTS_VARIABLE = "SER_KD_EXPERIMENTS"
"""Environment variable with further experiment roots, separated as in PATH."""

RUNS_VARIABLE = "SER_KD_RUNS"
"""Environment variable that moves the folder of all runs; ``conf/paths`` reads it too."""

CACHE_VARIABLE = "SER_KD_CACHE"
"""Environment variable that moves the cache folder; ``conf/paths`` reads it too."""

_PACKAGE = Path(__file__).resolve().parents[1]


def find_checkout() -> Path | None:
    """Give the repository root this package runs from, or None where it was installed from a wheel."""
    root = _PACKAGE.parent
    # A stray conf/ beside the package in site-packages is not ours: only a checkout has both.
    return root if (root / "pyproject.toml").is_file() and (root / "conf").is_dir() else None


def _find_shipped(name: str) -> Path | None:
    # The checkout comes first: an editable install leaves a stale copy inside the package.
    checkout = find_checkout()
    places = [checkout / name] if checkout else []
    return next((place for place in [*places, _PACKAGE / name] if place.is_dir()), None)


def find_conf_dir() -> Path:
    """Give the folder of configuration files: the checkout's, else the one inside the wheel.

    Raises:
        ConfigError: If the installation has none.
    """
    found = _find_shipped("conf")
    if found is None:
        raise ConfigError(
            "The configuration files are missing.",
            expected=f"{_PACKAGE.parent / 'conf'} or {_PACKAGE / 'conf'}",
            got="neither",
            remedy='install it again: pip install --force-reinstall "ser-kd[train]"',
        )
    return found


def find_experiment_roots() -> list[Path]:
    """Give the folders that hold paper folders, in the order in which they are searched.

    First the shipped ``experiments/``, then ``./experiments`` of the current folder, then the folders of
    ``$SER_KD_EXPERIMENTS``; each once, and only those that exist.
    """
    shipped = _find_shipped("experiments")
    named = [Path(part).expanduser() for part in os.environ.get(EXPERIMENTS_VARIABLE, "").split(os.pathsep) if part]
    candidates = [*([shipped] if shipped else []), Path("experiments"), *named]
    roots: list[Path] = []
    for candidate in candidates:
        root = candidate.resolve()
        if root.is_dir() and root not in roots:
            roots.append(root)
    return roots


def run_folder(runs_root: Path, experiment: str, identity: str, fold: int, seed: int) -> Path:
    """Give the folder of one run: ``<runs>/<experiment>/<identity>/fold=K/seed=S``.

    Args:
        runs_root: Folder of all runs.
        experiment: ``<paper_slug>/<variant>``.
        identity: Hash of what changes the science.
        fold: Fold number, from 0.
        seed: Run seed.

    Raises:
        ConfigError: If the experiment's name would lead out of the runs folder.

    Example:
        >>> run_folder(Path("runs"), "wav_to_mfcc/ce_kl", "3f2a", 0, 1).as_posix()
        'runs/wav_to_mfcc/ce_kl/3f2a/fold=0/seed=1'
    """
    name = PurePosixPath(experiment)
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise ConfigError(
            "This experiment name cannot name a folder.",
            expected="a relative name such as wav_to_mfcc/ce_kl",
            got=repr(experiment),
            remedy="give another name: experiment=my_paper/my_variant",
        )
    return runs_root / name / identity / f"fold={fold}" / f"seed={seed}"


def default_runs_dir() -> Path:
    """Give the folder of all runs where no key names another: ``$SER_KD_RUNS``, else ``runs`` in the current folder."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs").expanduser()


def default_cache_dir() -> Path:
    """Give the folder of decoded audio where no key names another: ``$SER_KD_CACHE``, else ``cache`` in the current folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or "cache").expanduser()
