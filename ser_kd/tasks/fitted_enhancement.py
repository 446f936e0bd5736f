"""An enhancement fitted to the clean training clips of a fold, kept in the cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.distill.fitting import fit_statistics, give_statistics, take_statistics, unfitted_parts
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.storage.hashing import hash_data
from ser_kd.storage.tensor_shelf import TensorShelf

_KEY = "statistics"


def fit_enhancement(node: DictConfig, data: SpeechDataModule, cache_dir: str) -> nn.Module:
    """Build an enhancement and fit it to the training clips of a fold, or read what was fitted before.

    What is fitted depends on the settings, the protocol's fingerprint and the training clips of the fold, never on its test clips.

    Args:
        node: A node of ``conf/enhancement``.
        data: The fold.
        cache_dir: Folder of the cache; its ``enhancement/`` is used.
    """
    enhancement: nn.Module = build(node).eval()
    settings: Any = OmegaConf.to_container(node, resolve=True)
    identity = {
        "settings": settings,
        "fingerprint": data.fold.fingerprint,
        "fold": data.fold.fold,
        "training": hash_data(sorted(u.id for u in data.fold.train)),
        "sample_rate_hz": data.sample_rate_hz,
        "clip": [data.clip_samples, data.padding],
    }
    parts = unfitted_parts(enhancement)
    shelf = TensorShelf(Path(cache_dir) / "enhancement" / hash_data(identity), identity, tell=console.tell)
    with shelf.building():
        if _KEY not in shelf:
            began = time.perf_counter()
            fit_statistics(enhancement, data.plain_train_dataloader())
            rows = {f"{number}/{name}": value for number, state in enumerate(give_statistics(parts)) for name, value in state.items()}
            shelf.add({_KEY: {name: torch.atleast_1d(value) for name, value in rows.items()}})
            console.tell(f"enhancement fitted to {len(data.fold.train)} training clips in {time.perf_counter() - began:.1f} s")
            return enhancement
    kept = shelf.read(_KEY)
    found = []
    for number, part in enumerate(give_statistics(parts)):
        found.append({name: kept[f"{number}/{name}"].clone().reshape(value.shape) for name, value in part.items()})
    take_statistics(parts, found)
    return enhancement
