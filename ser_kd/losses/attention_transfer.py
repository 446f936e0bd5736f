"""Attention transfer over time: the student is loud where the teacher is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.masking import resample_valid
from ser_kd.functional.pairwise import normalize_rows
from ser_kd.functional.softening import raise_precision
from ser_kd.losses.slots import check_same_clips, listen, take_frames


class AttentionTransfer(nn.Module):
    """The mean over clips of |q_S - q_T|^2, where q is a clip's map of activation over time at unit length.

    The map is a_f = mean_d h_fd^2 over the channels of frame f, so that the widths of both may differ. Valid frames alone are
    averaged over K equal parts of the clip, so that frame rates may differ too and padding changes nothing; then q = a / |a|,
    so that neither scale counts. Both models must hear the same stretch of the clip.

    In the paper the map lies over the pixels of an image, here over frames. Its code takes the mean over the K values instead
    of their sum; the sum lies in [0, 2] for any K, and needs no weight in the thousands.

    Clips without a valid frame on either side count nowhere; a batch of nothing else gives zero, which still has a gradient.

    Args:
        map_frames: K.
        student_layer: Number of a hidden state of the student's; None is its last ``frames``.
        teacher_layer: The same for the teacher.
        teacher: ``combined``, or the name of the member to listen to.

    Raises:
        ConfigError: If ``map_frames`` is below 2.

    Source:
        Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017, eq. 2 (p = 2, activation-based).
    """

    needs_teacher = True
    needs_teacher_frames = True

    def __init__(
        self, map_frames: int = 32, student_layer: int | None = None, teacher_layer: int | None = None, teacher: str = "combined"
    ) -> None:
        super().__init__()
        if map_frames < 2:
            raise ConfigError(
                "A map over time needs frames.",
                expected="map_frames of 2 or more",
                got=str(map_frames),
                remedy="32 is usual: about six parts a second in a clip of 5 s",
            )
        self.map_frames = map_frames
        self.student_layer = student_layer
        self.teacher_layer = teacher_layer
        self.teacher = teacher

    @property
    def teacher_layers(self) -> tuple[int | None, ...]:
        """The layer of the teacher it listens to; None are its last frames."""
        return (self.teacher_layer,)

    @property
    def student_layers(self) -> tuple[int | None, ...]:
        """The layer of the student it compares; None are its last frames."""
        return (self.student_layer,)

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compare the maps of the batch.

        Args:
            student: With the chosen frames (B, F, D).
            batch: Not used.
            teacher: With the chosen frames (B, F', D') of the same clips; they get no gradient.

        Returns:
            () at least float32, in [0, 2].

        Raises:
            ConfigError: If there is no teacher, no member of that name, or no such frames.
            ShapeError: If frames are not (B, F, D), the mask is of another size, or the two are not of the same clips.
        """
        answers = listen(teacher, self.teacher, "attention_transfer")
        mine, student_is_heard = self._map(student, self.student_layer, "student")
        with torch.no_grad():
            theirs, teacher_is_heard = self._map(answers, self.teacher_layer, f"teacher '{self.teacher}'")
        check_same_clips(len(mine), len(theirs))
        is_heard = student_is_heard & teacher_is_heard
        distances = (mine - theirs).square().sum(dim=1)
        return distances.masked_fill(~is_heard, 0.0).sum() / is_heard.sum().clamp_min(1)

    def _map(self, outputs: Outputs, layer: int | None, speaker: str) -> tuple[Tensor, Tensor]:
        """Give unit maps (B, K), and which clips have a valid frame (B,)."""
        remedy = "choose an encoder with frames (TIM-Net has none), another layer, or an objective without attention_transfer"
        frames, mask = take_frames(outputs, layer, speaker, "attention_transfer", remedy)
        if mask is not None:  # before the square, whose gradient would turn a NaN behind the end into one of the loss
            frames = torch.where(mask.unsqueeze(-1), frames, torch.zeros((), dtype=frames.dtype, device=frames.device))
        energy = raise_precision(frames).square().mean(dim=2)  # (B, F)
        is_heard = mask.any(dim=1) if mask is not None else torch.ones(len(frames), dtype=torch.bool, device=frames.device)
        return normalize_rows(resample_valid(energy, mask, self.map_frames)), is_heard
