"""Several parts in one model: their frames side by side before one encoder, or their embeddings side by side before the head."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.speech_model import SpeechModel, width_of

SPARE_FRAMES = 4
SPARE_SHARE = 0.05
"""Parts of one frame rate may differ by so many frames of a clip, or by this share of them: windows and kernels end in different places."""


class EarlyFusion(nn.Module):
    """A front-end of several: frame t of all parts side by side, to be read by one encoder.

    Parts must make frames at the same rate, which is judged by how many they make of the same clips; the longer are cut to the shortest.
    Other rates are not brought together here.

    Args:
        parts: Name -> a front-end, or an ``Upstream``, in the order of the columns.

    Raises:
        ConfigError: If there is no part, a name cannot be one, or a part reads transcripts, which have no frame rate.

    Source: Morais et al. 2022, "Speech Emotion Recognition using Self-Supervised Features" (experiment 7).
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = _name_parts(parts, "early fusion")
        self.width = sum(width_of(f"part '{name}'", part) for name, part in parts.items())
        readers = [name for name, part in parts.items() if getattr(part, "reads_text", False)]
        if readers:
            raise ConfigError(
                "Frames of a text cannot stand beside frames of sound.",
                expected="parts that hear",
                got=f"'{readers[0]}', which reads transcripts: word pieces have no frame rate",
                remedy="let it be a branch of LateFusion",
            )

    def forward(self, inputs: ModelInput) -> Features:
        """Give frames (B, F, sum of the parts' widths), F being the fewest of any part.

        Raises:
            ConfigError: If a part gives no frames, or parts make frames at different rates.
        """
        heard = {name: part(inputs) for name, part in self.parts.items()}
        frames: dict[str, Tensor] = {}
        for name, features in heard.items():
            if features.frames is None:
                raise ConfigError(
                    f"The part '{name}' gives no frames.", expected="feature frames", got="none", remedy="leave it out of the fusion"
                )
            frames[name] = features.frames
        if not torch.compiler.is_compiling():  # which covers exports: a graph must hold for any length
            _check_rates({name: part.shape[1] for name, part in frames.items()}, inputs.waveforms.shape[1])
        size = reduce(torch.sym_min, (part.shape[1] for part in frames.values()))
        joined = torch.cat([part[:, :size] for part in frames.values()], dim=2)
        known = [features.lengths for features in heard.values() if features.lengths is not None]
        # a part that knows no lengths has valid frames all along
        lengths = reduce(torch.minimum, known).clamp_max(size) if known else None
        return Features(joined, lengths, inputs.texts, inputs.keys)


class LateFusion(nn.Module):
    """An encoder of several branches, each from sound or text to an embedding of its own, which stand side by side.

    It hears the waveform front-end, which hands on texts and named features too, and each branch takes what it listens to; feature
    transforms belong to the branches. A branch that reads makes the model one that reads: clips without a transcript are refused, and it is
    in no export.

    Args:
        branches: Name -> a ``SpeechModel`` without a head, in the order of the embedding's columns.
        input_width: Width of the front-end's frames: 1, samples.

    Raises:
        ConfigError: If there is no branch, a name cannot be one, a branch has a head, or the front-end is no waveform.

    Source: Morais et al. 2022, "Speech Emotion Recognition using Self-Supervised Features" (experiments 8 and 11).
    """

    def __init__(self, branches: Mapping[str, SpeechModel], input_width: int = 1) -> None:
        super().__init__()
        if input_width != 1:
            raise ConfigError(
                "LateFusion hears samples, not features.",
                expected="a front-end of width 1 (frontend: waveform_16khz)",
                got=f"a front-end of width {input_width}",
                remedy="choose the waveform front-end; each branch has its own behind it",
            )
        self.branches = _name_parts(branches, "late fusion")
        for name, branch in branches.items():
            if not isinstance(branch, SpeechModel) or branch.head is not None:
                raise ConfigError(
                    f"The branch '{name}' gives no embedding alone.",
                    expected="a SpeechModel without a head: the head stands behind the fusion",
                    got="one with a head" if isinstance(branch, SpeechModel) else type(branch).__name__,
                    remedy=f"set student.encoder.branches.{name}.head=null",
                )
        self.width = sum(branch.width for branch in branches.values())

    @property
    def reads_text(self) -> bool:
        """Whether a branch needs the clips' transcripts."""
        return any(bool(branch.reads_text) for branch in self.branches.values())

    def forward(self, features: Features) -> Encoded:
        """Give the branches' embeddings side by side, (B, sum of their widths).

        Raises:
            ConfigError: If there is no waveform.
        """
        frames, lengths = features.frames, features.lengths
        if frames is None or frames.shape[2] != 1:
            raise ConfigError(
                "LateFusion hears samples.",
                expected="the waveform front-end (frontend: waveform_16khz)",
                got="text alone" if frames is None else f"frames of width {frames.shape[2]}",
                remedy="choose it; each branch has its own front-end behind it",
            )
        inputs = ModelInput(frames[:, :, 0], lengths, features.texts, features.named, features.keys)  # type: ignore[arg-type]
        return Encoded(None, embedding=torch.cat([branch(inputs).embedding for branch in self.branches.values()], dim=1))


def joins_frames(model: nn.Module) -> bool:
    """Whether a model joins frames of several parts, whose rates show on the first clips."""
    return any(isinstance(part, EarlyFusion) for part in model.modules())


def _name_parts(parts: Mapping[str, nn.Module], fusion: str) -> nn.ModuleDict:
    wrong = [name for name in parts if not name.isidentifier() or hasattr(nn.ModuleDict, name)]
    if not parts or wrong:
        raise ConfigError(
            f"These parts cannot be brought together by {fusion}.",
            expected="at least one part, each under a name of letters and digits",
            got=f"the name '{wrong[0]}'" if wrong else "none",
            remedy="name each part, such as hubert or wav2vec2",
        )
    return nn.ModuleDict(parts)


def _check_rates(sizes: Mapping[str, int], samples: int) -> None:
    longest, shortest = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
    if sizes[longest] - sizes[shortest] > max(SPARE_FRAMES, SPARE_SHARE * sizes[longest]):
        told = [f"'{name}' a frame every {samples / max(sizes[name], 1):.0f} samples ({sizes[name]})" for name in (longest, shortest)]
        raise ConfigError(
            "Parts make frames at different rates, so they cannot stand side by side.",
            expected="parts of the same frame rate: wav2vec 2.0, HuBERT, WavLM, data2vec and Whisper give 50 frames a second",
            got=f"of a clip of {samples:,} samples {' and '.join(told)}",
            remedy="set the hop of one to that of the other, or bring their embeddings together (LateFusion)",
        )
