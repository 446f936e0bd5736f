"""How far an exported file is from the trained model, on real clips, and whether it may ship."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.export_record import Gate
from ser_kd.contracts.outputs import Outputs
from ser_kd.deploy.onnx_model import OnnxModel
from ser_kd.metrics.panel import MetricPanel

JUDGED = ("ua", "wa", "f1_macro", "calibration_error")
SMALLEST_PROBABILITY = 1e-12


HIGHEST = ("max_difference", "mean_difference", "ragged_difference", "shortest_difference", "ua_change", "ccc_change")
LOWEST = ("argmax_agreement",)
"""Metrics a gate may bound: those whose size may be at most the bound, and those that must be at least it."""


@dataclass(frozen=True)
class JudgedClips:
    """Clips with labels, and what the trained model says about them.

    Args:
        waveforms: N arrays (T,) float32 at the model's rate.
        labels: Ids, speakers, classes and dimensions of the N clips; its waveforms are not looked at.
        reference: (N, C) probabilities or (N, K) dimensions of the trained model, in torch.
        classes: Class names; empty where dimensions are judged.
        dimensions: The dimensions that the model learned, in the order of ``reference``.
    """

    waveforms: Sequence[np.ndarray]
    labels: SpeechBatch
    reference: Tensor
    classes: Sequence[str]
    dimensions: Sequence[str] = DIMENSIONS

    def __len__(self) -> int:
        return len(self.waveforms)


def compare_with_torch(
    model: OnnxModel,
    clips: JudgedClips,
    ask_torch: Callable[[np.ndarray], Tensor],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Compare a file with the trained model, clip by clip from the raw waveform.

    Args:
        model: The file, opened.
        clips: Real clips.
        ask_torch: Gives the trained model's answer (C,) about one waveform (T,).
        progress: Called with (done, in all).

    Returns:
        The metrics of ``ExportedFile``; ``ccc_change`` is that of the dimension that changed most.
    """

    def ask(waveforms: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(model.answer_batch(waveforms)[0])

    found = []
    for number, waveform in enumerate(clips.waveforms):
        found.append(ask([waveform])[0])
        progress(number + 1, len(clips))
    answers = torch.stack(found)  # (N, C)
    difference = (answers - clips.reference).abs()
    metrics = {"max_difference": float(difference.max()), "mean_difference": float(difference.mean())}
    if clips.classes:
        metrics["argmax_agreement"] = float((answers.argmax(dim=1) == clips.reference.argmax(dim=1)).double().mean())
    ragged = _choose_ragged(clips.waveforms)
    metrics["ragged_difference"] = float((ask([clips.waveforms[row] for row in ragged]) - answers[ragged]).abs().max())
    short = np.ascontiguousarray(clips.waveforms[0][: model.metadata.minimum_samples])
    metrics["shortest_difference"] = float((ask([short])[0] - ask_torch(short)).abs().max())
    own, trained = judge_answers(answers, clips), judge_answers(clips.reference, clips)
    for name, value in own.items():
        if name == "ccc":
            continue
        metrics |= {name: value, f"{name}_torch": trained[name], f"{name}_change": value - trained[name]}
    if not clips.classes:
        known = [metrics[f"ccc_{name}_change"] for name in DIMENSIONS if not math.isnan(metrics[f"ccc_{name}_change"])]
        metrics |= {"ccc": own["ccc"], "ccc_torch": trained["ccc"], "ccc_change": max(known, key=abs, default=math.nan)}
    return metrics


def judge_answers(answers: Tensor, clips: JudgedClips) -> dict[str, float]:
    """Judge probabilities or dimensions by the labels.

    Args:
        answers: (N, C), or (N, K) of the clips' dimensions.
        clips: The labels.

    Returns:
        ``ua``, ``wa``, ``f1_macro``, ``calibration_error`` and ``log_loss``; or ``ccc_<dimension>`` and the mean of those that are
        defined, ``ccc``.
    """
    if clips.classes:
        panel = MetricPanel(clips.classes)
        logarithms = answers.clamp_min(SMALLEST_PROBABILITY).log()
        panel.update(Outputs(logits=logarithms), clips.labels)
        values = panel.compute().values
        known = clips.labels.classes >= 0 if clips.labels.classes is not None else torch.zeros(0, dtype=torch.bool)
        loss = torch.nn.functional.nll_loss(logarithms[known].double(), clips.labels.classes[known])  # type: ignore[index]
        return {name: values[name] for name in JUDGED} | {"log_loss": float(loss)}
    panel = MetricPanel((), dimensions=True)
    said = answers.new_full((len(answers), len(DIMENSIONS)), torch.nan)
    said[:, [DIMENSIONS.index(name) for name in clips.dimensions]] = answers
    panel.update(Outputs(dimensions=said), clips.labels)
    values = {f"ccc_{name}": panel.compute().values[f"ccc_{name}"] for name in DIMENSIONS}
    defined = [value for value in values.values() if not math.isnan(value)]
    return {**values, "ccc": sum(defined) / len(defined) if defined else math.nan}


def make_gates(metrics: Mapping[str, float], bounds: Mapping[str, Any]) -> list[Gate]:
    """Hold metrics against their bounds; of a change its size counts, in both directions.

    Args:
        metrics: From ``compare_with_torch``.
        bounds: Metric -> bound; None leaves a gate out, and so does a metric that models of this kind do not have.

    Raises:
        ConfigError: If a bound is of an unknown metric.
    """
    gates = []
    for name, bound in bounds.items():
        if name not in HIGHEST + LOWEST:
            raise ConfigError(f"Unknown gate '{name}'.", expected=f"one of {', '.join(HIGHEST + LOWEST)}", got=name, remedy="correct gates")
        if bound is None or name not in metrics:
            continue
        value = abs(metrics[name]) if name.endswith("_change") else metrics[name]
        gates.append(Gate(name, value, float(bound), at_least=name in LOWEST))
    return gates


def _choose_ragged(waveforms: Sequence[np.ndarray]) -> list[int]:
    """Choose the shortest, a middling and the longest clip."""
    order = sorted(range(len(waveforms)), key=lambda row: len(waveforms[row]))
    return [order[-1], order[0], order[len(order) // 2]]
