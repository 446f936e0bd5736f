"""What the encoders of transformers share: their configuration from preset, checkpoint and sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from transformers import PreTrainedConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest

Config = TypeVar("Config", bound=PreTrainedConfig)


def make_library_config(
    kind: type[Config],
    preset: Mapping[str, Any] | None,
    checkpoint: Mapping[str, Any] | None,
    sizes: Mapping[str, Any],
    shaping: Collection[str],
) -> Config:
    """Make a library configuration.

    What shapes the network comes from the checkpoint's own ``config.json`` where one lies beside the weights, else from the preset;
    everything else (dropout rates, …) from the preset first. Sizes of one's own win over both.

    Args:
        kind: The library's class.
        preset: The library's own keys; what is not named keeps the library's default.
        checkpoint: Content of ``config.json``, or None.
        sizes: The library's own keys; None values are not set.
        shaping: Keys that shape the network.

    Raises:
        ConfigError: If the preset names an unknown key, the checkpoint is of another kind, or the library refuses a value.
    """
    preset = dict(preset or {})
    known = set(kind().to_dict())
    for key in preset:
        if key not in known:
            raise ConfigError(
                f"'{key}' is no setting of {kind.__name__}.",
                expected="a key of the library's configuration",
                got=f"settings.{key}",
                remedy=suggest(key, sorted(known)) or "see the library's page on this model",
            )
    if checkpoint is not None:
        check_model_type(kind, checkpoint)
        preset = {**checkpoint, **{key: value for key, value in preset.items() if key not in shaping}}
    given = {key: value for key, value in sizes.items() if value is not None}
    try:
        return kind.from_dict({**preset, **given})
    except Exception as fault:  # the library has errors of several kinds for one cause
        raise ConfigError(
            f"{kind.__name__} refuses these settings.",
            expected="values that fit the library's configuration",
            got=" ".join(str(fault).split()),
            remedy="correct settings, layers, width or conv_width",
        ) from fault


def check_model_type(kind: type[PreTrainedConfig], checkpoint: Mapping[str, Any]) -> None:
    """Check that a checkpoint holds the kind of network that was asked for.

    Raises:
        ConfigError: If it holds another.
    """
    found = checkpoint.get("model_type")
    if found != kind.model_type:
        raise ConfigError(
            "The checkpoint holds another kind of network.",
            expected=f"model_type {kind.model_type}",
            got=f"model_type {found}",
            remedy=f"set the encoder's architecture={found}, or choose other weights (source=…)",
        )


def check_same_shaping(own: PreTrainedConfig, checkpoint: Mapping[str, Any], shaping: Collection[str], source: str) -> None:
    """Check that a checkpoint's ``config.json`` describes the network that was built.

    Raises:
        ConfigError: If a key that shapes the network differs; all are named, ready to be set.
    """
    check_model_type(type(own), checkpoint)
    theirs = type(own).from_dict(dict(checkpoint))
    differing = [key for key in shaping if _plain(getattr(own, key, None)) != _plain(getattr(theirs, key, None))]
    if differing:
        raise ConfigError(
            f"The weights '{source}' are of another size or layout than the network.",
            expected=", ".join(f"{key}={_plain(getattr(own, key, None))}" for key in differing),
            got=", ".join(f"{key}={_plain(getattr(theirs, key, None))}" for key in differing),
            remedy="choose the encoder that belongs to these weights, or set its "
            + " ".join(f"settings.{key}={_plain(getattr(theirs, key, None))}" for key in differing)
            + " (on the command line +student.encoder.settings.…); own sizes (width, conv_width, scale=tiny) are for weights=random",
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
