"""One of the processes that make a single SGD step over a batch that they share; also called for the one process it must equal."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.records import TeacherRecord
from ser_kd.data.resumable_loader import ResumableLoader
from ser_kd.data.sampling import KeyedBatchSampler, Place
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.gathering import Share, gather_rows
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.views import Views
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.decoupled import Decoupled
from ser_kd.losses.relational import RelationalAngle, RelationalDistance
from ser_kd.losses.soft_targets import SoftTargets
from ser_kd.losses.supervised_contrastive import SupervisedContrastive
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.heads import LinearHead
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.shared_statistics import share_statistics
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.speech_model import SpeechModel
from ser_kd.transforms.mixup import MixUp

CLASSES = ("neutral", "angry", "sad")
CLIPS = 11
WEIGHTS = {  # of an objective in which every term counts
    "cross_entropy": (CrossEntropy(class_weights=[1.0, 2.0, 0.5]), 1.0),
    "soft_targets": (SoftTargets(temperature=2.0), 1.0),
    "decoupled": (Decoupled(temperature=2.0), 0.5),
    "distance": (RelationalDistance(), 2.0),
    "angle": (RelationalAngle(), 2.0),
    "contrastive": (SupervisedContrastive(), 0.1),
}
FRAMES = {"attention": (AttentionTransfer(map_frames=4), 1.0)}
VARIANTS = {  # name -> (terms, views, what batch normalisation does)
    "still": (WEIGHTS, None, "still"),
    "pooled": ({**WEIGHTS, **FRAMES}, None, "pooled"),
    "mixed": (WEIGHTS, Views(both=MixUp(probability=1.0)), "pooled"),
}


class Samples(nn.Module):
    """Stretches of 8 samples as frames."""

    width = 8

    def forward(self, inputs: ModelInput) -> Features:
        return Features(inputs.waveforms.unflatten(1, (-1, 8)), inputs.lengths // 8)


class Clips:
    """Noise of different lengths, one clip without a class."""

    def __getitem__(self, place: Place) -> Place:
        return place


def collate(places: list[Place]) -> SpeechBatch:
    numbers = [number for _, number, *_ in places]
    lengths = torch.tensor([160 + 16 * number for number in numbers])
    waveforms = torch.zeros(len(numbers), int(lengths.max()))
    for row, (number, length) in enumerate(zip(numbers, lengths.tolist(), strict=True)):
        waveforms[row, :length] = torch.randn(length, generator=torch.Generator().manual_seed(number))
    return SpeechBatch(
        ids=[f"clip{number}" for number in numbers],
        speakers=["a"] * len(numbers),
        waveforms=waveforms,
        lengths=lengths,
        keys=torch.tensor(numbers) * 7919 + 5,
        classes=torch.tensor([-1 if number == 4 else number % 3 for number in numbers]),
        class_names=CLASSES,
        global_size=places[0][2].clips if len(places[0]) > 2 else None,
    )


def make_model(seed: int, width: int) -> SpeechModel:
    torch.manual_seed(seed)
    return SpeechModel(Crnn(8, widths=(4, width), hidden_width=4, dropout=0.0), Samples(), MeanPooling(), LinearHead, classes=3)


def make_loader(batch_size: int, rank: int, processes: int, shuffle: bool = True) -> ResumableLoader:
    sampler = KeyedBatchSampler([1] * CLIPS, batch_size, shuffle=shuffle, rank=rank, world_size=processes)
    return ResumableLoader(Clips(), sampler, collate_fn=collate)


def make_trainer(processes: int, epochs: int = 1) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", max_epochs=epochs, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )  # fmt: skip


def step(variant: str, rank: int, processes: int) -> dict[str, Tensor]:
    """Make one step of the real module over all clips at once, then judge 11 clips in batches of 4: the last has fewer than one might
    like. Give loss, weights, predictions and metrics."""
    terms, views, norms = VARIANTS[variant]
    teacher = TeacherEnsemble([TeacherMember(make_model(9, 6), TeacherRecord("teacher", None, None, None, [], 1))], CLASSES)
    student = make_model(1, 4)
    if norms == "pooled" and processes > 1:
        share_statistics(student)
    if norms == "still":
        for part in student.modules():
            if isinstance(part, MaskedBatchNorm):
                part.eval()
                part.train = lambda mode=True, part=part: part  # type: ignore[method-assign]
    objective = Objective({name: {"loss": loss, "weight": weight} for name, (loss, weight) in terms.items()})
    module = DistillationModule(student, objective, CLASSES, teacher, views, optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1))
    trainer = make_trainer(processes)
    trainer.fit(module, make_loader(CLIPS, rank, processes))
    found = {"loss": torch.tensor(module.means.finished["loss"]), **{name: value.clone() for name, value in student.state_dict().items()}}
    trainer.test(module, make_loader(5, rank, processes, shuffle=False), verbose=False)  # 5, 5 and 1 clips
    rows = module.predictions["test"]
    found["order"] = torch.tensor([int(row["id"].removeprefix("clip")) for row in rows])
    found["probabilities"] = torch.tensor([row["probability_sad"] for row in rows])
    result = module.results["test"]
    found["confusion"] = torch.tensor(result.confusion)
    found["metrics"] = torch.tensor([result.values[name] for name in sorted(result.values)], dtype=torch.float64)
    return found


class BareModule(lightning.LightningModule):
    """Relational distance over the clips of all processes, without anything else of ours around it."""

    def __init__(self, processes: int) -> None:
        super().__init__()
        self.model, self.teacher = make_model(1, 4), [make_model(9, 6).eval()]
        self.model.eval()
        self.processes = processes
        self.loss = torch.zeros(())

    def training_step(self, batch: SpeechBatch, batch_index: int) -> Tensor:
        mine = self.model.eval()(batch.model_input()).embedding
        theirs = self.teacher[0](batch.model_input()).embedding.detach()
        if self.processes > 1:
            mine, theirs = gather_rows([mine, theirs], Share(CLIPS, self.global_rank, self.processes))
        loss = RelationalDistance().compare(mine, theirs)
        self.loss = loss.detach()
        return loss * self.processes  # each process holds the gradient of its own rows, and Lightning takes the mean

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.encoder.parameters(), lr=0.1)


def step_bare(rank: int, processes: int) -> dict[str, Tensor]:
    module = BareModule(processes)
    module.model.head.requires_grad_(False)
    make_trainer(processes).fit(module, make_loader(CLIPS, rank, processes))
    return {"loss": module.loss, **module.model.state_dict()}


def step_all(rank: int, processes: int) -> dict[str, dict[str, Tensor]]:
    return {"bare": step_bare(rank, processes), **{name: step(name, rank, processes) for name in VARIANTS}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rank = int(os.environ["LOCAL_RANK"])
    found = step_all(rank, 2)
    torch.save(found, Path(sys.argv[1]) / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
