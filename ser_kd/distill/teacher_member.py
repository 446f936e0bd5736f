"""One frozen model of a teacher ensemble, answering in the student's classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import TeacherRecord
from ser_kd.models.run_upstream import list_upstreams


@dataclass(frozen=True)
class ClassMapping:
    """How a teacher's classes become the student's, by name.

    Args:
        positions: For each class of the teacher, its position among the student's; -1 where the student has no such class.
        width: Number of the student's classes, C.
        left_out: The teacher's classes that the student does not have; their probability is shared out over the others.
    """

    positions: tuple[int, ...]
    width: int
    left_out: tuple[str, ...] = ()

    @classmethod
    def by_name(cls, teacher_classes: Sequence[str], label_set: LabelSet, name: str) -> ClassMapping:
        """Map by name: merged classes (calm into neutral) are added, foreign ones left out.

        Args:
            teacher_classes: Classes in the order of the teacher's logits.
            label_set: The student's.
            name: Member name, for the message.

        Raises:
            ConfigError: If the teacher knows nothing of one of the student's classes.
        """
        found = [label_set.find_class(emotion) for emotion in teacher_classes]
        missing = [label for label in label_set.labels if label not in found]
        if missing:
            raise ConfigError(
                f"The teacher '{name}' has other classes than the student.",
                expected=", ".join(label_set.labels),
                got=f"{', '.join(teacher_classes)}: nothing that means {', '.join(missing)}",
                remedy="train a teacher with the same label set (protocol.label_set), or choose another",
            )
        positions = tuple(-1 if label is None else label_set.labels.index(label) for label in found)
        left_out = tuple(emotion for emotion, label in zip(teacher_classes, found, strict=True) if label is None)
        return cls(positions, len(label_set), left_out)

    @property
    def is_identity(self) -> bool:
        """Whether the teacher's logits are the student's already."""
        return self.positions == tuple(range(self.width))

    def __call__(self, logits: Tensor) -> Tensor:
        """Give (B, C) log-probabilities of the student's classes, up to a constant, for (B, C_T) logits of the teacher."""
        if self.is_identity:
            return logits
        columns = [
            torch.logsumexp(logits[:, [row for row, found in enumerate(self.positions) if found == position]], dim=1)
            for position in range(self.width)
        ]
        return torch.stack(columns, dim=1)


class TeacherMember:
    """A frozen model: evaluation mode, no gradient, on the device of what it hears.

    Deliberately no ``nn.Module``: as a plain attribute it stays out of the student's checkpoint, optimizer and parameter count, and
    ``module.train()`` cannot wake its dropout or batch statistics.

    Args:
        model: The trained model; it is frozen here.
        record: Where it comes from, what it was trained on, how large it is.
        mapping: Its classes as the student's; None where they are the same.
        features: Name -> what computes the named features that it hears, as its own run had it.
        sample_rate_hz: Rate of the audio it was trained on; None where that is not known.
        heard_audio: Hashes of the audio it was trained and selected with, as far as they are known.
        start: Hash of architecture and seed its random weights came from; empty where that is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        record: TeacherRecord,
        mapping: ClassMapping | None = None,
        features: Mapping[str, FeatureExtractor] | None = None,
        sample_rate_hz: int | None = None,
        heard_audio: frozenset[str] = frozenset(),
        start: str = "",
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.record = record
        self.mapping = mapping
        self.features = dict(features or {})
        self.sample_rate_hz = sample_rate_hz
        self.heard_audio = heard_audio
        self.start = start

    @property
    def name(self) -> str:
        """Member name."""
        return self.record.name

    @torch.no_grad()
    def hear(self, inputs: ModelInput) -> Outputs:
        """Answer in the student's classes.

        Args:
            inputs: What it hears.

        Returns:
            Its outputs, with logits (B, C) over the student's classes, divided by its calibration temperature; without logits where the
            student has none.
        """
        self.model.to(inputs.waveforms.device)
        outputs: Outputs = self.model(inputs)
        if outputs.logits is None:
            return outputs
        if self.mapping is not None and not self.mapping.width:  # the student has no classes
            return replace(outputs, logits=None)
        logits = outputs.logits if self.mapping is None else self.mapping(outputs.logits)
        temperature = self.record.calibration_temperature
        return replace(outputs, logits=logits if temperature is None else logits / temperature)


def hash_weights(model: nn.Module) -> str:
    """Hash a model's tensors by name, kind and content: 16 hexadecimal digits, alike on every machine."""
    digest = hashlib.sha256()
    for upstream in list_upstreams(model):  # whose weights are in no state dict while they are frozen
        digest.update(f"{upstream.name} {upstream.weights}".encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
