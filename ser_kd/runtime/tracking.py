"""Loggers of a run: CSV always, Weights & Biases online when logged in, else offline."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.csv_log import ResumableCsvLogger

MODES = ("auto", "online", "offline", "disabled")


def make_loggers(
    folder: Path,
    wandb: str,
    project: str,
    entity: str | None,
    name: str,
    group: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    resume_step: int | None = None,
) -> list[Logger]:
    """Make the loggers of a run.

    Args:
        folder: Run folder; ``logs/metrics.csv`` and ``wandb/`` are written there.
        wandb: ``auto``, ``online``, ``offline`` or ``disabled``.
        project: W&B project.
        entity: W&B user or team; None is the default one.
        name: Name of the run.
        group: Runs of one experiment and configuration stand together under it.
        tags: Further labels.
        config: Resolved configuration.
        resume_step: Optimizer steps of the checkpoint from which the run goes on; what was logged before stays.

    Raises:
        ConfigError: If the mode is unknown.
    """
    loggers: list[Logger] = [ResumableCsvLogger(folder, resume_step)]
    mode = choose_mode(wandb)
    if mode != "disabled":
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        # entity, group and settings go through to wandb.init
        logger = WandbLogger(
            name=name, save_dir=folder, project=project, offline=mode == "offline",
            entity=entity, group=group, tags=list(tags), config=dict(config),
        )  # fmt: skip
        # Lightning hands over anonymous=None, at which wandb warns of a setting that nobody made
        getattr(logger, "_wandb_init", {}).pop("anonymous", None)
        loggers.append(logger)
    return loggers


def end_tracking(loggers: Sequence[Logger]) -> None:
    """Close the W&B run of a training, or the next one in this process would write into it.

    Args:
        loggers: The training's loggers.
    """
    for logger in loggers:
        run = getattr(logger, "_experiment", None) if isinstance(logger, WandbLogger) else None
        if run is not None:
            run.finish()


def name_sweep(given: str | None) -> str:
    """Name the sweep that a run is a trial of: the one it was given, else that of the W&B agent that started it, else none."""
    agents = os.environ.get("WANDB_SWEEP_ID", "")
    return given or (f"wandb/{agents}" if agents else "")


def choose_mode(wanted: str) -> str:
    """Turn ``auto`` into the mode of this machine: WANDB_MODE where it is set, online when logged in, else offline.

    Raises:
        ConfigError: If the mode is unknown.
    """
    if wanted not in MODES:
        raise ConfigError("Unknown W&B mode.", expected=", ".join(MODES), got=str(wanted), remedy="set logger.wandb to one of them")
    if wanted != "auto":
        return wanted
    chosen = os.environ.get("WANDB_MODE", "")
    if chosen in MODES[1:]:
        return chosen
    return "online" if _is_logged_in() else "offline"


def _is_logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].strip("/")
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
