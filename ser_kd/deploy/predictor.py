"""Prediction with a model file, from a recording or a stream, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.onnx_model import OnnxModel
from ser_kd.deploy.prediction import SILENCE, Prediction, RunningMean, name_answer
from ser_kd.deploy.windows import WindowCutter, WindowLength, resolve_window
from ser_kd.storage.audio_files import check_waveform
from ser_kd.storage.audio_stream import BLOCK_VALUES, AudioStream, StreamResampler

MOST_CHANNELS = 64
"""More than any recording has: such an array lies the other way round."""


class Predictor:
    """A model file that answers to recordings.

    A recording no longer than ``metadata.window_samples`` is heard whole. A longer one is heard in windows, and its answer is the mean
    of theirs, each counting the same (the last one reaches back from the end, so the samples it shares with its neighbour count a little
    more); silent windows are left out. Recordings are read in blocks: memory does not grow with their length, unless ``window_s="whole"``
    asks for it.

    Args:
        model: An ONNX file made by ``ser-kd export``.
        providers: ONNX Runtime's providers, or ``cpu``, ``cuda``; None is the CPU, and CUDA for an fp16 model.
        threads: Threads of one answer; None is as many as this process may use.
        abstain_below: The label is None where no class is at least this probable, 0 to 1.

    Attributes:
        model: The open model.
        metadata: What the file says about itself: labels, sample rate, window, where it comes from.

    Raises:
        DataError: If the file is missing, no ONNX file, not ours, or damaged.
        ConfigError: If a provider cannot be used here, or a model of dimensions is to abstain.

    Example:
        ``Predictor("m.onnx")("a.wav").label``
    """

    def __init__(
        self, model: str | Path, providers: Sequence[str] | str | None = None, threads: int | None = None, abstain_below: float = 0.0
    ) -> None:
        self.model = OnnxModel(Path(model), providers, threads)
        self.metadata = self.model.metadata
        if not 0.0 <= abstain_below <= 1.0:
            raise ConfigError(
                "'abstain_below' is no probability.", expected="0 to 1", got=f"{abstain_below:g}", remedy="such as abstain_below=0.5"
            )
        self.abstain_below = abstain_below
        if abstain_below and self.metadata.output == "dimensions":
            raise ConfigError(
                "A model of dimensions cannot abstain.",
                expected="a model of classes with abstain_below",
                got=f"{self.model.path}: {', '.join(self.metadata.dimensions)}",
                remedy="leave abstain_below out",
            )

    def __call__(
        self,
        source: str | Path | np.ndarray,
        sample_rate_hz: int | None = None,
        window_s: WindowLength = None,
        hop_s: float | None = None,
    ) -> Prediction:
        """Give one answer for a whole recording.

        Args:
            source: A file, or samples: (T,) or (T, channels) float in about [-1, 1].
            sample_rate_hz: Rate of samples; None is the model's. A file knows its own.
            window_s: Seconds of a window, ``whole`` for no windows, None for the model's own.
            hop_s: Seconds from window to window; None is half a window.

        Raises:
            DataError: If the audio is missing, damaged, cut off, empty, silent, too short, or holds NaN.
        """
        with self._open(source, sample_rate_hz, window_s, hop_s) as (listener, blocks):
            for block in blocks:
                listener.feed(block)
            listener.finish()
            return listener.answer()

    def windows(
        self,
        source: str | Path | np.ndarray,
        sample_rate_hz: int | None = None,
        window_s: WindowLength = None,
        hop_s: float | None = None,
    ) -> Iterator[Prediction]:
        """Give the answer to each window of a recording as soon as it is heard; arguments and errors are those of a call.

        A silent window has no answer: its label is None and ``abstained`` is true.
        """
        with self._open(source, sample_rate_hz, window_s, hop_s) as (listener, blocks):
            for block in blocks:
                yield from listener.feed(block)
            yield from listener.finish()

    @contextmanager
    def _open(
        self, source: str | Path | np.ndarray, sample_rate_hz: int | None, window_s: WindowLength, hop_s: float | None
    ) -> Iterator[tuple[StreamingPredictor, Iterable[np.ndarray]]]:
        if isinstance(source, np.ndarray):
            yield StreamingPredictor(self, window_s, hop_s, sample_rate_hz, source="array"), [source]
            return
        with AudioStream(Path(source)) as audio:
            yield StreamingPredictor.of_file(self, audio, window_s, hop_s), audio.blocks()


class StreamingPredictor:
    """Answers to a stream, window by window, in memory that does not grow.

    However the stream is cut into chunks, the answers are those to the windows of the whole recording: files are heard through this class.

    Args:
        predictor: A predictor, or a model file.
        window_s: Seconds of a window; None is the model's own; ``whole`` keeps everything until ``finish``.
        hop_s: Seconds from window to window; None is half a window.
        sample_rate_hz: Rate of what is fed; None is the model's.
        source: Name of the stream in answers and errors.
        notes: Remarks that every answer carries.

    Raises:
        ConfigError: If window, hop or rate cannot be.

    Example:
        ``stream = StreamingPredictor("m.onnx", sample_rate_hz=48_000)``, then ``stream.feed(chunk)`` for each chunk and ``stream.finish()``
    """

    def __init__(
        self,
        predictor: Predictor | str | Path,
        window_s: WindowLength = None,
        hop_s: float | None = None,
        sample_rate_hz: int | None = None,
        *,
        source: str = "stream",
        notes: Sequence[str] = (),
    ) -> None:
        self._predictor = predictor if isinstance(predictor, Predictor) else Predictor(predictor)
        metadata = self._predictor.metadata
        self._rate = metadata.sample_rate_hz
        from_hz = self._rate if sample_rate_hz is None else sample_rate_hz
        if from_hz <= 0:
            raise ConfigError("No such sample rate.", expected="a rate above 0", got=f"{from_hz} Hz", remedy="give the rate of the samples")
        self.source = source
        self._notes = [*notes, *describe_rate(from_hz, self._rate)]
        self._resampler = StreamResampler(from_hz, self._rate)
        self._from_hz, self._fed = from_hz, 0
        self._cutter = WindowCutter(*resolve_window(metadata, window_s, hop_s))
        self._heard = 0  # samples at the model's rate
        self._mean = RunningMean()
        self._finished = False

    @classmethod
    def of_file(
        cls, predictor: Predictor, audio: AudioStream, window_s: WindowLength = None, hop_s: float | None = None
    ) -> StreamingPredictor:
        """Make one for the blocks of an open file, with the remarks the file calls for."""
        notes = [*audio.notes, *describe_channels(audio.channels)]
        return cls(predictor, window_s, hop_s, audio.sample_rate_hz, source=audio.name, notes=notes)

    @property
    def heard_s(self) -> float:
        """Seconds heard so far."""
        return self._heard / self._rate

    def feed(self, chunk: np.ndarray) -> list[Prediction]:
        """Take the next samples and answer to the windows they complete.

        Args:
            chunk: (N,) or (N, channels) float in about [-1, 1]; channels are averaged.

        Returns:
            As many answers as windows were completed, often none.

        Raises:
            DataError: If the chunk holds NaN, infinity or anything but floats, or the model cannot answer.
            ConfigError: If the stream was finished before.
        """
        self._check_open()
        samples = self._to_mono(np.asarray(chunk))
        self._fed += len(samples)
        answers: list[Prediction] = []
        # A chunk of any length, and of a header's absurd rate of 1 Hz, must not become a huge block at the model's rate.
        step = max(1, min(BLOCK_VALUES, BLOCK_VALUES * self._from_hz // self._rate))
        for begin in range(0, len(samples), step):
            block = self._resampler.push(samples[begin : begin + step])
            self._heard += len(block)
            answers += [self._hear(start, window) for start, window in self._cutter.push(block)]
        return answers

    def finish(self) -> list[Prediction]:
        """Answer to what is left when the stream has ended.

        Raises:
            DataError: If there was no sample at all, or fewer than the model needs.
            ConfigError: If it was finished before.
        """
        self._check_open()
        self._finished = True
        block = self._resampler.finish()
        self._heard += len(block)
        answers = [self._hear(start, window) for start, window in self._cutter.push(block)]
        if not self._heard:
            check_waveform(np.zeros(0, dtype=np.float32), self.source)
        return answers + [self._hear(start, window) for start, window in self._cutter.finish()]

    def answer(self) -> Prediction:
        """Give the mean of the answers so far, which is the recording's answer once the stream has ended.

        Raises:
            DataError: If everything so far is silent, or no window is complete.
        """
        means = self._mean.give()
        if means is None:
            is_silent = self._mean.silent > 0
            raise DataError(
                "Audio is silent: no answer is given." if is_silent else "No window is complete yet.",
                expected=f"samples above {SILENCE:g} of full scale (-80 dB)" if is_silent else "as many samples as the window has",
                got=f"{self.source}: {self.heard_s:.2f} s" + (" below it" if is_silent else ""),
                remedy="leave it out, or record it again" if is_silent else "feed more, or finish",
            )
        notes = list(self._notes)
        if self._mean.silent:
            notes.append(f"{self._mean.silent} of {self._mean.silent + self._mean.answered} windows silent, left out of the mean")
        stretch = Prediction(self.source, 0.0, self.heard_s, notes=tuple(notes))
        return name_answer(self._predictor.metadata, *means, self._predictor.abstain_below, stretch)

    def _check_open(self) -> None:
        if self._finished:
            raise ConfigError(
                "The stream is finished.",
                expected="no samples after finish()",
                got=f"{self.source}: {self.heard_s:.2f} s heard",
                remedy="make a new StreamingPredictor for the next stream",
            )

    def _hear(self, start: int, window: np.ndarray) -> Prediction:
        needed = self._predictor.metadata.minimum_samples
        if len(window) < needed:
            raise DataError(
                "Audio is too short for the model.",
                expected=f"at least {needed / self._rate:.3f} s",
                got=f"{self.source}: {len(window) / self._rate:.3f} s",
                remedy="leave it out",
            )
        stretch = Prediction(self.source, start / self._rate, (start + len(window)) / self._rate, notes=tuple(self._notes))
        if float(np.abs(window).max()) < SILENCE:
            self._mean.silent += 1
            return Prediction(stretch.source, stretch.start_s, stretch.end_s, abstained=True, notes=(*stretch.notes, "silent"))
        numbers = self._predictor.model.answer(window)
        self._mean.add(*numbers)
        return name_answer(self._predictor.metadata, *numbers, self._predictor.abstain_below, stretch)

    def _to_mono(self, chunk: np.ndarray) -> np.ndarray:
        if chunk.dtype.kind != "f" or chunk.ndim not in (1, 2):
            raise DataError(
                "These are no samples.",
                expected="(T,) or (T, channels) float in about [-1, 1]",
                got=f"{self.source}: {chunk.dtype} of shape {chunk.shape}",
                remedy="divide 16-bit integers by 32768",
            )
        if chunk.ndim == 2 and chunk.shape[1] > MOST_CHANNELS:
            raise DataError(
                "These are too many channels.",
                expected=f"(T, channels) with at most {MOST_CHANNELS} channels",
                got=f"{self.source}: shape {chunk.shape}",
                remedy="turn (channels, T), as torchaudio has it, around: waveform.T",
            )
        if chunk.ndim == 2:
            self._notes += [note for note in describe_channels(chunk.shape[1]) if note not in self._notes]
            chunk = chunk.mean(axis=1)
        samples = chunk.astype(np.float32, copy=False)
        bad = np.flatnonzero(~np.isfinite(samples))
        if len(bad):
            raise DataError(
                "Audio holds NaN or infinity.",
                expected="finite samples",
                got=f"{self.source}: the first at {(self._fed + bad[0]) / self._from_hz:.2f} s",
                remedy="write the file again from its source, or leave it out",
            )
        return samples


def describe_rate(from_hz: int, to_hz: int) -> list[str]:
    """Say what resampling means for the answer; nothing where the rates are equal."""
    notes = [f"resampled from {from_hz:,} Hz"] if from_hz != to_hz else []
    if from_hz < to_hz:
        notes.append(f"narrow-band: nothing above {from_hz // 2:,} Hz where the model heard up to {to_hz // 2:,}")
    return notes


def describe_channels(channels: int) -> list[str]:
    """Say that channels were averaged; nothing where there is one."""
    return [f"{channels} channels averaged"] if channels > 1 else []
