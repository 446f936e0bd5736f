"""What a front-end asks of the front-end inside it."""

from __future__ import annotations

from torch import Tensor

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import Frontend


def read_frames(frontend: Frontend, inputs: ModelInput) -> tuple[Tensor, Tensor | None]:
    """Compute the inner front-end's frames (B, F, D), float32, and their valid lengths (B,).

    Raises:
        ConfigError: If it yields no frames.
    """
    features = frontend(inputs)
    if features.frames is None:
        raise ConfigError(
            "A front-end of frames is wrapped around one that yields none.",
            expected="frames (B, F, D)",
            got=f"{type(frontend).__name__} without frames",
            remedy="use the inner front-end alone",
        )
    return features.frames.float(), features.lengths
