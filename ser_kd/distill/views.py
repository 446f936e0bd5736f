"""What teacher and student each hear of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.interfaces import ClipSource, NoiseTaker, TranscriptTaker, Transform


@dataclass
class Views:
    """Transforms in three slots, applied in training only.

    Args:
        both: Before the branch: teacher and student hear the same augmented clip, and targets follow it (000, mix-up).
        student: The student alone (001: noise, while the teacher hears the clean clip).
        teacher: The teacher alone.
        transcripts: Training transcripts that were handed over; empty where no slot waited for any.
    """

    both: Transform | None = None
    student: Transform | None = None
    teacher: Transform | None = None
    transcripts: Sequence[str] = field(default=(), init=False)

    @property
    def mixes_clips(self) -> bool:
        """Whether what the teacher hears of a clip depends on the other clips of the batch."""
        return any(getattr(transform, "mixes_clips", False) for transform in (self.both, self.teacher))

    @property
    def mixes_any(self) -> bool:
        """Whether what anyone hears of a clip depends on the other clips of the batch."""
        return self.mixes_clips or getattr(self.student, "mixes_clips", False)

    @property
    def noise_takers(self) -> list[NoiseTaker]:
        """The slots that wait for noises."""
        slots: list[object] = [self.both, self.student, self.teacher]
        return [transform for transform in slots if isinstance(transform, NoiseTaker) and transform.awaits_noise]

    def take_noise(self, bank: ClipSource) -> None:
        """Hand noises to the slots that wait for them."""
        for transform in self.noise_takers:
            transform.take_noise(bank)

    @property
    def awaits_transcripts(self) -> bool:
        """Whether a slot waits for transcripts."""
        slots: list[object] = [self.both, self.student, self.teacher]
        return any(isinstance(transform, TranscriptTaker) and transform.awaits_transcripts for transform in slots)

    def take_transcripts(self, texts: Sequence[str]) -> None:
        """Hand the transcripts of the training clips to the slots that wait for them."""
        self.transcripts = tuple(texts)
        for transform in (self.both, self.student, self.teacher):
            if isinstance(transform, TranscriptTaker) and transform.awaits_transcripts:
                transform.take_transcripts(texts)

    def teacher_input(self, batch: SpeechBatch) -> ModelInput:
        """Give what the teacher hears alone."""
        shared = self.both(batch) if self.both is not None else batch
        return (self.teacher(shared) if self.teacher is not None else shared).model_input()

    def split(self, batch: SpeechBatch) -> tuple[SpeechBatch, ModelInput, ModelInput]:
        """Give the batch whose targets count, the student's input and the teacher's input."""
        shared = self.both(batch) if self.both is not None else batch
        student = self.student(shared) if self.student is not None else shared
        teacher = self.teacher(shared) if self.teacher is not None else shared
        return shared, student.model_input(), teacher.model_input()
