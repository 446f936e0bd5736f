"""``ser-kd doctor``: looks at this machine and the installation; exit code 2 where something must be mended, else 0."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from ser_kd import __version__
from ser_kd.contracts.errors import ConfigError, SerKdError
from ser_kd.runtime import console
from ser_kd.runtime.catalog import read_experiments
from ser_kd.runtime.extras import EXTRA_MODULES, find_missing_modules, is_at_least, read_requirements, version_numbers
from ser_kd.runtime.paths import default_cache_dir, default_runs_dir, find_checkout, find_conf_dir, find_experiment_roots

Finding = tuple[str, str, str]
"""State (``ok``, ``warn``, ``FAIL``), what was looked at, what was found and what to do."""

MALICIOUS_LIGHTNING = ("2.6.2", "2.6.3")
_LOWEST_FREE_GB = 2.0
_EXTRA_PURPOSES = {
    "train": "everything but report, list and doctor needs it",
    "predict": "for machines that only predict",
    "demo": "ser-kd demo and corpus=demo need it",
    "opensmile": "only for eGeMAPS features",
    "dashboards": "only to watch searches",
    "postgresql": "for sweeps that several machines share",
    "ray": "only for Ray clusters",
    "slurm": "only for SLURM clusters",
}


def run(arguments: list[str]) -> int:
    """Print every finding.

    Raises:
        ConfigError: If there are words behind the verb.
    """
    if arguments:
        raise ConfigError("'doctor' takes no words.", expected="ser-kd doctor", got=" ".join(arguments), remedy="leave them out")
    findings = [finding for look in LOOKS for finding in look()]
    console.states(findings)
    failed = sum(state == "FAIL" for state, _, _ in findings)
    warned = sum(state == "warn" for state, _, _ in findings)
    console.show(f"\n{failed} to mend, {warned} to know about, {len(findings) - failed - warned} fine")
    return 2 if failed else 0


def installed_version(package: str) -> str | None:
    """Give a package's installed version without importing it; None where it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def look_at_installation() -> Iterable[Finding]:
    """Look at Python, at ourselves and at the configuration."""
    python = platform.python_version()
    state = "ok" if is_at_least(python, "3.11") else "FAIL"
    yield state, "python", python if state == "ok" else f"{python}; ser-kd needs 3.11 or later: make an environment with it"
    checkout = find_checkout()
    yield "ok", "ser-kd", f"{__version__}, {'checkout' if checkout else 'installed in'} {checkout or Path(__file__).parents[1]}"
    try:
        yield "ok", "configuration", str(find_conf_dir())
    except SerKdError as fault:
        yield "FAIL", "configuration", f"missing; {fault.remedy}"
    roots = find_experiment_roots()
    count = len(read_experiments(roots))
    yield ("ok" if count else "warn"), "experiments", f"{count} in {', '.join(map(str, roots)) or 'no folder'}"


def look_at_extras() -> Iterable[Finding]:
    """Look which extras are complete and whether each package is as new as it must be."""
    for extra, modules in EXTRA_MODULES.items():
        missing = find_missing_modules(extra)
        command = f'pip install "ser-kd[{extra}]"'
        if not missing:
            yield "ok", f"extra {extra}", "complete"
        elif len(missing) == len(modules):
            yield ("warn" if extra == "train" else "ok"), f"extra {extra}", f"not installed, {_EXTRA_PURPOSES[extra]}: {command}"
        else:
            yield "warn", f"extra {extra}", f"incomplete, {', '.join(missing)} missing: {command}"
    wanted = {package: lowest for packages in read_requirements().values() for package, lowest in packages.items() if lowest}
    versions = {package: installed_version(package) for package in wanted}
    old = [name for name, version in versions.items() if version and not is_at_least(version, wanted[name])]
    for package in old:
        yield "FAIL", package, f'{versions[package]} is too old: pip install "{package}>={wanted[package]}"'
    if not old:
        yield "ok", "versions", f"{sum(version is not None for version in versions.values())} packages are as new as they must be"


def look_at_conflicts() -> Iterable[Finding]:
    """Look for packages that must not stand together, or not at all."""
    for package in ("lightning", "pytorch-lightning"):
        version = installed_version(package)
        if version in MALICIOUS_LIGHTNING:
            advice = f'the release was malicious: pip install "{package}>=2.6.4", then change every password and token used on this machine'
            yield "FAIL", package, f"{version}; {advice}"
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if installed_version(name)]
    if len(both) == 2:
        advice = "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu (Linux x86-64) or onnxruntime"
        yield "FAIL", "onnxruntime", f"onnxruntime and onnxruntime-gpu overwrite each other: {advice}"
    elif both:
        yield "ok", "onnxruntime", f"{both[0]} {installed_version(both[0])}"


def look_at_torch() -> Iterable[Finding]:
    """Look whether torch, torchaudio and torchvision belong together and load, and what they compute on."""
    versions = {name: installed_version(name) for name in ("torch", "torchaudio", "torchvision")}
    if versions["torch"] is None:
        return
    unfit = find_unfit_companions({name: version for name, version in versions.items() if version})
    for name, advice in unfit.items():
        yield "FAIL", name, advice
    broken = {name: fault for name in versions if versions[name] and (fault := _import_fault(name))}
    for name, fault in broken.items():
        advice = f"install the three together from one index: pip install torch torchaudio torchvision ({fault})"
        yield "FAIL", name, f"{versions[name]} does not load; {advice}"
    if not unfit and not broken:
        yield "ok", "torch", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if "torch" not in broken:
        yield _look_at_accelerator(importlib.import_module("torch"))


def find_unfit_companions(versions: dict[str, str]) -> dict[str, str]:
    """Tell which of torchaudio and torchvision does not belong to the installed torch.

    torchaudio carries torch's own number, torchvision's minor number is torch's plus 15 (0.26 belongs to 2.11); the builds
    (``+cpu``, ``+cu128``) must agree as well, for the binary interfaces differ.

    Args:
        versions: Package -> version; torch must be there.

    Returns:
        Package -> what is wrong and what to do.
    """
    major, minor = (*version_numbers(versions["torch"]), 0, 0)[:2]
    wanted = {"torchaudio": (major, minor), "torchvision": (0, minor + 15)}
    unfit = {}
    for name, numbers in wanted.items():
        version = versions.get(name)
        if version is None:
            continue
        builds = [text.partition("+")[2] for text in (versions["torch"], version)]
        if (*version_numbers(version), 0, 0)[:2] != numbers:
            advice = f'{version} beside torch {versions["torch"]}: pip install "{name}=={numbers[0]}.{numbers[1]}.*"'
        elif all(builds) and builds[0] != builds[1]:
            advice = f"{version} is another build than torch {versions['torch']}: install both from one index"
        else:
            continue
        unfit[name] = advice
    return unfit


def _import_fault(name: str) -> str:
    try:
        importlib.import_module(name)
    except Exception as fault:  # a binary mismatch shows as OSError, RuntimeError or ImportError
        return " ".join(f"{type(fault).__name__}: {fault}".split())[:160]
    return ""


def _look_at_accelerator(torch: ModuleType) -> Finding:
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return "ok", "accelerator", ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    if torch.backends.mps.is_available():
        return "ok", "accelerator", "Apple GPU (mps)"
    return "ok", "accelerator", "none: the processor computes, which is enough for the demo and small models"


def look_at_audio() -> Iterable[Finding]:
    """Look which audio formats can be read."""
    try:
        # By name: this task looks at packages, it does not read audio past storage.
        soundfile = importlib.import_module("soundfile")
    except Exception as fault:
        yield "FAIL", "audio files", f"soundfile does not load ({fault}): pip install --force-reinstall soundfile"
        return
    formats = set(soundfile.available_formats())
    missing = [name for name in ("WAV", "FLAC", "OGG", "MP3") if name not in formats]
    found = f"libsndfile {soundfile.__libsndfile_version__}"
    if missing:
        yield "warn", "audio files", f"{found} cannot read {', '.join(missing)}: pip install --upgrade soundfile"
    else:
        yield "ok", "audio files", f"{found} reads wav, flac, ogg, mp3 and more"


def look_at_machine() -> Iterable[Finding]:
    """Look at cores, memory and the folders that are written to."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield "ok", "processor", f"{cores} cores for this process ({platform.machine()}, {platform.system()})"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        yield ("ok" if memory >= 4 else "warn"), "memory", f"{memory:.1f} GiB" + ("" if memory >= 4 else "; training wants 4 GiB or more")
    yield look_at_folder("runs folder", default_runs_dir(), "SER_KD_RUNS")
    yield look_at_folder("cache folder", default_cache_dir(), "SER_KD_CACHE")


def look_at_folder(name: str, folder: Path, variable: str) -> Finding:
    """Look whether a folder, or the nearest that exists above it, may be written and has room.

    Args:
        name: What it is for.
        folder: Where it is or will be.
        variable: Environment variable that moves it.
    """
    place = folder.absolute()
    above = next(parent for parent in [place, *place.parents] if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        return "FAIL", name, f"{place} cannot be written: choose another by {variable}=/folder"
    free_gb = shutil.disk_usage(above).free / 1e9
    if free_gb < _LOWEST_FREE_GB:
        return "warn", name, f"{place} has {free_gb:.1f} GB left: free some space or choose another by {variable}=/folder"
    return "ok", name, f"{place}, {free_gb:.0f} GB free"


def look_at_surroundings() -> Iterable[Finding]:
    """Look at the environment variables that change what a run does."""
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name, "0") not in ("", "0")]
    hub = f"offline ({', '.join(offline)}): only weights that were downloaded before" if offline else "online when needed"
    yield "ok", "model hub", hub
    mode = os.environ.get("WANDB_MODE")
    yield "ok", "W&B", f"WANDB_MODE={mode}" if mode else "not set: online when logged in, else offline"
    corpus = os.environ.get("SER_KD_RAVDESS")
    if corpus and not Path(corpus).is_dir():
        yield "warn", "RAVDESS", f"SER_KD_RAVDESS={corpus} is no folder: correct it, or give corpus.root=/folder"
    elif corpus:
        yield "ok", "RAVDESS", corpus


LOOKS: tuple[Callable[[], Iterable[Finding]], ...] = (
    look_at_installation,
    look_at_extras,
    look_at_conflicts,
    look_at_torch,
    look_at_audio,
    look_at_machine,
    look_at_surroundings,
)
"""Everything that is looked at, in the order of the print-out."""
