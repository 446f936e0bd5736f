"""What is kept of a teacher's answers on disk, where, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.answer_rows import FramesDtype, KeptParts
from ser_kd.distill.objective import Objective


@dataclass
class CacheSpec:
    """The cache of ``teacher.cache=auto`` (see ``CachedTeacher``).

    Args:
        views: K: training clips that are augmented or cropped before the teacher hears them are drawn anew in K epochs only, and epoch e
            repeats the draws of epoch e modulo K: with or without a cache, and those of the student alone too. None draws anew in each
            epoch, and only clips that the teacher hears unchanged can be cached.
        dtype: Of frames and hidden layers; logits, dimensions and embeddings are always float32.
        layers: Hidden layers to keep; None keeps those that loss terms listen to.
        frame_stride: n keeps frames 0, n, 2n, … of frames and hidden layers.
        budget_gb: Most that all caches together may take, in 10^9 bytes; what would exceed it is asked live.
        keep: ``fold`` makes room by deleting caches of other folds of the same teachers, the one used longest ago first; ``all`` deletes
            nothing.
        folder: A cache's own folder; None finds it below ``paths.cache`` by what it depends on.

    Raises:
        ConfigError: If a number is below what it can be.
    """

    views: int | None = None
    dtype: FramesDtype = "float16"
    layers: Sequence[int] | None = None
    frame_stride: int = 1
    budget_gb: float = 20.0
    keep: Literal["all", "fold"] = "all"
    folder: str | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("views", self.views, 1), ("frame_stride", self.frame_stride, 1), ("budget_gb", self.budget_gb, 0)):
            if value is not None and value < least:
                raise ConfigError(
                    f"cache.{name} is too small.", expected=f"{least} or more", got=f"{value:g}", remedy=f"leave cache.{name} out"
                )
        for name, word, choices in (("dtype", self.dtype, ("float16", "float32")), ("keep", self.keep, ("all", "fold"))):
            if word not in choices:
                raise ConfigError(f"Unknown cache.{name}.", expected=" or ".join(choices), got=str(word), remedy=f"set cache.{name}")

    def choose_parts(self, objective: Objective) -> KeptParts:
        """Choose what is kept for an objective: nothing as long as a clip where no term listens to frames.

        Raises:
            ConfigError: If ``layers`` lacks one that a term listens to.
        """
        if not objective.listens_to_frames() and not self.layers:
            return KeptParts()
        heard = objective.teacher_layers() if objective.listens_to_frames() else []
        numbers = None if heard is None else sorted(layer for layer in heard if layer is not None)
        chosen = numbers if self.layers is None else sorted(self.layers)
        missing = [] if chosen is None or numbers is None else [number for number in numbers if number not in chosen]
        if missing:
            raise ConfigError(
                "The cache would lack layers that loss terms listen to.",
                expected=f"cache.layers with {', '.join(map(str, missing))}",
                got=str(list(self.layers or ())),
                remedy="set cache.layers=null, which keeps what is needed",
            )
        frames = heard is None or None in heard
        return KeptParts(frames, None if chosen is None else tuple(chosen), self.frame_stride, self.dtype)
