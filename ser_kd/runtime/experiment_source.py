"""The Hydra config source that serves any folder of experiments, or one file, as the group ``experiments``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.catalog import EXPERIMENTS_GROUP, Catalog, own_experiment_name, read_experiments
from ser_kd.runtime.faults import join_names


class ExperimentSource(ConfigSource):
    """Serves ``<root>/<paper>/<variant>.yaml`` as ``experiments/<paper>/<variant>``, whatever the root is called.

    The address is ``experiments://<mode>:<path>``, where the path is a root or one YAML file. Mode ``full`` gives the file;
    ``choices`` gives only its defaults list, which tells the keys of an experiment from those that were there without it.
    """

    @staticmethod
    def scheme() -> str:
        return "experiments"

    @property
    def _place(self) -> Path:
        return Path(self.path.partition(":")[2])

    def _find(self, config_path: str) -> Path | None:
        group, _, name = config_path.partition("/")
        if group != EXPERIMENTS_GROUP or not name:
            return None
        name = name.removesuffix(".yaml")
        if self._place.is_file():
            return self._place if name == own_experiment_name(self._place) else None
        path = self._place / f"{name}.yaml"
        return path if path.is_file() else None

    def load_config(self, config_path: str) -> ConfigResult:
        path = self._find(config_path)
        if path is None:
            raise ConfigLoadError(f"Config not found: {config_path}")
        header = self._get_header_dict(path.read_text(encoding="utf-8"))
        header["package"] = header["package"] or "_global_"
        config = _load(path)
        if self.path.startswith("choices:"):
            config = OmegaConf.create({"defaults": config.defaults} if "defaults" in config else {})
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header=header)

    def is_group(self, config_path: str) -> bool:
        group, _, name = config_path.partition("/")
        if group != EXPERIMENTS_GROUP:
            return False
        return not name or (self._place / name).is_dir()

    def is_config(self, config_path: str) -> bool:
        return self._find(config_path) is not None

    def available(self) -> bool:
        return self._place.exists()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path != EXPERIMENTS_GROUP or results_filter == ObjectType.GROUP:
            return []
        if self._place.is_file():
            return [own_experiment_name(self._place)]
        return list(read_experiments([self._place]))


def register_experiment_source() -> None:
    """Make the scheme ``experiments://`` known to Hydra; more than once does no harm."""
    Plugins.instance().register(ExperimentSource)


def _load(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (YAMLError, OSError) as fault:
        raise unreadable_yaml(path, fault) from fault
    if not isinstance(config, DictConfig):
        raise unreadable_yaml(path, ValueError("its top level is a list"))
    return config


def find_wrong_choices(path: Path, catalog: Catalog) -> list[ConfigError]:
    """Find groups and options in an experiment's defaults list that do not exist; Hydra would blame the root file.

    Raises:
        ConfigError: If the file cannot be read.
    """
    config = _load(path)
    entries = OmegaConf.to_container(config.defaults, resolve=False) if "defaults" in config else []
    faults = []
    for entry in entries if isinstance(entries, list) else []:
        for key, option in entry.items() if isinstance(entry, dict) else []:
            group = str(key).split()[-1].lstrip("/").partition("@")[0]
            options = catalog.options(group)
            if not catalog.is_group(group):
                problem, names = f"The experiment chooses from '{group}', which is no group.", catalog.groups()
                near = suggest(group, names) or "correct the defaults list"
            elif isinstance(option, str) and option not in options and option != "???" and "${" not in option:
                problem, names = f"'{group}' has no option '{option}'.", list(options)
                near = suggest(option, names) or f"'ser-kd list {group}' describes them"
            else:
                continue
            faults.append(ConfigError(problem, expected=f"one of {join_names(names)}", got=f"{key}: {option} in {path}", remedy=near))
    return faults


def unreadable_yaml(path: Path | str, fault: Exception) -> ConfigError:
    """Give the error for a YAML file that cannot be read."""
    return ConfigError(
        "A configuration file is no readable YAML.",
        expected="YAML of keys and values",
        got=f"{path}: {' '.join(str(fault).split())}",
        remedy="correct the line it names",
    )
