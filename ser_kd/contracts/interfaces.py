"""What each kind of part must be able to do; parts meet through these, never by importing each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.outputs import Encoded, Features, Outputs, TeacherAnswers


@runtime_checkable
class Frontend(Protocol):
    """Turns a model input into features. ``width`` is D of its frames."""

    width: int

    def __call__(self, inputs: ModelInput) -> Features: ...


@runtime_checkable
class Encoder(Protocol):
    """Turns features into frames or an embedding of ``width``.

    One that reads transcripts says so by an attribute ``reads_text = True``; clips without one are then refused before training.
    """

    width: int

    def __call__(self, features: Features) -> Encoded: ...


@runtime_checkable
class LayeredEncoder(Protocol):
    """An encoder that can hand out its hidden states.

    ``layer_widths`` lists all there are: layer number -> D, where 0 is the input of the first layer and k the output of layer k.
    ``hidden_layers`` are those it hands out, and may be set anew at any time.
    """

    hidden_layers: tuple[int, ...]

    @property
    def layer_widths(self) -> Mapping[int, int]: ...


@runtime_checkable
class BlockwiseEncoder(Protocol):
    """An encoder of blocks that can start from some of the blocks of a deeper one of its kind.

    ``layer_map`` says which of the other's blocks fill its own, bottom up and counted from 1; ``even`` spreads them evenly. Gives the
    map as it was used.
    """

    def copy_blocks(self, other: object, layer_map: Literal["even"] | Sequence[int]) -> tuple[int, ...]: ...


@runtime_checkable
class LossTerm(Protocol):
    """One term of the objective. ``needs_teacher`` is checked before the first step, and ``needs_targets`` too: a term that listens to
    labels or logits of classes says so by ``needs_targets = "classes"``, one of arousal, dominance and valence by ``"dimensions"``.

    A term that compares the clips of a batch says by an attribute ``minimum_batch`` how many it needs; smaller batches throughout
    are refused before the first step, and a smaller last batch of an epoch gives zero. One that needs the teacher's frames or hidden
    states, which are not kept in memory from epoch to epoch, says so by ``needs_teacher_frames = True``; ``teacher_layers`` then names
    them, so that a cache on disk keeps no others: layer numbers, None among them for the last frames. Without it all are kept.
    ``student_layers`` names those of the student. Both are asked for before the first step, after ``connect(student_widths,
    teacher_widths)`` of a term that has it was told the layers there are, with their widths. ``sizes`` are parts of the last value
    that are worth a line of the log: name -> scalar.

    One that learns from the labels of clips says ``needs_labels = True``; it is refused where no clip has any.

    One that is no plain mean over clips (it compares them, or divides by something else than their number) says so by
    ``needs_whole_batch = True``: where several processes share a batch it then sees logits, dimensions, embeddings and labels of all
    its clips, but no frames and no names. Others see each process's clips, and their values are averaged by clips.
    """

    needs_teacher: bool

    def __call__(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor: ...


@runtime_checkable
class Teacher(Protocol):
    """Answers about a batch without gradient. ``parameter_count`` is stated in the record.

    Speakers and ids are told beside the input, because who may answer for a clip can depend on who speaks, and answers that were
    stored are found by the clip's id; no model hears them.
    """

    @property
    def parameter_count(self) -> int: ...

    def answer(self, inputs: ModelInput, speakers: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> TeacherAnswers: ...


@runtime_checkable
class Transform(Protocol):
    """Changes a batch by draws that depend on ``batch.keys`` alone.

    One by which a clip comes out otherwise in other company says so by an attribute ``mixes_clips = True``.
    """

    def __call__(self, batch: SpeechBatch) -> SpeechBatch: ...


@runtime_checkable
class FeatureTransform(Protocol):
    """Changes feature frames in training by draws that depend on ``features.keys`` alone."""

    def __call__(self, features: Features) -> Features: ...


@runtime_checkable
class ClipSource(Protocol):
    """Noises or room responses held in memory: what transforms draw from, so that they touch no disk.

    Clip i is called ``names[i]`` and has ``lengths[i]`` samples at ``sample_rate_hz``. ``take`` cuts ``length`` samples out of the clips
    ``indices`` (N,) int64 from the samples ``offsets`` (N,) int64 on, goes round where a clip ends, and gives (N, length) float32 on the
    device of the indices, as a tensor of the caller's own.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def lengths(self) -> Tensor: ...

    @property
    def sample_rate_hz(self) -> int: ...

    def __len__(self) -> int: ...

    def take(self, indices: Tensor, offsets: Tensor, length: int) -> Tensor: ...


@runtime_checkable
class NoiseTaker(Protocol):
    """A transform whose noises can be handed in once the fold is known, because babble is mixed from its training speakers."""

    @property
    def awaits_noise(self) -> bool: ...

    def take_noise(self, bank: ClipSource) -> None: ...


@runtime_checkable
class TranscriptTaker(Protocol):
    """A transform that needs the transcripts of the fold's training clips, which are handed in once the fold is known."""

    @property
    def awaits_transcripts(self) -> bool: ...

    def take_transcripts(self, texts: Sequence[str]) -> None: ...


@runtime_checkable
class Fittable(Protocol):
    """A part with numbers that are fitted once to the training split, before step 0.

    ``distill.fitting`` calls ``begin_fit``, then ``update_fit`` for each training batch, then ``end_fit``;
    the numbers are buffers and travel with the checkpoint.
    """

    is_fitted: bool

    def begin_fit(self) -> None: ...

    def update_fit(self, inputs: ModelInput) -> None: ...

    def end_fit(self) -> None: ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Computes a named feature of a clip from its samples, outside of any model and once for all epochs.

    ``width`` is D of its frames and ``hop_s`` the seconds from one to the next: frame i begins i hops after the clip's beginning; None is
    one frame for the whole clip. ``identity`` is plain data that says what the frames depend on beside the samples: frames of another
    identity are never read from a cache. ``notice`` is what a user must know, a licence say; empty for nothing. It goes to worker
    processes, so it has to be picklable. ``extract`` takes (T,) float32 and gives (F, D) float32; it raises ``DataError`` for a clip
    that has no such feature.

    One that must stay in this process, a network say, says ``in_process = True``; one that reads says ``reads_text = True``, is asked by
    ``extract_text`` and found by the text. ``dtype`` names how rows are kept where it is not float32, and ``frames_per_s(sample_rate_hz)``
    tells their size where no hop does.
    """

    width: int
    hop_s: float | None
    notice: str

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def extract(self, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray: ...


@runtime_checkable
class FeatureHearing(Protocol):
    """A part that hears a named feature of the batch instead of the waveform."""

    @property
    def feature_name(self) -> str: ...


@runtime_checkable
class Pretrained(Protocol):
    """A part that starts from weights made elsewhere.

    It is built without them, so that it can be counted anywhere. ``models.pretrained`` loads them once before step 0, unless a
    checkpoint of our own is loaded instead, which ends the waiting too. ``source`` says where they come from, whether they are
    still to come or not; ``starts_pretrained`` is False where random weights were asked for.
    """

    source: str
    starts_pretrained: bool
    awaits_weights: bool

    def missing_weights(self) -> str: ...

    def load_weights(self) -> None: ...

    def keep_random_weights(self) -> None: ...
