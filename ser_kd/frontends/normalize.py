"""Features brought to mean 0, and to standard deviation 1, by statistics of the training split or of the clip."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Frontend
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.full_precision import full_precision
from ser_kd.frontends.wrapped import read_frames
from ser_kd.functional.masking import lengths_to_mask, masked_mean

DEVIATION_FLOOR = 1e-5
"""A coefficient that varies less than this is centred but not scaled."""

Statistics = Literal["training", "utterance", "utterance_mean", "none"]


class NormalizedFrontend(nn.Module):
    """Any front-end, followed by (frame - mean) / deviation for each coefficient.

    Population statistics, accumulated in float64. Those of the training split are fitted once, before step 0, over all valid
    frames of the training clips (each clip counts by its length), and travel with the checkpoint.

    Args:
        frontend: The front-end whose features are normalised.
        statistics: "training" (fitted), "utterance" (each clip's own valid frames), "utterance_mean" (their mean alone: nothing is
            scaled) or "none" (handed on as they are).

    Raises:
        ConfigError: If ``statistics`` is something else.
    """

    def __init__(self, frontend: Frontend, statistics: Statistics = "training") -> None:
        super().__init__()
        if statistics not in get_args(Statistics):
            raise ConfigError(
                f"Unknown statistics '{statistics}'.",
                expected="training, utterance, utterance_mean or none",
                got=statistics,
                remedy="choose one of these",
            )
        self.frontend = frontend
        self.statistics = statistics
        self.width = frontend.width
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("deviation", torch.ones(self.width))
        self.register_buffer("fitted", torch.tensor(statistics != "training"))
        # Remembers a yes, so that the answer need not be fetched from the accelerator at every step.
        self._known_to_be_fitted = statistics != "training"
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None

    mean: Tensor
    deviation: Tensor
    fitted: Tensor

    @property
    def is_fitted(self) -> bool:
        """Whether the statistics are there; always true where none are fitted."""
        if not self._known_to_be_fitted:
            self._known_to_be_fitted = bool(self.fitted)
        return self._known_to_be_fitted

    def begin_fit(self) -> None:
        """Forget earlier statistics; does nothing unless they come from the training split."""
        if self.statistics == "training":
            self.fitted.fill_(False)
            self._known_to_be_fitted = False
            empty = torch.zeros(self.width, dtype=torch.float64)
            self._sums = (torch.zeros((), dtype=torch.float64), empty, empty.clone())

    @torch.no_grad()
    def update_fit(self, inputs: ModelInput) -> None:
        """Add the valid frames of training clips.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
        """
        if self.statistics != "training":
            return
        count, total, squares = self._open_sums()
        frames, lengths = read_frames(self.frontend, inputs)
        valid = frames.flatten(0, 1) if lengths is None else frames[lengths_to_mask(lengths, frames.shape[1])]  # (N, D)
        known = self.find_values(valid)
        valid = valid.double().cpu()
        if known is None:
            self._sums = (count + valid.shape[0], total + valid.sum(dim=0), squares + valid.square().sum(dim=0))
            return
        known = known.cpu()
        valid = torch.where(known, valid, torch.zeros_like(valid))
        self._sums = (count + known.sum(dim=0), total + valid.sum(dim=0), squares + valid.square().sum(dim=0))

    def find_values(self, frames: Tensor) -> Tensor | None:
        """Mark what is a value among frames (…, D); the rest enters no statistic and becomes zero. None where all of it is.

        For front-ends whose coefficients do not exist in every frame.
        """
        return None

    def end_fit(self) -> None:
        """Turn the sums into mean and deviation.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
            DataError: If there was no frame, or a coefficient was not finite.
        """
        if self.statistics != "training":
            return
        count, total, squares = self._open_sums()
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0.0).sqrt()
        if not bool(torch.isfinite(deviation).all()):
            raise DataError(
                "The feature statistics of the training split cannot be computed.",
                expected="finite features of at least one frame",
                got=f"{int(count.max())} frames, {int((~torch.isfinite(deviation)).sum())} of {self.width} coefficients not finite",
                remedy="check that the training split has clips and that none of them is damaged",
            )
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation < DEVIATION_FLOOR, torch.ones_like(deviation), deviation))
        self.fitted.fill_(True)
        self._known_to_be_fitted = True  # an export cannot look into a buffer
        self._sums = None

    def forward(self, inputs: ModelInput) -> Features:
        """Give normalised features.

        Raises:
            ConfigError: If the statistics were neither fitted nor loaded.
        """
        if not self.is_fitted:
            raise ConfigError(
                "The feature statistics were never fitted.",
                expected="statistics of the training split",
                got="a new front-end without any",
                remedy="train the model or load a checkpoint; by hand: begin_fit(), update_fit(inputs) for each training batch, "
                "end_fit(). For clips normalised one by one set statistics=utterance",
            )
        if self.statistics == "none":
            return self.frontend(inputs)
        frames, lengths = read_frames(self.frontend, inputs)
        with full_precision(frames):
            mean, deviation = self.mean, self.deviation
            known = self.find_values(frames)
            if self.statistics.startswith("utterance"):
                mean, deviation = _clip_statistics(frames, lengths, known)
            if self.statistics == "utterance_mean":
                deviation = torch.ones_like(deviation)
            normalised = (frames - mean) / deviation
            if known is not None:
                normalised = torch.where(known, normalised, torch.zeros_like(normalised))
            return Features(normalised, lengths, inputs.texts, inputs.keys)

    def _open_sums(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._sums is None:
            raise ConfigError(
                "Statistics are being fitted that were never begun.",
                expected="begin_fit() first",
                got="update_fit() or end_fit() alone",
                remedy="call begin_fit(), update_fit(inputs) for each batch, end_fit()",
            )
        return self._sums

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._known_to_be_fitted = bool(self.fitted)


def _clip_statistics(frames: Tensor, lengths: Tensor | None, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute mean and deviation over each clip's valid frames, (B, 1, D) each."""
    mask = None if lengths is None else lengths_to_mask(lengths, frames.shape[1])
    if known is None:
        mean = masked_mean(frames, mask).unsqueeze(1)
        deviation = masked_mean((frames - mean).square(), mask).sqrt().unsqueeze(1)
    else:
        weights = (known if mask is None else known & mask.unsqueeze(-1)).to(frames.dtype)
        count = weights.sum(dim=1, keepdim=True).clamp_min(1.0)
        mean = (frames * weights).sum(dim=1, keepdim=True) / count
        deviation = (((frames - mean).square() * weights).sum(dim=1, keepdim=True) / count).sqrt()
    return mean, torch.where(deviation < DEVIATION_FLOOR, torch.ones_like(deviation), deviation)
