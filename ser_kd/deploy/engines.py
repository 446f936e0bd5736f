"""In what a model can be run, and which of that this machine can do."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Literal

Runtime = Literal["torch", "onnxruntime"]


@dataclass(frozen=True)
class Engine:
    """A way to run a model.

    Args:
        name: As on the command line.
        runtime: What runs it.
        precision: Of the model file; torch runs in fp32.
        device: ``cpu`` or ``cuda``.
        compiles: Whether torch compiles it.
    """

    name: str
    runtime: Runtime
    precision: str = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"
    compiles: bool = False


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("eager", "torch"),
        Engine("compiled", "torch", compiles=True),
        Engine("onnx_fp32", "onnxruntime"),
        Engine("onnx_int8", "onnxruntime", "int8"),
        Engine("eager_cuda", "torch", device="cuda"),
        Engine("onnx_fp32_cuda", "onnxruntime", device="cuda"),
        Engine("onnx_fp16_cuda", "onnxruntime", "fp16", device="cuda"),
    )
}
"""Every engine by its name."""


def why_not(engine: Engine) -> str:
    """Say why this machine cannot run an engine; empty where it can."""
    if engine.compiles and not find_cpp_compiler():
        return "torch.compile needs a C++ compiler and there is none (g++, clang++ or $CXX)"
    if engine.device == "cuda":
        import onnxruntime  # late: the command line asks for names only, and torch takes seconds to import
        import torch

        if not torch.cuda.is_available():
            return "there is no CUDA device"
        if engine.runtime == "onnxruntime" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return "this onnxruntime has no CUDA provider (pip install onnxruntime-gpu)"
    return ""


def find_cpp_compiler() -> str | None:
    """Find what torch.compile would call; None where there is none."""
    named = os.environ.get("CXX", "").split()
    return next((found for name in [*named[:1], "g++", "clang++", "c++", "cl"] if (found := shutil.which(name))), None)


def count_cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
