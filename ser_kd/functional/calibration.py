"""One temperature that makes a model's probabilities mean what they say."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.shapes import check_finite, check_rank

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """Find the T that minimises the mean of -log softmax(z / T)[y] over labelled clips.

    The loss is convex in 1 / T, so there is one minimum; where every clip is right (or wrong) it lies at the end of the
    range, 0.05 to 20. Dividing by T changes no decision, only how sure the model says it is.

    Args:
        logits: (N, C) before softmax, of clips the model was not trained on.
        classes: (N,) int64; clips with -1 are left out.

    Returns:
        T in [0.05, 20].

    Raises:
        DataError: If no clip has a class.
        ShapeError: If shapes do not fit or a logit is not finite.

    Source:
        Guo et al.: On Calibration of Modern Neural Networks, 2017, section 4.2.
    """
    check_rank(logits, 2, "logits", "(N, C)")
    check_finite(logits, "logits")
    labelled = classes >= 0
    if not bool(labelled.any()):
        raise DataError(
            "A calibration temperature needs labelled clips.",
            expected="at least one clip with a class",
            got=f"{len(classes)} clips without any",
            remedy="give validation clips with labels, or leave calibration out (calibrate=false; of a teacher teacher.calibrate=false)",
        )
    wide, targets = logits[labelled].double(), classes[labelled]

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(wide / math.exp(log_temperature), targets))

    bounds = (math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)
