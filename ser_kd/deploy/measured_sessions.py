"""Sessions of onnxruntime that can stand beside each other without stealing each other's processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_kd.contracts.errors import DataError

CPU = ("CPUExecutionProvider",)
CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")

_QUIET = 3  # errors only: what a graph could not be optimised by concerns nobody who measures it


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Give options of a session with so many threads within an operator and one operator at a time.

    Idle threads stop spinning at the end of a run: else they would take the processor from whoever is measured next.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def open_session(model: Path | bytes, options: onnxruntime.SessionOptions, providers: Sequence[str] = CPU) -> onnxruntime.InferenceSession:
    """Open a session.

    Raises:
        DataError: If onnxruntime refuses the model.
    """
    try:
        return onnxruntime.InferenceSession(str(model) if isinstance(model, Path) else model, options, providers=list(providers))
    except Exception as fault:  # its exceptions have no common parent
        raise DataError(
            "onnxruntime cannot run the model.",
            expected="an ONNX file whose operators this version of onnxruntime knows",
            got=f"{model if isinstance(model, Path) else 'a graph'}: {' '.join(str(fault).split())[:300]}",
            remedy="export the run again, or install a newer onnxruntime",
        ) from fault


def make_waveform(samples: int, seed: int = 0) -> dict[str, NDArray]:
    """Make the inputs of a model file for one clip of noise; what is said changes no latency.

    Args:
        samples: T.
        seed: Of the noise.

    Returns:
        ``waveform`` (1, T) float32 of about -20 dB, ``length`` (1,) int64.
    """
    noise = np.random.default_rng(seed).standard_normal((1, samples), dtype=np.float32)
    return {"waveform": 0.1 * noise, "length": np.array([samples], dtype=np.int64)}
