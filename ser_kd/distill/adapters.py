"""What stands between a student's layer and a teacher's of another width or frame rate, while the student learns."""

from __future__ import annotations

from torch import Tensor, nn

from ser_kd.functional.masking import resample_frames


class LinearAdapter(nn.Module):
    """A learned linear map from the student's width to the teacher's, and area interpolation to the teacher's frames.

    It is trained with the student and lies in its checkpoint beside it, but belongs to the objective: no export, no inference and no
    parameter count of the student knows it. Layers of one width are not mapped, only brought to one rate.

    Each clip's valid stretch is interpolated to the teacher's valid stretch of the same clip, so that padding changes nothing.

    Args:
        student_width: D of the student's layer.
        teacher_width: D of the teacher's.
    """

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.projection = nn.Identity() if student_width == teacher_width else nn.Linear(student_width, teacher_width)

    def forward(self, frames: Tensor, mask: Tensor | None, size: int, target_mask: Tensor | None) -> Tensor:
        """Bring frames of the student to the teacher's.

        Args:
            frames: (B, F, D) of the student.
            mask: (B, F) bool, or None where every frame is valid.
            size: F' of the teacher.
            target_mask: (B, F') bool of the teacher, or None.

        Returns:
            (B, F', D'); zero where the teacher has no valid frame.
        """
        projected: Tensor = self.projection(frames)
        return projected if frames.shape[1] == size else resample_frames(projected, mask, size, target_mask)
