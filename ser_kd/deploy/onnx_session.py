"""A model file opened by onnxruntime; no torch needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_kd.contracts.errors import ConfigError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def choose_provider(precision: str) -> str:
    """Give the provider a model of this precision is meant for, where this machine has it: fp16 CUDA, all others the CPU."""
    import onnxruntime

    wanted = PROVIDERS["cuda" if precision == "fp16" else "cpu"]
    return wanted if wanted in onnxruntime.get_available_providers() else PROVIDERS["cpu"]


def open_session(model: Path | bytes, threads: int | None = None, provider: str = PROVIDERS["cpu"]) -> Any:
    """Open a model.

    Args:
        model: File, or its content.
        threads: Threads of one operation; None takes all cores.
        provider: Execution provider of onnxruntime.

    Raises:
        ConfigError: If this installation does not have the provider.
    """
    import onnxruntime  # late: a typo is told before it is loaded

    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(
            "This onnxruntime cannot run on that device.",
            expected=", ".join(onnxruntime.get_available_providers()),
            got=provider,
            remedy="choose another provider, or install onnxruntime-gpu on a machine with CUDA",
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(model) if isinstance(model, Path) else model, options, providers=[provider])


def feed(waveforms: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Put clips into a padded batch as the graph takes it.

    Args:
        waveforms: B arrays (T,) float32.

    Returns:
        ``waveform`` (B, T) float32, zero behind each clip, and ``length`` (B,) int64.
    """
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    batch = np.zeros((len(waveforms), int(lengths.max())), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return {"waveform": batch, "length": lengths}
