"""Which named features a model hears instead of the waveform."""

from __future__ import annotations

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import FeatureHearing


def list_heard_features(model: nn.Module) -> list[str]:
    """List the named features that a model hears, sorted; none for a model of waveforms or texts."""
    return sorted({part.feature_name for part in model.modules() if isinstance(part, FeatureHearing)})


def check_hears_waveform(model: nn.Module, purpose: str, remedy: str) -> None:
    """Check that a model answers from waveforms.

    Args:
        model: The model.
        purpose: What it would have to do, for the message: ``exported``.
        remedy: What to do instead.

    Raises:
        ConfigError: If it hears named features, which are computed outside of it.
    """
    heard = list_heard_features(model)
    if heard:
        raise ConfigError(
            f"A model that hears features computed outside of it cannot be {purpose}.",
            expected="a model from raw waveform to an answer",
            got=f"one that hears {', '.join(heard)}",
            remedy=remedy,
        )
