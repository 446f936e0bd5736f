"""Model files of a network that nobody trained, for what weights do not change: latency, size and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from ser_kd import __version__
from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.deploy.onnx_export import export_precisions, write_model
from ser_kd.deploy.onnx_model import pad_clips
from ser_kd.deploy.quantize import convert_graph
from ser_kd.deploy.speech_graph import FittedClip
from ser_kd.models.speech_model import SpeechModel

CALIBRATION_CLIPS = 4
UNCUT_WINDOW_S = 5


def export_untrained(
    model: nn.Module,
    folder: Path,
    *,
    labels: Sequence[str],
    sample_rate_hz: int,
    clip: FittedClip,
    experiment: str,
    precisions: Sequence[str],
) -> dict[str, Path]:
    """Export a model with random weights; nothing is compared with torch, and int8 is calibrated on noise where it is static.

    Args:
        model: In evaluation mode, its statistics fitted to anything.
        folder: Where the files are written.
        labels: Classes in logit order.
        sample_rate_hz: Rate of the waveform.
        clip: How clips are brought to length.
        experiment: Its experiment.
        precisions: Of ``fp32``, ``int8``, ``fp16``.

    Returns:
        Precision -> file.

    Raises:
        ConfigError: If it is no model from sound to an answer.
        ParityError: If no exporter can take it.
    """
    if not isinstance(model, SpeechModel):
        raise ConfigError("Only a SpeechModel can be exported.", expected="SpeechModel", got=type(model).__name__, remedy="leave ONNX out")
    window = clip.clip_samples or UNCUT_WINDOW_S * sample_rate_hz
    exported = export_precisions(model, clip, 1.0, precisions, window)
    first = exported[precisions[0]]
    metadata = ModelMetadata(
        output="probabilities", labels=list(labels), dimensions=[], sample_rate_hz=sample_rate_hz, minimum_samples=sample_rate_hz // 10,
        window_samples=window, padding=clip.describe(sample_rate_hz), crops=clip.clip_samples is not None, precision="fp32",
        calibration_temperature=1.0, experiment=experiment, identity="untrained", fold=0, seed=0, corpus="none", protocol="none",
        protocol_fingerprint="none", licences=["random weights"], exporter=first.exporter, opset=first.opset, ser_kd=__version__,
    )  # fmt: skip
    noise = np.random.default_rng(0).standard_normal((CALIBRATION_CLIPS, window), dtype=np.float32)
    files = {}
    for precision in precisions:
        made = convert_graph(exported[precision].proto, precision, "auto", lambda: [pad_clips([0.1 * one]) for one in noise])
        files[precision] = folder / f"model_{precision}.onnx"
        write_model(made.proto, replace(metadata, precision=precision), files[precision])
    return files
