"""Whom a run asks about its training clips: the teacher, or what was kept of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import RunRecord
from ser_kd.distill.cached_teacher import CachedTeacher
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.runtime import console
from ser_kd.runtime.recording import name_folders_by_content
from ser_kd.storage.hashing import hash_data
from ser_kd.tasks.teacher_cache import CacheRequest, OpenedCache, open_cache
from ser_kd.tasks.training_run import TrainingRun, device_of, read_cache_spec


def choose_training_teacher(run: TrainingRun, module: DistillationModule, record: RunRecord) -> None:
    """Let the module ask whom ``teacher.cache`` says about training clips."""
    if run.asked is None or run.config.teacher.cache == "memory":
        return
    if run.config.teacher.cache == "off":
        module.ask_in_training(run.asked)
        return
    try:
        opened = _open_cache(run, module)
    except DataError as fault:  # a cache saves time; without one the run finds the same
        reason = f"the cache cannot be written ({fault.got})"
        kept = read_cache_spec(run.config).choose_parts(module.objective)
        opened = OpenedCache(CachedTeacher(run.asked, kept), "", reason)
    if opened.reason:
        console.warn(f"{opened.reason}: the teacher is asked live")
    module.ask_in_training(opened.teacher)
    record.notes.append(opened.describe())
    record.timings["teacher_cache_s"] = record.timings.get("teacher_cache_s", 0.0) + opened.seconds


def open_teacher_cache(run: TrainingRun) -> OpenedCache:
    """Build and open the cache of a run's teacher ahead of its training.

    Raises:
        ConfigError: If a folder given by hand holds something else, or a layer is missing.
        DataError: If it cannot be written.
    """
    module = run.make_module(with_weights=False)
    if run.asked is not None and run.asked.needs_fit:
        run.asked.fit(run.data.val_dataloader(shared=False), device_of(run.config))
    return _open_cache(run, module)


def _open_cache(run: TrainingRun, module: DistillationModule) -> OpenedCache:
    if run.asked is None:  # only called where there is a teacher; told to the type checker
        raise RuntimeError("there is no teacher to cache")
    views: Any = OmegaConf.to_container(run.config.views, resolve=True) if run.config.views else {}
    if run.noise is not None:  # babble depends on the fold
        noise = name_folders_by_content(OmegaConf.to_container(run.config.noise, resolve=True))
        views = {slot: [node, noise, run.fold.fingerprint, run.fold.fold] for slot, node in views.items() if node is not None}
    if module.views.transcripts:  # words of other clips come into a text
        words = hash_data(sorted(module.views.transcripts))
        views = {slot: [node, words] for slot, node in views.items() if node is not None}
    return open_cache(
        CacheRequest(
            spec=read_cache_spec(run.config),
            teacher=run.asked,
            data=run.data,
            objective=module.objective,
            views=module.views,
            views_identity=name_folders_by_content(views),
            root=Path(run.config.paths.cache) / "teachers",
            device=device_of(run.config),
        )
    )
