"""A teacher that reads from disk what it, or another run's, answered before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.answer_rows import AnswerRow, KeptParts, cut_row, join_rows
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember, hash_weights
from ser_kd.storage.tensor_shelf import TensorShelf

Places = Mapping[tuple[str, int | None], str]
"""(utterance id, random key of the view, or None where there is just the clean one) -> key on the shelf."""

_SHARD_BYTES = 128 * 2**20
_BETWEEN = "\t"  # between a member's name and a field: no YAML key holds one


class CachedTeacher:
    """Answers about a clip from a shelf of rows where one lies there, else live, and the same either way.

    Found are rows by the clip's id and, where clips are augmented before the teacher hears them, by the random key of the view: a view
    that is not on the shelf is asked live, never answered by another. Live answers are thinned and rounded as stored ones are, so that
    what is on disk changes how fast an answer comes and not what it says (up to the rounding of another batch). Rows hold what the members
    said, each by itself: combining them, for the clip's speaker too, costs nothing and is done anew.

    With a frame stride n every n-th frame stands in frames, hidden states and mask. Terms that resample over time (attention transfer) see
    a coarser course of the same clip; a term that needs frame t of both sides must be told of another frame rate.

    Args:
        teacher: Whose answers these are; asked for what is not on the shelf.
        kept: What is handed on of them.
        shelf: Rows by key; None asks live about everything.
        places: Where each clip's row lies.
    """

    def __init__(self, teacher: TeacherEnsemble, kept: KeptParts, shelf: TensorShelf | None = None, places: Places | None = None) -> None:
        self.teacher = teacher
        self.kept = kept
        self.shelf = shelf
        self.places = dict(places or {})
        self.clips_read = 0
        self.clips_asked = 0
        self._by_key = any(key is not None for _, key in self.places)

    @property
    def parameter_count(self) -> int:
        """Parameters of the teacher."""
        return self.teacher.parameter_count

    @torch.no_grad()
    def answer(self, inputs: ModelInput, speakers: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> TeacherAnswers:
        """Give the answers, from the shelf as far as they lie there.

        Args:
            inputs: What the teacher hears.
            speakers: B speakers, for cross-fitted answers.
            ids: B utterance ids; without them everything is asked live.

        Returns:
            All members and the combined answer, with what is kept of them, on the device of the inputs.
        """
        rows = self._find(inputs, ids)
        unknown = [number for number, row in enumerate(rows) if row is None]
        self.clips_asked += len(unknown)
        self.clips_read += len(rows) - len(unknown)
        if len(unknown) == len(rows):
            return self.teacher.combine_members(hear_reduced(self.teacher, self.kept, inputs), speakers)
        if unknown:
            heard = hear_reduced(self.teacher, self.kept, inputs.take(unknown))
            for place, number in enumerate(unknown):
                rows[number] = {name: cut_row(outputs, place, self.kept.frames_dtype) for name, outputs in heard.items()}
        device = inputs.waveforms.device
        found = [row for row in rows if row is not None]
        members = {member.name: join_rows([row[member.name] for row in found], device) for member in self.teacher.members}
        return self.teacher.combine_members(members, speakers)

    def _find(self, inputs: ModelInput, ids: Sequence[str] | None) -> list[dict[str, AnswerRow] | None]:
        if self.shelf is None or ids is None or (self._by_key and inputs.keys is None):
            return [None] * len(inputs.waveforms)
        keys: Sequence[int | None] = inputs.keys.tolist() if self._by_key and inputs.keys is not None else [None] * len(ids)
        places = [self.places.get(pair) for pair in zip(ids, keys, strict=True)]
        return [None if place is None or place not in self.shelf else unpack_row(self.shelf.read(place)) for place in places]


def hear_reduced(teacher: TeacherEnsemble, kept: KeptParts, inputs: ModelInput) -> dict[str, Outputs]:
    """Ask each member and leave of its answer what is kept."""
    return {name: kept.reduce(outputs) for name, outputs in teacher.hear(inputs).items()}


@torch.no_grad()
def ask_rows(teacher: TeacherEnsemble, kept: KeptParts, inputs: ModelInput) -> list[dict[str, Tensor]]:
    """Ask about a batch and give each clip's row, all members in one, as it lies on a shelf."""
    heard = hear_reduced(teacher, kept, inputs)
    return [
        {
            f"{name}{_BETWEEN}{field}": value
            for name, outputs in heard.items()
            for field, value in cut_row(outputs, number, kept.frames_dtype).items()
        }
        for number in range(len(inputs.waveforms))
    ]


def unpack_row(row: Mapping[str, Tensor]) -> dict[str, AnswerRow]:
    """Give a row of a shelf as member -> answer."""
    members: dict[str, AnswerRow] = {}
    for name, value in row.items():
        member, _, field = name.partition(_BETWEEN)
        members.setdefault(member, {})[field] = value
    return members


def fill_shelf(
    shelf: TensorShelf,
    teacher: TeacherEnsemble,
    kept: KeptParts,
    batches: Iterable[tuple[Sequence[str], ModelInput]],
    told: Callable[[int], None] = lambda clips: None,
    shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Ask about batches and put the answers on a shelf, shard by shard.

    Args:
        shelf: To be filled.
        teacher: Who is asked.
        kept: What is stored.
        batches: Keys on the shelf, and what the teacher hears.
        told: Called with the number of clips asked so far.
        shard_bytes: A shard is written when it has so many.

    Raises:
        DataError: If it cannot be written; finished shards stay.
    """
    rows: dict[str, dict[str, Tensor]] = {}
    size = clips = 0
    for keys, inputs in batches:
        for key, row in zip(keys, ask_rows(teacher, kept, inputs), strict=True):
            rows[key] = row
            size += measure_row(row)
        clips += len(keys)
        told(clips)
        if size >= shard_bytes:
            shelf.add(rows)
            rows, size = {}, 0
    if rows:
        shelf.add(rows)


def measure_row(row: Mapping[str, Tensor]) -> int:
    """Give the bytes of a row."""
    return sum(value.nbytes for value in row.values())


def differs(stored: Mapping[str, Tensor], asked: Mapping[str, Tensor], tolerance: float = 0.05) -> bool:
    """Tell whether a stored row is not what the teacher says today.

    The tolerance is that of another device or batch, far from that of another model: relative to the length of each tensor.
    """
    if stored.keys() != asked.keys() or any(stored[name].shape != value.shape for name, value in asked.items()):
        return True
    pairs = [(stored[name].double(), value.double()) for name, value in asked.items()]
    return any(float((was - now).norm()) > tolerance * float(now.norm()) + 1e-3 * now.numel() ** 0.5 for was, now in pairs)


def identify_member(member: TeacherMember) -> dict[str, str | list[int] | None]:
    """Give what a member's answers depend on: its run's configuration and weights, its classes as the student's, its calibration."""
    temperature = member.record.calibration_temperature
    return {
        "name": member.name,
        "identity": member.record.identity,
        "weights": hash_weights(member.model),
        "classes": None if member.mapping is None else list(member.mapping.positions),
        "temperature": None if temperature is None else f"{temperature:.6g}",
    }
