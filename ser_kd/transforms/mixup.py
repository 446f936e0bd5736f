"""Mixtures of two clips and of their labels."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import derive_keys, draw_normal, draw_uniform
from ser_kd.functional.softening import classes_to_probabilities
from ser_kd.transforms.random_transform import Parameters, RandomTransform

_CANDIDATES = 16  # each is accepted with probability above 0.95: all fail once in 1e20 draws


def draw_beta(keys: Tensor, alpha: float) -> Tensor:
    """Draw from the symmetric Beta(alpha, alpha) as g1 / (g1 + g2) with two gamma numbers.

    The gamma numbers are kept as logarithms, because for small alpha they underflow.

    Args:
        keys: (B,) int64.
        alpha: Shape, above 0; below 1 the mass lies near 0 and 1.

    Returns:
        (B,) float32 in [0, 1].

    Source:
        Marsaglia, Tsang: A Simple Method for Generating Gamma Variables, 2000 (with its boost for shapes below 1).
    """
    return torch.sigmoid(_draw_log_gamma(derive_keys(keys, "first"), alpha) - _draw_log_gamma(derive_keys(keys, "second"), alpha)).float()


def _draw_log_gamma(keys: Tensor, shape: float) -> Tensor:
    # The method draws for shape + 1 and multiplies by u^(1 / shape): right for every shape above 0.
    d = shape + 1.0 - 1.0 / 3.0
    normal = draw_normal(derive_keys(keys, "normal"), _CANDIDATES).double()
    uniform = draw_uniform(derive_keys(keys, "uniform"), _CANDIDATES).double()
    cube = (1.0 + normal / math.sqrt(9.0 * d)) ** 3
    log_cube = torch.log(cube.clamp_min(1e-300))
    is_accepted = (cube > 0) & (torch.log1p(-uniform) < 0.5 * normal**2 + d - d * cube + d * log_cube)
    first = is_accepted.int().argmax(dim=1, keepdim=True)
    boost = torch.log1p(-draw_uniform(derive_keys(keys, "boost"), 1)[:, 0].double()) / shape
    return math.log(d) + log_cube.gather(1, first)[:, 0] + boost


class MixUp(RandomTransform[SpeechBatch]):
    """Mixes each clip with another one of the batch: x = s x_i + (1 - s) x_j, and the labels likewise.

    s is max(l, 1 - l) with l from Beta(alpha, alpha), so that a clip always stays the louder part of its own mixture: id,
    speaker, groups, text and ``classes`` remain true of it. Over a batch this is the published mix-up, whose pairs are
    symmetric. The partner is the next clip in the order of the drawn keys, so each clip is a partner once.

    Unlike other transforms, the partner depends on which clips are in the batch (s does not). A mixture is as long as the
    longer of both. A label exists only where both clips have one: otherwise the row of ``class_probabilities`` is zero and
    the dimension is missing.

    Args:
        alpha: Shape of the Beta distribution; small values mix little.
        probability: Share of clips that are mixed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If alpha is not positive, or the batch has classes without their names, or named features, which a
            mixture would belie.

    Source:
        Zhang et al.: mixup: Beyond Empirical Risk Minimization, 2018, eq. 1.
    """

    mixes_clips = True

    def __init__(self, alpha: float = 0.2, probability: float = 0.5, slot: str = "") -> None:
        super().__init__(probability, slot)
        if not (math.isfinite(alpha) and alpha > 0):
            raise ConfigError("Mix-up needs a positive alpha.", expected="a number above 0", got=str(alpha), remedy="0.2 is usual")
        self.alpha = alpha

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``share`` (B,) in [0.5, 1] and ``partner`` (B,), the row to mix with."""
        share = draw_beta(derive_keys(keys, "share"), self.alpha)
        order = derive_keys(keys, "partner").argsort(stable=True)
        partner = torch.empty_like(order)
        partner[order] = order.roll(-1)
        return {"share": torch.maximum(share, 1.0 - share), "partner": partner}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Mix waveforms, class probabilities and dimensions of the selected clips."""
        if subject.features:
            raise ConfigError(
                "Mix-up changes waveforms and would leave named features as they were.",
                expected="a batch without named features",
                got=", ".join(subject.features),
                remedy="compute the features from the waveform, or leave mix-up out",
            )
        partner = parameters["partner"]
        share = parameters["share"][:, None]  # (B, 1)
        chosen = selected[:, None]

        def mix(values: Tensor) -> Tensor:
            part = share.to(values.dtype)
            return part * values + (1 - part) * values[partner]

        waveforms = torch.where(chosen, mix(subject.waveforms), subject.waveforms)
        lengths = torch.where(selected, torch.maximum(subject.lengths, subject.lengths[partner]), subject.lengths)
        probabilities = subject.class_probabilities
        if probabilities is None and subject.classes is not None:
            if not subject.class_names and bool((subject.classes >= 0).any()):
                raise ConfigError(
                    "Mix-up has to know how many classes there are.",
                    expected="batch.class_names in the order of the class indices",
                    got="classes without names",
                    remedy="give the collation its class_names; a data module of this suite does so by itself",
                )
            probabilities = classes_to_probabilities(subject.classes, len(subject.class_names))
        if probabilities is not None:
            has_class = probabilities.sum(dim=1, keepdim=True) > 0
            mixed = torch.where(has_class & has_class[partner], mix(probabilities), torch.zeros_like(probabilities))
            probabilities = torch.where(chosen, mixed, probabilities)
        dimensions, mask = subject.dimensions, subject.dimension_mask
        if dimensions is not None:
            known = ~dimensions.isnan() if mask is None else mask
            known = torch.where(chosen, known & known[partner], known)
            missing = torch.full_like(dimensions, torch.nan)
            dimensions = torch.where(known, torch.where(chosen, mix(dimensions), dimensions), missing)
            mask = known
        return replace(
            subject,
            waveforms=waveforms,
            lengths=lengths,
            class_probabilities=probabilities,
            dimensions=dimensions,
            dimension_mask=mask,
        )
