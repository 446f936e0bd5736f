"""Parts that start from weights made elsewhere: found, checked name by name, loaded once before step 0."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Pretrained
from ser_kd.storage.downloads import describe_hub_access, find_model, is_folder, read_json
from ser_kd.storage.weight_files import read_weights

Weights = Literal["pretrained", "random"]

_OLD_NAMES = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
"""How weight normalisation was called before torch 2.1, and still is in most checkpoints of the hub."""


_EXTRA_STATE = "_extra_state"
"""What torch calls a state that is no weight, such as a vocabulary: its size is its own affair."""


class PretrainedModule(nn.Module):
    """A module that is built with random weights and waits for those of a checkpoint.

    Args:
        source: Folder with ``config.json`` and weights, or a name on the Hugging Face hub.
        weights: "pretrained" waits for them; "random" stays as it is.

    Raises:
        ConfigError: If ``weights`` is neither.
    """

    def __init__(self, source: str, weights: Weights = "pretrained") -> None:
        super().__init__()
        if weights not in ("pretrained", "random"):
            raise ConfigError("Unknown weights.", expected="pretrained or random", got=str(weights), remedy="set weights to one of them")
        self.source = source
        self.starts_pretrained = self.awaits_weights = weights == "pretrained"
        self.register_load_state_dict_post_hook(_end_waiting)

    @abstractmethod
    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check that a checkpoint is what was built, and take its weights.

        Args:
            config: Its ``config.json``.
            preprocessor: Its ``preprocessor_config.json``; empty where it has none.
            weights: Its tensors by name.
        """

    def missing_weights(self) -> str:
        """Say which weights are wanted and not on this machine, and how to give them; empty where none is missing.

        Raises:
            DataError: If the source is a folder without a model.
        """
        if not self.awaits_weights or find_model(self.source) is not None:
            return ""
        return str(self._not_found())

    def load_weights(self) -> None:
        """Load the weights, from the hub if need be; does nothing where none are awaited.

        Raises:
            DataError: If they cannot be had, are damaged, or are those of another network.
            ConfigError: If the checkpoint contradicts the configuration.
        """
        if not self.awaits_weights:
            return
        files = find_model(self.source, download=True)
        if files is None:
            raise self._not_found()
        preprocessor = {} if files.preprocessor is None else read_json(files.preprocessor)
        self.take_checkpoint(read_json(files.config), preprocessor, read_weights(files.weights))
        self.awaits_weights = False

    def keep_random_weights(self) -> None:
        """Wait no longer: random weights do for counts and shapes."""
        self.awaits_weights = False

    def check_has_weights(self) -> None:
        """Check that nothing is awaited any more.

        Raises:
            ConfigError: If the pretrained weights were never loaded.
        """
        if self.awaits_weights:
            raise ConfigError(
                f"{type(self).__name__} still has random weights.",
                expected=f"the weights {self.source}, or a checkpoint of your own",
                got="a new model whose weights were never loaded",
                remedy="call load_pretrained(model) of ser_kd.models.pretrained before its first use, or build it with weights=random",
            )

    def _not_found(self) -> DataError:
        return describe_missing_weights({"the encoder's source": self.source})


def describe_missing_weights(sources: Mapping[str, str]) -> DataError:
    """Make the error that says which weights are not on this machine, and how to give them.

    Args:
        sources: What was looked for, by the key of the configuration that names it.
    """
    names = "' and '".join(sources.values())
    keys = " and ".join(f"{key}=FOLDER" for key in sources)
    commands = " && ".join(f"hf download {source}" for source in sources.values())
    return DataError(
        f"The pretrained weights '{names}' are not on this machine.",
        expected=f"'{names}' in {describe_hub_access()}, or a folder with config.json and model.safetensors",
        got="neither",
        remedy=f"either set {keys} (a copy of the model), or go online once: {commands} "
        "(without HF_HUB_OFFLINE a run fetches them itself); scale=tiny does without weights",
    )


def _end_waiting(module: nn.Module, incompatible_keys: object) -> None:
    if isinstance(module, PretrainedModule):
        module.keep_random_weights()


def pretrained_parts(model: nn.Module) -> list[Pretrained]:
    """List the parts of a model that still wait for their weights."""
    return [part for part in model.modules() if isinstance(part, Pretrained) and part.awaits_weights]


def pretrained_sources(model: nn.Module) -> list[str]:
    """List where the weights come from that parts of a model started or will start from."""
    return [part.source for part in model.modules() if isinstance(part, Pretrained) and part.starts_pretrained]


def load_pretrained(model: nn.Module) -> list[str]:
    """Load the weights of every part that waits for some.

    Args:
        model: The model; parts that have their weights are left alone.

    Returns:
        The sources.

    Raises:
        DataError: If weights are missing, damaged, or those of another network.
        ConfigError: If a checkpoint contradicts the configuration.
    """
    parts = {name: part for name, part in model.named_modules() if isinstance(part, Pretrained) and part.awaits_weights}
    faults: list[DataError] = []
    missing: dict[str, str] = {}
    for name, part in parts.items():
        try:
            part.load_weights()
        except DataError as fault:
            faults.append(fault)
            if part.missing_weights():
                missing[f"{name}.source"] = part.source
    if len(missing) > 1:  # told at once: each may be a long download
        raise describe_missing_weights(missing)
    if faults:
        raise faults[0]
    return [part.source for part in parts.values()]


def keep_random_weights(model: nn.Module) -> list[str]:
    """Let every part wait no longer, for counts and shapes; gives what each says of missing weights."""
    parts = pretrained_parts(model)
    missing = [text for part in parts if (text := part.missing_weights())]
    for part in parts:
        part.keep_random_weights()
    return missing


def read_folder_config(source: str, weights: Weights) -> Mapping[str, Any] | None:
    """Read the ``config.json`` that lies beside pretrained weights in a folder; None for the hub and for random weights.

    Raises:
        DataError: If the folder holds no model.
    """
    if weights != "pretrained" or not is_folder(source):
        return None
    files = find_model(source)
    return None if files is None else read_json(files.config)


def select_part(weights: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Take one network out of a checkpoint that may hold heads or a decoder beside it, and give its names today's spelling.

    Args:
        weights: The checkpoint.
        prefixes: What the network's names begin with, the likeliest first; where none does, the checkpoint is the network.

    Returns:
        Its tensors, without the prefix.
    """
    prefix = next((prefix for prefix in prefixes if any(name.startswith(prefix) for name in weights)), "")
    part = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    for old, new in _OLD_NAMES.items():
        part = {name.removesuffix(old) + new if name.endswith(old) else name: value for name, value in part.items()}
    return part


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str, optional: Collection[str] = ()) -> None:
    """Load tensors into a module after checking every name and shape.

    Args:
        module: What was built.
        weights: Tensors by the module's own names.
        source: Named in errors.
        optional: Names that either side may lack.

    Raises:
        DataError: If a tensor is missing, left over or of another shape.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in weights and name not in optional]
    left_over = [name for name in weights if name not in own and name not in optional]
    reshaped = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape and not name.endswith(_EXTRA_STATE)
    ]
    faults = {"missing": missing, "left over": left_over, "of another shape": reshaped}
    told = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in faults.items() if names)
    if told:
        raise DataError(
            f"The weights '{source}' are not those of this network.",
            expected=f"its {len(own)} tensors, each in its shape",
            got=told,
            remedy="choose the configuration that belongs to these weights (encoder=…), or other weights (source=…)",
        )
    module.load_state_dict({name: weights.get(name, value) for name, value in own.items()})


def _some(names: Sequence[str], count: int = 4) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
