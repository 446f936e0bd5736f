"""A frozen teacher that is asked anew for each batch."""

from __future__ import annotations

import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import TeacherAnswers
from ser_kd.contracts.records import TeacherRecord


class LiveTeacher:
    """One model as teacher: evaluation mode, no gradient, on the device of what it hears.

    Deliberately no ``nn.Module``: as a plain attribute it stays out of the student's checkpoint, optimizer and parameter count, and
    ``module.train()`` cannot wake its dropout or batch statistics.

    Args:
        model: The trained model; it is frozen here.
        record: Where it comes from, what it was trained on, how large it is.
    """

    def __init__(self, model: nn.Module, record: TeacherRecord) -> None:
        self.model = model.eval().requires_grad_(False)
        self.record = record
        self.parameter_count = record.parameters

    @torch.no_grad()
    def answer(self, inputs: ModelInput) -> TeacherAnswers:
        """Ask the teacher.

        Args:
            inputs: What it hears.

        Returns:
            Its answers; no tensor requires a gradient.
        """
        self.model.to(inputs.waveforms.device)
        outputs = self.model(inputs)
        return TeacherAnswers({self.record.name: outputs}, outputs)
