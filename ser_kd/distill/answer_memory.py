"""A teacher's answers to clips it has heard before, kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.interfaces import Teacher
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.answer_rows import AnswerRow, KeptParts, cut_row, join_rows

Row = dict[str, AnswerRow]
"""Member (or "combined") -> the answer to one clip."""

_SMALL_PARTS = KeptParts()

_COMBINED = ""  # no member can be called so


class AnswerMemory:
    """Asks a teacher once about each clip and repeats its answers from then on.

    A clip is known by a hash of what the teacher hears (valid samples, texts, features) and of its speaker, never by its name or place,
    so an augmented or cropped clip is another clip. Kept are logits, dimensions and embeddings; frames and hidden states are
    too large and are None in every answer. Each clip is asked alone, so that its answer does not depend on the clips it came with:
    a run that was interrupted, and whose memory is empty again, hears the same to the last bit. Answers equal those to a whole batch up
    to rounding.

    Args:
        teacher: Who is asked about clips not heard before.
        capacity_bytes: When so much is kept, further clips are asked live.
    """

    def __init__(self, teacher: Teacher, capacity_bytes: int = 2**30) -> None:
        self.teacher = teacher
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0
        self._rows: dict[bytes, Row] = {}

    @property
    def parameter_count(self) -> int:
        """Parameters of the teacher."""
        return self.teacher.parameter_count

    def answer(self, inputs: ModelInput, speakers: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> TeacherAnswers:
        """Give the teacher's answers, from memory where it was asked before.

        Args:
            inputs: What the teacher hears.
            speakers: B speakers, for a teacher that needs them.
            ids: Not used.

        Returns:
            Its answers, without frames and hidden states, on the device of the inputs.
        """
        keys = _hash_clips(inputs, speakers)
        known = {key: self._rows[key] for key in keys if key in self._rows}
        news = [row for row, key in enumerate(keys) if key not in known]
        for row in news:
            answers = self.teacher.answer(inputs.take_alone(row), None if speakers is None else [speakers[row]])
            known[keys[row]] = self._keep(keys[row], {name: cut_row(outputs, 0) for name, outputs in _reduce(answers).items()})
        device = inputs.waveforms.device
        chosen = [known[key] for key in keys]
        members = {name: join_rows([row[name] for row in chosen], device) for name in chosen[0] if name != _COMBINED}
        combined = join_rows([row[_COMBINED] for row in chosen], device) if _COMBINED in chosen[0] else next(iter(members.values()))
        return TeacherAnswers(members, combined)

    def _keep(self, key: bytes, row: Row) -> Row:
        size = sum(value.numel() * value.element_size() for part in row.values() for value in part.values())
        if self.held_bytes + size <= self.capacity_bytes:
            self._rows[key] = row
            self.held_bytes += size
        return row


def _hash_clips(inputs: ModelInput, speakers: Sequence[str] | None) -> list[bytes]:
    waveforms, lengths = inputs.waveforms.detach().cpu().contiguous(), inputs.lengths.tolist()
    features = {name: (values.detach().cpu().contiguous(), valid.tolist()) for name, (values, valid) in sorted(inputs.features.items())}
    keys = []
    for row, length in enumerate(lengths):
        digest = hashlib.blake2b(digest_size=16)
        text = None if inputs.texts is None else inputs.texts[row]
        digest.update(repr((length, text, None if speakers is None else speakers[row], list(features))).encode())
        digest.update(_bytes_of(waveforms[row, :length]))
        for values, valid in features.values():
            digest.update(repr(valid[row]).encode())
            digest.update(_bytes_of(values[row, : valid[row]]))
        keys.append(digest.digest())
    return keys


def _bytes_of(values: Tensor) -> Any:
    return values.reshape(-1).view(torch.uint8).numpy()


def _reduce(answers: TeacherAnswers) -> dict[str, Outputs]:
    parts = dict(answers.members)
    if not any(answers.combined is outputs for outputs in answers.members.values()):
        parts[_COMBINED] = answers.combined
    return {name: _SMALL_PARTS.reduce(outputs) for name, outputs in parts.items()}
