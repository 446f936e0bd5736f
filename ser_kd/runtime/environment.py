"""What a run was made with: packages, hardware, code revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "ser-kd", "torch", "torchaudio", "torchvision", "lightning", "torchmetrics", "transformers", "timm", "numpy", "scipy",
    "soundfile", "soxr", "hydra-core", "wandb", "onnx", "onnxruntime", "onnxruntime-gpu", "opensmile",
)  # fmt: skip


def installed_packages() -> dict[str, str]:
    """List versions of the packages that can change a result, and Python's."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_hardware() -> dict[str, str]:
    """Name processor, cores, memory and accelerator of this machine."""
    import torch  # late, so that reading an environment does not cost seconds

    hardware = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        hardware["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        hardware["accelerator"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return hardware


def git_revision(folder: Path) -> str | None:
    """Give the commit of a checkout, with ``+changes`` where files differ from it; None outside a checkout."""
    try:
        revision = _git(folder, "rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout.strip()


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
