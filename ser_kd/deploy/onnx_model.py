"""A model file opened by ONNX Runtime, checked before it is asked anything."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.engines import count_cores
from ser_kd.deploy.model_metadata import ModelMetadata

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Our names of what computes -> ONNX Runtime's."""

INPUTS = ("waveform", "length")
_SILENT = 4  # of ONNX Runtime's log: what matters arrives as an exception or is checked


class OnnxModel:
    """A model of ours, ready to answer.

    Args:
        path: The ONNX file.
        providers: ONNX Runtime's providers or our names (``cpu``, ``cuda``), best first; None is the CPU, and CUDA for an fp16 model.
        threads: Threads of one answer; None is as many as this process may use.

    Attributes:
        path: The ONNX file.
        metadata: What it says about itself.
        providers: What really computes.

    Raises:
        DataError: If the file is missing, no ONNX file, not ours, or its metadata and graph contradict each other.
        ConfigError: If a provider is unknown or cannot be used here, or an fp16 model has no CUDA and nobody asked for the CPU by name.
    """

    def __init__(self, path: Path, providers: Sequence[str] | str | None = None, threads: int | None = None) -> None:
        self.path = path
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no such file"
            raise DataError(
                "Model file is missing.",
                expected="an ONNX file made by 'ser-kd export'",
                got=f"{path}: {kind}",
                remedy="check the path, or export a run: ser-kd export run=RUN_FOLDER",
            )
        asked = [providers] if isinstance(providers, str) else list(providers or [])
        wanted = [PROVIDERS.get(name, name) for name in asked] or [PROVIDERS["cpu"]]
        _check_providers(wanted)
        # Metadata stands in the session only, so the CPU reads it before anything else is tried.
        self._session = _open_session(path, wanted, threads)
        self.metadata = ModelMetadata.from_properties(self._session.get_modelmeta().custom_metadata_map, str(path))
        if self.metadata.precision == "fp16" and not asked:
            wanted = [PROVIDERS["cuda"]]
            _check_providers(
                wanted, reason=f"{path} is an fp16 model, which needs CUDA; provider=cpu tries it on the processor all the same"
            )
            self._session = _open_session(path, wanted, threads)
        self.providers: list[str] = self._session.get_providers()
        if wanted[0] not in self.providers:
            raise _explain_unusable(wanted[0], f"ONNX Runtime has it but cannot use it; it would compute on {', '.join(self.providers)}")
        self._check_graph()

    def _check_graph(self) -> None:
        outputs = {node.name: node.shape for node in self._session.get_outputs()}
        for kind, wanted, there in (
            ("inputs", INPUTS, [node.name for node in self._session.get_inputs()]),
            ("outputs", (self.metadata.output, "embedding"), list(outputs)),
        ):
            if not set(wanted) <= set(there) or (kind == "inputs" and len(there) > len(wanted)):
                raise DataError(
                    f"The {kind} of the model are not those its metadata promises.",
                    expected=", ".join(wanted),
                    got=f"{self.path}: {', '.join(there)}",
                    remedy="export the run again",
                )
        width = outputs[self.metadata.output][-1] if outputs[self.metadata.output] else None
        if isinstance(width, int):
            self.metadata.check_width(width, str(self.path))

    def answer(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ask for one clip.

        Args:
            waveform: (T,) float32 at the model's rate, at least ``metadata.minimum_samples``.

        Returns:
            (C,) probabilities or (3,) dimensions, and the embedding, (D,); float32.

        Raises:
            DataError: If ONNX Runtime fails or answers anything but finite numbers, one for each name.
        """
        answers, embeddings = self.answer_batch([waveform])
        return answers[0], embeddings[0]

    def answer_batch(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Ask for several clips at once.

        Args:
            waveforms: B arrays (T,) float32 at the model's rate, each at least ``metadata.minimum_samples``.

        Returns:
            (B, C) probabilities or (B, 3) dimensions, and the embeddings, (B, D); float32.

        Raises:
            DataError: If ONNX Runtime fails or answers anything but finite numbers, one for each name.
        """
        feeds = pad_clips(waveforms)
        try:
            answer, embedding = self._session.run([self.metadata.output, "embedding"], feeds)
        except Exception as fault:  # ONNX Runtime's own kinds share no other ancestor
            raise DataError(
                "The model cannot answer.",
                expected=f"an answer to {feeds['waveform'].shape[1] / self.metadata.sample_rate_hz:.2f} s of audio",
                got=f"{self.path}: {_first_line(fault)}",
                remedy="take shorter windows (window_s=…), or export the run again",
            ) from fault
        self.metadata.check_width(answer.shape[-1], str(self.path))
        if not (np.isfinite(answer).all() and np.isfinite(embedding).all()):
            raise DataError(
                "The model answers NaN or infinity.",
                expected="finite numbers",
                got=f"{self.path}, {self.metadata.precision}, on {self.providers[0]}",
                remedy="export the run again with precision=fp32",
            )
        return answer.astype(np.float32), embedding.astype(np.float32)


def pad_clips(waveforms: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Put clips into a batch as the graph takes it.

    Args:
        waveforms: B arrays (T,) float32.

    Returns:
        ``waveform`` (B, T) float32, zero behind each clip, and ``length`` (B,) int64.
    """
    lengths = np.array([len(waveform) for waveform in waveforms], dtype=np.int64)
    if len(waveforms) == 1:
        return {"waveform": np.asarray(waveforms[0], dtype=np.float32)[None], "length": lengths}
    batch = np.zeros((len(waveforms), int(lengths.max())), dtype=np.float32)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return {"waveform": batch, "length": lengths}


def _check_providers(wanted: Sequence[str], reason: str = "") -> None:
    there = onnxruntime.get_available_providers()
    for name in wanted:
        if name not in there:
            raise _explain_unusable(name, f"this onnxruntime has {', '.join(there)}", reason)


def _explain_unusable(provider: str, found: str, reason: str = "") -> ConfigError:
    gpu = "install onnxruntime-gpu in place of onnxruntime, on a machine with an NVIDIA GPU; or take provider=cpu"
    return ConfigError(
        f"{provider} cannot be used here.",
        expected=reason or "a provider that this machine and its onnxruntime have",
        got=found,
        remedy=gpu if provider == PROVIDERS["cuda"] else "take provider=cpu",
    )


def _open_session(path: Path, providers: Sequence[str], threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    # Said outright: left alone, ONNX Runtime counts the machine's cores and not those this process may use.
    options.intra_op_num_threads = threads or count_cores()
    options.inter_op_num_threads = 1
    # A plan of memory is kept for every length ever heard, and a folder of clips has as many lengths as clips.
    options.enable_mem_pattern = False
    if PROVIDERS["cuda"] in providers:
        onnxruntime.set_default_logger_severity(_SILENT)
        with contextlib.redirect_stdout(io.StringIO()):  # CUDA's libraries out of pip's packages; it prints what it does not find
            onnxruntime.preload_dlls()
    try:
        return onnxruntime.InferenceSession(path, options, providers=list(providers))
    except Exception as fault:  # ONNX Runtime's own kinds share no other ancestor
        is_onnx = not any(words in str(fault) for words in ("INVALID_PROTOBUF", "No graph was found"))
        raise DataError(
            "The model file cannot be loaded." if is_onnx else "This is no whole ONNX file.",
            expected="an ONNX file made by 'ser-kd export'",
            got=f"{path} ({path.stat().st_size:,} bytes): {_first_line(fault)}",
            remedy="copy the file again, export the run again, or install a newer onnxruntime",
        ) from fault


def _first_line(fault: Exception) -> str:
    return str(fault).strip().partition("\n")[0][:300] or type(fault).__name__
