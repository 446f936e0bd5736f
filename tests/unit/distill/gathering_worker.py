"""One of several processes that gather their shares of a batch; also called for the whole batch alone."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.gathering import Share, WholeBatch, gather_audio, gather_rows, gather_whole
from ser_kd.losses.concordance import Concordance

CLIPS, PROCESSES = 5, 2


def make_parts(rows: list[int]) -> list[torch.Tensor]:
    """Tensors of all kinds of types and axes."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(CLIPS, 3, generator=generator)
    return [
        wide[rows],
        wide.bfloat16()[rows],
        torch.arange(CLIPS)[rows],
        torch.tensor([True, False, True, True, False])[rows],
        torch.randn(CLIPS, 2, 2, generator=generator, dtype=torch.float64)[rows],
    ]


def make_batch(rows: list[int]) -> SpeechBatch:
    """Clips of growing length; only the last has an annotation."""
    lengths = torch.tensor([10 + row for row in rows])
    waveforms = torch.zeros(len(rows), int(lengths.max()))
    for place, row in enumerate(rows):
        waveforms[place, : 10 + row] = row + 1.0
    dimensions = torch.full((len(rows), 3), torch.nan)
    if CLIPS - 1 in rows:
        dimensions[rows.index(CLIPS - 1)] = 0.5
    annotated = CLIPS - 1 in rows
    return SpeechBatch(
        ids=[f"clip{row}" for row in rows],
        speakers=[f"speaker{row}" for row in rows],
        waveforms=waveforms,
        lengths=lengths,
        keys=torch.tensor(rows) * 11,
        classes=torch.tensor(rows) % 3,
        dimensions=dimensions if annotated else None,
        dimension_mask=~dimensions.isnan() if annotated else None,
        groups={"gender": ["f"] * len(rows)},
        global_size=CLIPS,
    )


def make_teacher(rows: list[int]) -> TeacherAnswers:
    """A teacher that answers with dimensions."""
    outputs = Outputs(dimensions=make_parts(rows)[0].cos())
    return TeacherAnswers({"a": outputs}, outputs)


def follow(whole: WholeBatch) -> torch.Tensor:
    """The concordance of a whole batch with its teacher."""
    return Concordance("teacher")(whole.student, whole.batch, whole.teacher)


def gather(rank: int) -> dict[str, torch.Tensor]:
    share = Share(CLIPS, rank, PROCESSES)
    found = {f"part{number}": part for number, part in enumerate(gather_rows(make_parts(share.rows), share))}
    live = make_parts(share.rows)[0].requires_grad_()
    (gathered,) = gather_rows([live], share)
    (gathered * torch.arange(1.0, CLIPS + 1)[:, None]).sum().backward()
    found["gradient"] = live.grad
    batch = gather_audio(make_batch(share.rows), share)
    found |= {"waveforms": batch.waveforms, "keys": batch.keys, "dimensions": batch.dimensions}
    found["own"] = torch.tensor([row for row, name in enumerate(batch.ids) if name == f"clip{row}"])
    logits = make_parts(share.rows)[0]
    member = Outputs(logits=logits * 2, embeddings={"named": logits + 1})
    whole = gather_whole(Outputs(logits=logits), make_batch(share.rows), TeacherAnswers({"a": member}, member), share)
    found |= {
        "student": whole.student.logits,
        "teacher": whole.teacher.combined.logits,
        "named": whole.teacher.members["a"].embeddings["named"],
    }
    said = make_parts(share.rows)[0].requires_grad_()
    follow(gather_whole(Outputs(dimensions=said), make_batch(share.rows), make_teacher(share.rows), share)).backward()
    found["concordance_gradient"] = said.grad
    found["same"] = torch.tensor(whole.teacher.combined is whole.teacher.members["a"])
    return found


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    torch.save(gather(rank), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
