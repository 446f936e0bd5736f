"""Model files that ship: export, proof of parity, costs, prediction without torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_kd.deploy.model_metadata import ModelMetadata
    from ser_kd.deploy.prediction import Prediction
    from ser_kd.deploy.predictor import Predictor, StreamingPredictor

__all__ = ["ModelMetadata", "Prediction", "Predictor", "StreamingPredictor"]

_HOMES = {"ModelMetadata": "model_metadata", "Prediction": "prediction", "Predictor": "predictor", "StreamingPredictor": "predictor"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
