"""The encoder of a finished run as a front-end: what the second stage of a training hears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Features
from ser_kd.models.pretrained import fit_weights, keep_random_weights
from ser_kd.models.upstream import Upstream
from ser_kd.storage.weight_files import read_weights

UPSTREAMS = "upstreams"
"""In a run folder: the weights of the frozen upstreams that its model hears through."""

_PROBE_S = (1.0, 3.0)


class RunUpstream(nn.Module):
    """An ``Upstream`` of a finished run: waveform (or text) -> its front-end and encoder -> its last frames, for an aggregator to read.

    A frozen upstream learns nothing and says the same about a clip in every epoch. So frames that were kept are taken where the batch
    carries them under ``name``, and the network is not run. Its weights are in no checkpoint of the second stage either: they lie once
    beside the run (``file``), and ``state_dict`` leaves them out. A ``trainable`` upstream is part of the model like any other.

    Which run it is stands in ``experiment`` (found by protocol and fold, as a teacher is) or ``run``; a task fills in ``model`` and
    ``weights`` from there, so that the model can be built again from its own configuration.

    Args:
        name: Key in ``ModelInput.features`` of frames that were kept.
        experiment: The finished run's experiment.
        run: Its folder, instead; ``{fold}`` and ``{seed}`` are filled in.
        seed: Its seed; None takes the student's where there is such a run, else the lowest.
        model: Its front-end and encoder.
        weights: Hash of its weights.
        trainable: Whether it goes on learning.
        keep: How a frozen upstream's frames are kept on disk: ``float32``, ``float16`` for half the room, or None for not at all.

    Raises:
        ConfigError: If nobody filled in the model.

    Source: system 002 (Morais et al. 2022): an upstream that was fine-tuned and averaged, and is then read by a downstream network.
    """

    def __init__(
        self,
        name: str = "upstream",
        experiment: str | None = None,
        run: str | None = None,
        seed: int | None = None,
        model: Upstream | None = None,
        weights: str | None = None,
        trainable: bool = False,
        keep: Literal["float32", "float16"] | None = "float32",
    ) -> None:
        super().__init__()
        if model is None:
            raise ConfigError(
                f"Nobody filled in what the upstream '{name}' is.",
                expected=f"a finished run: its experiment, or its folder ({experiment or run or 'neither is given'})",
                got="no model",
                remedy="train through ser-kd, which finds the run, or hand over an Upstream with its front-end and encoder",
            )
        keep_random_weights(model)  # what it started from came long before: it waits for the run's own weights
        self.name = name
        self.model = model
        self.width = model.width
        self.trainable = trainable
        self.keep = keep
        self.weights = weights
        self.file: Path | None = None
        self.source = experiment or run or "a model handed over"
        self.starts_pretrained = False
        self.awaits_weights = weights is not None
        self.is_kept = False
        if not trainable:
            model.requires_grad_(False)
        self._prefix = ""
        self.register_load_state_dict_post_hook(_forgive_upstream)

    @property
    def reads_text(self) -> bool:
        """Whether it reads transcripts."""
        return self.model.reads_text

    def forward(self, inputs: ModelInput) -> Features:
        """Give the upstream's last frames.

        Returns:
            Frames (B, F, D) and their lengths (B,), None where all are valid.

        Raises:
            ConfigError: If its weights were never loaded, or its encoder gives no frames.
        """
        kept = None if self.trainable else inputs.features.get(self.name)
        if kept is not None:
            return Features(kept[0], kept[1], inputs.texts, inputs.keys)
        self.check_has_weights()
        return self.listen(inputs)

    def listen(self, inputs: ModelInput) -> Features:
        """Run the upstream."""
        return self.model(inputs)

    def rely_on_kept_frames(self) -> None:
        """Wait for no weights: every batch will carry the frames."""
        self.is_kept = True
        self.awaits_weights = False

    def missing_weights(self) -> str:
        """Say nothing: the run was found, or it was told that there is none."""
        return ""

    def load_weights(self) -> None:
        """Load the run's weights from ``file``; does nothing where none are awaited.

        Raises:
            ConfigError: If nobody says where they lie.
            DataError: If the file is missing, damaged or of another network.
        """
        if not self.awaits_weights:
            return
        if self.file is None:
            self.check_has_weights()
        elif not self.file.is_file():
            raise DataError(
                f"The weights of the upstream '{self.name}' are gone.",
                expected=f"the weights of {self.source}",
                got=f"{self.file}: no such file",
                remedy="copy the whole run folder, or train the run again",
            )
        else:
            fit_weights(self.model, read_weights([self.file]), str(self.file))
            self.awaits_weights = False

    def keep_random_weights(self) -> None:
        """Wait no longer: random weights do for counts and shapes."""
        self.awaits_weights = False

    def check_has_weights(self) -> None:
        """Check that the upstream can be run.

        Raises:
            ConfigError: If its weights were never loaded.
        """
        if self.awaits_weights or self.is_kept:
            raise ConfigError(
                f"The upstream '{self.name}' has no weights here.",
                expected=f"those of {self.source}" + (f", or batches that carry its frames as '{self.name}'" if self.is_kept else ""),
                got="a model whose weights were never loaded",
                remedy="load the finished run as a whole (ser_kd.tasks.finished_runs.load_student)",
            )

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Give what a checkpoint holds: nothing of a frozen upstream."""
        if self.trainable:
            return super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        return {} if destination is None else destination

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        self._prefix = prefix
        super()._load_from_state_dict(state_dict, prefix, *args)


def _forgive_upstream(module: nn.Module, incompatible_keys: Any) -> None:
    """A checkpoint of a frozen upstream's model lacks it; that of a trainable one brings it."""
    if not isinstance(module, RunUpstream):
        return
    if module.trainable:
        module.keep_random_weights()
    else:
        missing = incompatible_keys.missing_keys
        missing[:] = [name for name in missing if not name.startswith(f"{module._prefix}model.")]


def list_upstreams(model: nn.Module) -> list[RunUpstream]:
    """List the upstreams of a model."""
    return [part for part in model.modules() if isinstance(part, RunUpstream)]


def load_upstreams(model: nn.Module, run: Path) -> None:
    """Load the upstreams of a finished run's model from the run's own folder.

    Raises:
        DataError: If they are gone or damaged.
    """
    for part in list_upstreams(model):
        part.file = run / UPSTREAMS / f"{part.name}.safetensors"
        part.load_weights()


@contextmanager
def whole_model(model: nn.Module, inputs: ModelInput) -> Iterator[ModelInput]:
    """Let a model run its upstreams, to be counted; gives the input without frames that were kept.

    Upstreams whose weights are at hand are loaded, for a reader's vocabulary comes with them; random weights do for the others.
    """
    parts = list_upstreams(model)
    were_kept = [part.is_kept for part in parts]
    for part in parts:
        part.awaits_weights = part.file is not None and (part.awaits_weights or part.is_kept)
        part.is_kept = False
        part.load_weights()
    names = {part.name for part in parts}
    try:
        yield replace(inputs, features={name: kept for name, kept in inputs.features.items() if name not in names})
    finally:
        for part, was_kept in zip(parts, were_kept, strict=True):
            part.is_kept = was_kept


class UpstreamExtractor:
    """Computes an upstream's frames clip by clip, for a cache.

    Frames depend on the upstream's weights and on the clip, on nothing else: each clip is heard whole and alone. The network is loaded
    when the first clip is asked for, so a cache that is complete never touches it.

    Args:
        upstream: The upstream, with ``file`` and ``weights``.
        device: Where it runs.
        dtype: ``float32``, or ``float16`` for half the room.

    Raises:
        ConfigError: If the dtype is something else.
    """

    notice = ""
    in_process = True  # the network is large, and on a GPU
    hop_s: float | None = None  # a cached clip is whole

    def __init__(self, upstream: RunUpstream, device: str = "cpu", dtype: str = "float32") -> None:
        if dtype not in ("float32", "float16"):
            raise ConfigError("Frames cannot be kept so.", expected="float32 or float16", got=str(dtype), remedy="set the upstream's keep")
        self._upstream = upstream
        self.device = device
        self.dtype = np.dtype(dtype)
        self.width = upstream.width
        self.reads_text = upstream.reads_text

    @property
    def identity(self) -> Mapping[str, Any]:
        """Weights and precision."""
        return {"upstream": self._upstream.weights, "dtype": self.dtype.name}

    def frames_per_s(self, sample_rate_hz: int) -> float:
        """Measure how many frames a second of audio makes."""
        if self.reads_text:
            return 0.0
        counts = [len(self.extract(np.zeros(round(s * sample_rate_hz), dtype=np.float32), sample_rate_hz)) for s in _PROBE_S]
        return (counts[1] - counts[0]) / (_PROBE_S[1] - _PROBE_S[0])

    def extract(self, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """Compute the frames of a clip; (T,) float32 -> (F, D).

        Raises:
            DataError: If a value is not finite, or too large for float16.
        """
        return self._listen(ModelInput(torch.from_numpy(samples)[None], torch.tensor([len(samples)])))

    def extract_text(self, text: str) -> np.ndarray:
        """Compute the frames of a text, one for each word piece: (F, D); errors as ``extract``."""
        return self._listen(ModelInput(torch.zeros(1, 0), torch.tensor([0]), [text]))

    @torch.inference_mode()
    def _listen(self, heard: ModelInput) -> np.ndarray:
        upstream = self._upstream
        upstream.load_weights()
        upstream.to(self.device).eval()
        features = upstream.listen(heard.to(self.device))
        if features.frames is None:  # an upstream always gives some; told to the type checker
            raise RuntimeError("the upstream gives no frames")
        length = features.frames.shape[1] if features.lengths is None else int(features.lengths[0])
        values = features.frames[0, :length].float().cpu().numpy().astype(self.dtype)
        if not np.isfinite(values).all():
            raise DataError(
                "The upstream's frames are not finite.",
                expected=f"finite numbers in {self.dtype.name}",
                got=f"{int((~np.isfinite(values)).sum())} of {values.size} are not",
                remedy="set the upstream's keep=float32, or listen to the clip",
            )
        return values
