"""What a run would cost, told before it starts."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.distill.fitting import fit_statistics
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.models.costs import count_multiply_accumulates, measure_activation_bytes
from ser_kd.models.freezing import count_parameters
from ser_kd.models.pretrained import keep_random_weights
from ser_kd.models.teacher_start import start_from_teacher
from ser_kd.runtime import console
from ser_kd.tasks.training_run import TrainingRun


def describe_costs(run: TrainingRun) -> dict[str, str]:
    """Count what a run would cost, from a real forward pass on two clips, without training and without pretrained weights."""
    module = run.make_module(with_weights=False)
    start_from_teacher(module.student, [member.model for member in run.teacher.members] if run.teacher else [])  # told if it cannot be
    for missing in keep_random_weights(module.student):
        console.warn(missing)
    loader = run.data.plain_train_dataloader()
    batch = next(iter(loader))
    fit_statistics(module.student, [batch])  # for the shapes only; a real run fits to the whole split
    if run.fold.learns_dimensions:
        module.check_answers(batch.take(list(range(min(2, len(batch))))))
    counts = count_parameters(module.student)
    pair = batch.model_input().take([0, min(1, len(batch) - 1)])
    macs = count_multiply_accumulates(module.student, pair.take([0]))
    activations = measure_activation_bytes(copy.deepcopy(module.student), pair) / 2 * run.data.batch_size
    weights = counts["trainable"] * 4 * 4 + (counts["total"] - counts["trainable"]) * 4  # weights, gradients, two moments
    teacher = 4 * run.teacher.parameter_count if run.teacher else 0
    batches, gathered = len(run.data.train_dataloader()), run.config.trainer.get("accumulate_grad_batches") or 1
    steps = math.ceil(batches / gathered)
    clips = f"{run.data.batch_size} clips" if gathered == 1 else f"{gathered} x {run.data.batch_size} clips"
    epochs = run.config.trainer.max_epochs
    return {
        "student": f"{counts['trainable']:,} trainable and {counts['total']:,} total parameters (with running statistics)",
        "teacher": _describe_teacher(run.teacher),
        "cost": f"{macs / 1e6:,.1f} M multiply-accumulates for {_describe_heard(module.student, pair)}",
        "steps": f"{epochs} epochs x {steps} steps of {clips} = {epochs * steps:,} steps",
        "memory": f"about {(activations + weights + teacher) / 2**20:,.0f} MiB of tensors, beside libraries and data "
        f"(activations {activations / 2**20:,.0f}, weights and optimizer {weights / 2**20:,.0f}, teacher {teacher / 2**20:,.0f})",
        **({"learning": "; ".join(group.describe() for group in module.group_parameters())} if module.learning_rates else {}),
        "run folder": str(run.folder),
    }


def _describe_heard(student: nn.Module, heard: ModelInput) -> str:
    """Tell what the cost was measured on: samples of audio, or the word pieces of a text."""
    pieces: Any = getattr(getattr(student, "encoder", None), "word_pieces", None)
    if pieces is None or heard.texts is None:
        return f"{heard.waveforms.shape[1]:,} samples"
    return f"{len(pieces.encode(heard.texts[0] or '', student.encoder.max_tokens)):,} word pieces"  # type: ignore[union-attr]


def _describe_teacher(teacher: TeacherEnsemble | None) -> str:
    if teacher is None:
        return "none"
    runs = ", ".join(str(member.record.run or member.record.source) for member in teacher.members)
    return f"{teacher.parameter_count:,} parameters in {len(teacher.members)} model(s), frozen ({runs})"
