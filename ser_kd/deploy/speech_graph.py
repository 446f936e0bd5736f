"""A trained model as one function of tensors, from raw waveform to probabilities or dimensions: what is exported."""

from __future__ import annotations

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.shapes import check_rank
from ser_kd.deploy.filled_wav2small import FilledWav2Small
from ser_kd.deploy.lean_wav2small import LeanWav2Small
from ser_kd.frontends.convolutional_stft import ConvolutionalStft
from ser_kd.models.encoders.wav2small import Wav2Small
from ser_kd.models.named_features import check_hears_waveform
from ser_kd.models.pooling import ChannelAttentionPooling
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.unlearned_dimensions import list_known_dimensions

LARGEST_KERNELS = 128
"""Samples of a Fourier transform up to which kernels are faster than the factored form."""

Padding = Literal["masked", "center", "right", "tile"]

INFERENCE_FORMS = {"fp32": LeanWav2Small, "int8": FilledWav2Small}
"""Precision -> what stands for a Wav2Small and its pooling in the graph that it is made from; other precisions take the plain form."""


class FittedClip(nn.Module):
    """Brings clips to the length the model was trained on, as ``data.collate.SpeechCollation`` does, within the graph.

    Args:
        clip_samples: Longest clip; a longer one is cropped in its middle. None keeps clips whole ("masked" only).
        padding: "masked" leaves zeros behind the clip and tells its length; "center" and "right" fill ``clip_samples`` with zeros that
            count as signal, "tile" with the clip again and again.

    Raises:
        ConfigError: If a fixed padding has no length.
    """

    def __init__(self, clip_samples: int | None = None, padding: Padding = "masked") -> None:
        super().__init__()
        if padding not in get_args(Padding) or (padding != "masked" and not clip_samples):
            raise ConfigError(
                "The length of exported clips is not clear.",
                expected="padding masked, or center, right or tile with clip_samples",
                got=f"padding={padding}, clip_samples={clip_samples}",
                remedy="take both from the run's datamodule",
            )
        self.clip_samples = clip_samples
        self.padding = padding

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Fit clips.

        Args:
            waveforms: (B, T); whatever stands behind a length is not heard.
            lengths: (B,) int64 valid samples.

        Returns:
            (B, T') and its lengths (B,), None where all of T' counts as signal.
        """
        if self.clip_samples is None:
            return waveforms, lengths
        width = self.clip_samples if self.padding != "masked" else waveforms.shape[1]
        whole = lengths[:, None]
        kept = whole.clamp_max(self.clip_samples)
        start = (width - kept) // 2 if self.padding == "center" else torch.zeros_like(kept)
        position = torch.arange(width, device=waveforms.device) - start  # (B, T'), within the kept stretch
        if self.padding == "tile":
            position = position.remainder(kept.clamp_min(1))
        source = (position + (whole - kept) // 2).clamp(0, waveforms.shape[1] - 1)
        fitted = torch.where((position >= 0) & (position < kept), waveforms.gather(1, source), torch.zeros((), device=waveforms.device))
        return (fitted, None) if self.padding != "masked" else (fitted, kept[:, 0])

    def describe(self, sample_rate_hz: int) -> str:
        """Tell in words what happens to a clip."""
        if self.clip_samples is None:
            return "clips stay whole; zeros behind the length are masked"
        length = f"{self.clip_samples:,} samples ({self.clip_samples / sample_rate_hz:.2f} s)"
        if self.padding == "masked":
            return f"clips longer than {length} are cropped in their middle; zeros behind the length are masked"
        if self.padding == "tile":
            return f"clips are repeated until {length} are full; longer ones are cropped in their middle"
        place = "centred in" if self.padding == "center" else "put at the beginning of"
        return f"clips are {place} {length} of zeros that count as signal; longer ones are cropped in their middle"


class SpeechGraph(nn.Module):
    """Waveforms -> answer, embedding, features: the training front-end, the network, calibration and softmax as one function.

    It works on a copy of the model in evaluation mode, with Fourier transforms as matrix products and weight parametrisations
    resolved, and hears nothing but waveforms.

    Args:
        model: Trained.
        clip: How clips are brought to length.
        temperature: What the logits are divided by before the softmax.
        precision: What the graph is made for, fp32, int8 or fp16: parts that have a form of their own for it take it. None leaves all parts
            as they were trained.

    Raises:
        ConfigError: If the model cannot answer from sound alone.
    """

    def __init__(self, model: SpeechModel, clip: FittedClip, temperature: float = 1.0, precision: str | None = "fp32") -> None:
        super().__init__()
        if model.frontend is None or model.head is None:
            raise ConfigError(
                "Only a model from sound to an answer can be exported.",
                expected="a model with a front-end that hears waveforms, and a head",
                got="no front-end" if model.frontend is None else "no head",
                remedy="export the student; teachers of text stay where they are",
            )
        if model.reads_text:
            raise ConfigError(
                "A model that reads transcripts cannot be exported.",
                expected="a model that answers from sound alone",
                got="one with a part that reads",
                remedy="export a student that it teaches",
            )
        check_hears_waveform(model, "exported", "export the student that it teaches")
        self.clip = clip
        self.model = prepare_for_export(model)
        known = list_known_dimensions(model)
        self.known_dimensions = None if len(known) == len(DIMENSIONS) else [DIMENSIONS.index(name) for name in known]
        self.model.unlearned_dimensions = ()  # what was never learned is left out of the graph
        use_inference_form(self.model, precision)
        self.temperature = temperature

    def forward(self, waveform: Tensor, length: Tensor) -> dict[str, Tensor]:
        """Answer about clips.

        Args:
            waveform: (B, T) float32.
            length: (B,) int64 valid samples.

        Returns:
            ``probabilities`` (B, C), ``dimensions`` (B, 3, or as many as were learned) or both, ``embedding`` (B, D), ``features``
            (B, F, D') and, where frames are masked and are not the samples themselves, ``feature_lengths`` (B,).

        Raises:
            ConfigError: If the model gives neither classes nor dimensions.
        """
        check_rank(waveform, 2, "waveform", "(batch, samples)")
        fitted, lengths = self.clip(waveform, length)
        features = self.model.extract(ModelInput(fitted, lengths))
        outputs = self.model.answer(features)
        answer = {}
        if outputs.logits is not None:
            answer["probabilities"] = torch.softmax(outputs.logits / self.temperature, dim=1)
        if outputs.dimensions is not None:
            known = self.known_dimensions
            answer["dimensions"] = outputs.dimensions if known is None else outputs.dimensions[:, known]
        if not answer:
            raise ConfigError("The model answers nothing.", expected="classes or dimensions", got="an embedding", remedy="give it a head")
        # lengths handed on as they came are the graph's own input, which cannot bear a second name
        frame_lengths = None if features.lengths is lengths else features.lengths
        inner = {"embedding": outputs.embedding, "features": features.frames, "feature_lengths": frame_lengths}
        return answer | {name: tensor for name, tensor in inner.items() if tensor is not None}


def has_inference_forms(model: SpeechModel) -> bool:
    """Whether graphs of this model differ from precision to precision."""
    return isinstance(model.encoder, Wav2Small) and isinstance(model.pooling, ChannelAttentionPooling)


def use_inference_form(model: SpeechModel, precision: str | None) -> None:
    """Put parts that have a form of their own for a precision in the place of the trained ones.

    Args:
        model: In evaluation mode; changed in place.
        precision: fp32, int8 or fp16; None changes nothing.
    """
    form = INFERENCE_FORMS.get(precision or "")
    if form is not None and isinstance(model.encoder, Wav2Small) and isinstance(model.pooling, ChannelAttentionPooling):
        model.encoder, model.pooling = form(model.encoder, model.pooling).eval().requires_grad_(False), None


def prepare_for_export(model: SpeechModel) -> SpeechModel:
    """Copy a model for export: evaluation mode, Fourier transforms as matrix products, weights without parametrisations."""
    model = copy.deepcopy(model).cpu().eval()
    model.feature_transforms = ()
    for module in model.modules():
        if isinstance(module, ConvolutionalStft):
            module.form = "convolution" if module.n_fft <= LARGEST_KERNELS else "factored"
        if parametrize.is_parametrized(module):
            # torch makes a class for each parametrised module and a copy shares it: resolved there, the original would lose its weights
            shared = type(module)
            module.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    return model.requires_grad_(False)
