"""The batch of all processes, put together from their shares, with the gradient of each one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers

T = TypeVar("T")
_SMALL_PARTS = ("logits", "dimensions", "embedding")
Parts = dict[tuple[str, ...], Tensor]
"""Where a tensor belongs -> the tensor; its first axis runs over clips."""


@dataclass(frozen=True)
class Share:
    """Which clips of a batch this process holds: rank, rank + W, rank + 2W, …

    Args:
        global_size: N, clips of the batch; W at least.
        rank: This process.
        processes: W.
    """

    global_size: int
    rank: int
    processes: int

    @property
    def rows(self) -> list[int]:
        """Places of this process's clips in the batch."""
        return list(range(self.rank, self.global_size, self.processes))

    @property
    def part(self) -> float:
        """This process's clips as a part of all."""
        return len(self.rows) / self.global_size


@dataclass
class WholeBatch:
    """What a loss term sees that needs the clips of all processes, in the order in which one process would hold them.

    Frames and hidden states are None, and the names of other processes' clips empty. Only this process's own rows have a gradient:
    where each process computes the same loss from all rows, the sum of their gradients is that of one process.

    Args:
        student: With logits, dimensions and embeddings of N clips.
        batch: Labels of N clips, no audio.
        teacher: As the student; None where nobody is asked.
    """

    student: Outputs
    batch: SpeechBatch
    teacher: TeacherAnswers | None


def gather_rows(parts: Sequence[Tensor], share: Share) -> list[Tensor]:
    """Put the rows of all processes together, in one exchange.

    Args:
        parts: Tensors (B, …) of this process's B clips, of any type; types and inner shapes are the same in every process.
        share: Which clips these are.

    Returns:
        Tensors (N, …) in the order of the batch; gradient flows to this process's rows.
    """
    rows, most = share.rows, -(-share.global_size // share.processes)
    flat = [part.detach().reshape(len(rows), -1).contiguous().view(torch.uint8) for part in parts]  # bytes: one exchange for all types
    mine = torch.zeros(most, sum(part.shape[1] for part in flat), dtype=torch.uint8, device=flat[0].device)
    mine[: len(rows)] = torch.cat(flat, dim=1)
    theirs = [torch.empty_like(mine) for _ in range(share.processes)]
    distributed.all_gather(theirs, mine)
    whole = torch.stack(theirs, dim=1).flatten(0, 1)[: share.global_size]  # row i of rank r stands at i W + r
    found = []
    for part, piece in zip(parts, whole.split([part.shape[1] for part in flat], dim=1), strict=True):
        gathered = piece.contiguous().view(part.dtype).reshape(share.global_size, *part.shape[1:])
        found.append(gathered.index_copy(0, torch.tensor(rows, device=part.device), part) if part.requires_grad else gathered)
    return found


def gather_whole(student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None, share: Share) -> WholeBatch:
    """Gather what loss terms hear of a batch: outputs without frames, and labels."""
    parts = {**_take_outputs("student", student), **_take_labels(batch)}
    speakers = {} if teacher is None else dict(teacher.members)
    combined_is_member = [name for name, outputs in speakers.items() if teacher is not None and outputs is teacher.combined]
    for name, outputs in speakers.items():
        parts |= _take_outputs(f"member {name}", outputs)
    if teacher is not None and not combined_is_member:
        parts |= _take_outputs("combined", teacher.combined)
    gathered = _gather_parts(parts, share)
    answers = None
    if teacher is not None:
        members = {name: _make_outputs(f"member {name}", gathered) for name in speakers}
        combined = members[combined_is_member[0]] if combined_is_member else _make_outputs("combined", gathered)
        answers = TeacherAnswers(members, combined)
    silent = replace(batch, waveforms=batch.waveforms.new_zeros(len(batch), 0), features={})
    return WholeBatch(_make_outputs("student", gathered), _make_batch(silent, gathered, share), answers)


def gather_audio(batch: SpeechBatch, share: Share) -> SpeechBatch:
    """Give the batch of all processes with its audio, for transforms that mix clips; names of other processes' clips are empty."""
    longest = torch.tensor(batch.waveforms.shape[1], device=batch.waveforms.device)
    distributed.all_reduce(longest, op=distributed.ReduceOp.MAX)
    waveforms = torch.nn.functional.pad(batch.waveforms, (0, int(longest) - batch.waveforms.shape[1]))
    parts = {("waveforms",): waveforms, **_take_labels(batch)}
    return _make_batch(batch, _gather_parts(parts, share), share)


def _gather_parts(parts: Parts, share: Share) -> Parts:
    return dict(zip(parts, gather_rows(list(parts.values()), share), strict=True))


def _take_outputs(speaker: str, outputs: Outputs) -> Parts:
    found: Parts = {(speaker, name): value for name in _SMALL_PARTS if (value := getattr(outputs, name)) is not None}
    return found | {(speaker, "embeddings", name): value for name, value in outputs.embeddings.items()}


def _make_outputs(speaker: str, parts: Mapping[tuple[str, ...], Tensor]) -> Outputs:
    own = {place[1:]: value for place, value in parts.items() if place[0] == speaker}
    named = {place[1]: value for place, value in own.items() if len(place) == 2}
    return Outputs(**{name: own.get((name,)) for name in _SMALL_PARTS}, embeddings=named)  # type: ignore[arg-type]


def _take_labels(batch: SpeechBatch) -> Parts:
    """Take what is there in every process; dimensions may be annotated in one and not in another."""
    rows = len(batch)
    dimensions = batch.waveforms.new_full((rows, 3), torch.nan) if batch.dimensions is None else batch.dimensions
    mask = ~dimensions.isnan() if batch.dimension_mask is None else batch.dimension_mask
    parts: Parts = {("lengths",): batch.lengths, ("keys",): batch.keys, ("dimensions",): dimensions, ("dimension_mask",): mask}
    for name in ("classes", "class_probabilities"):
        value = getattr(batch, name)
        if value is not None:
            parts[(name,)] = value
    return parts


def _make_batch(batch: SpeechBatch, parts: Mapping[tuple[str, ...], Tensor], share: Share) -> SpeechBatch:
    labels: dict[str, Any] = {place[0]: value for place, value in parts.items() if len(place) == 1}
    has_dimensions = bool(labels["dimension_mask"].any())
    if not has_dimensions:
        labels |= dict.fromkeys(("dimensions", "dimension_mask"))
    waveforms = labels.pop("waveforms", batch.waveforms.new_zeros(share.global_size, 0))
    return replace(
        batch,
        waveforms=waveforms,
        ids=_spread(batch.ids, "", share),
        speakers=_spread(batch.speakers, "", share),
        texts=None if batch.texts is None else _spread(batch.texts, None, share),
        groups={name: _spread(values, "", share) for name, values in batch.groups.items()},
        **labels,
    )


def _spread(values: Sequence[T], empty: T, share: Share) -> list[T]:
    own = dict(zip(share.rows, values, strict=True))
    return [own.get(row, empty) for row in range(share.global_size)]
