"""What can be chosen on the command line: groups, options and experiments, read from file names and first comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

EXPERIMENTS_GROUP = "experiments"
"""The config group under which the experiments of every root are chosen."""


@dataclass
class Catalog:
    """The options of every group and the experiments of every root.

    Args:
        conf_dir: Configuration folder: one folder per group, one file per option.
        experiment_roots: Folders of paper folders, searched in this order.
        own_files: Experiment files that the user chose by path.
    """

    conf_dir: Path
    experiment_roots: list[Path]
    own_files: list[Path] = field(default_factory=list)

    def is_group(self, name: str) -> bool:
        """Tell whether a name is a group's."""
        return name == EXPERIMENTS_GROUP or (bool(name) and (self.conf_dir / name).is_dir())

    def groups(self) -> list[str]:
        """Give the names of all groups that have options."""
        folders = sorted(folder.name for folder in self.conf_dir.iterdir() if folder.is_dir())
        return [*(name for name in folders if self.options(name)), EXPERIMENTS_GROUP]

    def offers(self, group: str) -> dict[str, Path]:
        """Give the options of a group that one types; those below a ``by_…`` folder are picked by another choice."""
        options = self.options(group)
        return {name: path for name, path in options.items() if group == EXPERIMENTS_GROUP or not name.startswith("by_")}

    def options(self, group: str) -> dict[str, Path]:
        """Give a group's options and their files, ``folder/name`` for those in a folder of their own; empty for no group."""
        if group == EXPERIMENTS_GROUP:
            listed = {name: files[0] for name, files in read_experiments(self.experiment_roots).items()}
            return {**listed, **{own_experiment_name(path): path for path in self.own_files}}
        folder = self.conf_dir / group
        return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def read_experiments(roots: Sequence[Path]) -> dict[str, list[Path]]:
    """Give every experiment as ``<paper>/<variant>`` with its files, more than one where two roots have the name.

    Args:
        roots: Folders of paper folders; deeper files (sweeps) are no experiments.
    """
    found: dict[str, list[Path]] = {}
    for root in roots:
        for path in sorted([*root.glob("*.yaml"), *root.glob("*/*.yaml")]):
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), []).append(path)
    return found


def own_experiment_name(path: Path) -> str:
    """Give the name of an experiment that was chosen by its path: its folder and its stem.

    Example:
        >>> own_experiment_name(Path("/home/me/noise/louder.yaml"))
        'noise/louder'
    """
    return f"{path.absolute().parent.name}/{path.stem}"


def read_first_comment(path: Path) -> str:
    """Give the first comment line of a YAML file that is no Hydra header, or nothing where it has none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            return ""
        comment = text.lstrip("#").strip()
        if comment and not comment.startswith("@"):
            return comment
    return ""


def read_key_comments(path: Path) -> dict[str, str]:
    """Give the comment behind each top-level key of a YAML file."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, rest = line.partition(":")
        if colon and key.isidentifier():
            found[key] = rest.partition(" #")[2].strip()
    return found
