"""One of several processes that fill a panel each from its own share of one split."""

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs
from ser_kd.metrics.panel import MetricPanel

CLIPS = 23
CLASSES = ("neutral", "angry", "sad")
GROUPS = {"gender": ("female", "male"), "intensity": ("normal", "strong")}


def make_panel():
    return MetricPanel(CLASSES, GROUPS, dimensions=True)


def make_split():
    """A split whose first clips lack a class, a group value and annotations that the later ones have."""
    generator = torch.Generator().manual_seed(3)
    index = torch.arange(CLIPS)
    classes = torch.where(index < 9, index % 2, index % 3)
    classes[5] = -1
    dimensions = torch.rand(CLIPS, 3, generator=generator)
    dimensions[:9, 2] = torch.nan
    batch = SpeechBatch(
        ids=[str(i) for i in range(CLIPS)],
        speakers=["a"] * CLIPS,
        waveforms=torch.zeros(CLIPS, 4),
        lengths=torch.full((CLIPS,), 4),
        keys=index,
        classes=classes,
        dimensions=dimensions,
        dimension_mask=~dimensions.isnan(),
        groups={
            "gender": ["female" if i < 9 else "male" for i in range(CLIPS)],
            "intensity": ["" if i < 9 else "strong" for i in range(CLIPS)],
        },
    )
    student = Outputs(torch.randn(CLIPS, 3, generator=generator), torch.rand(CLIPS, 3, generator=generator))
    teacher = Outputs(torch.randn(CLIPS, 3, generator=generator), torch.rand(CLIPS, 3, generator=generator))
    return batch, student, teacher


def cut(part, batch, student, teacher):
    """Take some clips out of a split."""
    clips = SpeechBatch(
        ids=batch.ids[part],
        speakers=batch.speakers[part],
        waveforms=batch.waveforms[part],
        lengths=batch.lengths[part],
        keys=batch.keys[part],
        classes=batch.classes[part],
        dimensions=batch.dimensions[part],
        dimension_mask=batch.dimension_mask[part],
        groups={name: values[part] for name, values in batch.groups.items()},
    )
    return clips, Outputs(student.logits[part], student.dimensions[part]), Outputs(teacher.logits[part], teacher.dimensions[part])


# In the first pass no process sees all classes and groups; in the second one process sees nothing at all.
SHARES = {"shared": [[slice(0, 4), slice(4, 9)], [slice(9, 23)]], "alone": [[slice(0, 23)], []]}


def main(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    warnings.simplefilter("ignore")
    panel, split = make_panel(), make_split()
    for name, shares in SHARES.items():
        panel.reset()
        for part in shares[rank]:
            batch, student, teacher = cut(part, *split)
            panel.update(student, batch, teacher)
        (folder / f"{name}{rank}.json").write_text(json.dumps(asdict(panel.compute())))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
