from __future__ import annotations

from dataclasses import replace

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.fitting import fit_statistics
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.views import Views
from ser_kd.losses.concordance import Concordance
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.dimension_error import DimensionError
from ser_kd.losses.relational import RelationalAngle
from ser_kd.losses.soft_targets import SoftTargets

CLASSES = ("angry", "sad")


class Toy(nn.Module):
    """A linear model over 4 samples, with batch statistics and dropout to be kept asleep in a teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)
        self.heard: list[Tensor] = []

    def forward(self, inputs: ModelInput) -> Outputs:
        self.heard.append(inputs.waveforms.detach().clone())
        embedding = self.drop(self.norm(inputs.waveforms))
        return Outputs(logits=self.head(embedding), embedding=embedding)


def make_batch(number: int, size: int = 6) -> SpeechBatch:
    generator = torch.Generator().manual_seed(number)
    waveforms = torch.randn(size, 4, generator=generator)
    return SpeechBatch(
        [f"b{number}c{i}" for i in range(size)],
        [f"s{i % 2}" for i in range(size)],
        waveforms,
        torch.full((size,), 4),
        torch.arange(size),
        classes=(waveforms[:, 0] > 0).long(),
        groups={"gender": ["f", "m"] * (size // 2)},
    )


def loader(*numbers: int) -> DataLoader:
    return DataLoader([make_batch(n) for n in numbers], batch_size=None)


def make_teacher() -> TeacherEnsemble:
    return TeacherEnsemble([TeacherMember(Toy(), TeacherRecord("teacher", None, None, None, [], 14))], CLASSES)


def make_module(teacher: TeacherEnsemble | None = None, views: Views | None = None, alpha: float = 0.5) -> DistillationModule:
    torch.manual_seed(0)
    terms = {"cross_entropy": {"loss": CrossEntropy(), "weight": "alpha"}}
    if teacher is not None:
        terms["soft_targets"] = {"loss": SoftTargets(temperature=2.0), "weight": "1 - alpha"}
    objective = Objective(terms, alpha=alpha)  # type: ignore[arg-type]
    return DistillationModule(
        Toy(), objective, CLASSES, teacher, views, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), group_values={"gender": ["f", "m"]}
    )


def fit(module: DistillationModule, epochs: int = 2) -> lightning.Trainer:
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, loader(0, 1, 2), loader(7))
    return trainer


def test_the_teacher_stays_frozen_and_outside() -> None:
    teacher = make_teacher()
    before = {name: value.clone() for name, value in teacher.members[0].model.state_dict().items()}
    module = make_module(teacher)
    fit(module)
    for name, value in teacher.members[0].model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not teacher.members[0].model.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.members[0].model.parameters())
    assert not any("teacher" in name for name in module.state_dict())
    student_parameters = sum(p.numel() for p in module.student.parameters())
    assert sum(p.numel() for p in module.parameters()) == student_parameters
    optimized = {id(p) for group in module.trainer.optimizers[0].param_groups for p in group["params"]}
    assert optimized == {id(p) for p in module.student.parameters()}


def test_a_term_that_needs_a_teacher_is_refused_before_the_first_step() -> None:
    objective = Objective({"soft_targets": {"loss": SoftTargets(temperature=2.0)}})
    with pytest.raises(ConfigError, match="'soft_targets' needs a teacher"):
        DistillationModule(Toy(), objective, CLASSES)


def test_batches_too_small_to_compare_clips_are_refused_and_a_small_last_one_is_not() -> None:
    def fit_with(batch_size: int) -> DistillationModule:
        terms = {"relational_angle": {"loss": RelationalAngle()}}
        module = DistillationModule(Toy(), Objective(terms), CLASSES, make_teacher(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
        )
        clips = DataLoader(range(6), batch_size=batch_size, collate_fn=lambda numbers: make_batch(numbers[0], len(numbers)))  # type: ignore[arg-type]
        trainer.fit(module, clips)
        return module

    with pytest.raises(ConfigError, match=r"(?s)'relational_angle'.*at least 3 clips"):
        fit_with(2)
    trained = fit_with(4)  # 4 clips, then 2
    assert len(trained.student.heard) == 2
    assert all(torch.isfinite(p).all() for p in trained.student.parameters())


def test_the_teacher_is_asked_once_about_each_unchanged_clip_and_always_about_changed_ones() -> None:
    def count_training_clips(views: Views | None, term: nn.Module) -> int:
        teacher = make_teacher()
        objective = Objective({"cross_entropy": {"loss": CrossEntropy()}, "term": {"loss": term}})
        module = DistillationModule(Toy(), objective, CLASSES, teacher, views, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
        fit(module, epochs=3)
        return sum(len(heard) for heard in teacher.members[0].model.heard) - 6  # the validation batch, once

    class Listening(SoftTargets):
        needs_teacher_frames = True

    assert count_training_clips(None, SoftTargets(temperature=2.0)) == 18
    assert count_training_clips(Views(student=lambda batch: batch), SoftTargets(temperature=2.0)) == 18
    assert count_training_clips(Views(both=lambda batch: batch), SoftTargets(temperature=2.0)) == 54
    assert count_training_clips(Views(teacher=lambda batch: batch), SoftTargets(temperature=2.0)) == 54
    assert count_training_clips(None, Listening(temperature=2.0)) == 54


def test_views_decide_what_each_hears() -> None:
    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, batch: SpeechBatch) -> SpeechBatch:
            from dataclasses import replace

            return replace(batch, waveforms=batch.waveforms * self.factor)

    teacher = make_teacher()
    module = make_module(teacher, Views(both=Scale(2.0), student=Scale(5.0)))
    fit(module, epochs=1)
    clean = make_batch(0).waveforms
    torch.testing.assert_close(module.student.heard[0], clean * 10.0)
    torch.testing.assert_close(teacher.members[0].model.heard[0], clean * 2.0)
    torch.testing.assert_close(module.student.heard[-1], make_batch(7).waveforms)  # validation is never augmented


def test_validation_clips_are_asked_of_the_teacher_once() -> None:
    teacher = make_teacher()
    fit(make_module(teacher), epochs=3)
    heard = torch.cat(teacher.members[0].model.heard)
    assert [int((heard == clip).all(dim=1).sum()) for clip in make_batch(7).waveforms] == [1] * 6


def test_an_unused_teacher_is_not_run() -> None:
    teacher = make_teacher()
    fit(make_module(teacher, alpha=1.0), epochs=1)
    assert sum(len(heard) for heard in teacher.members[0].model.heard) == 6  # validation agreement alone


def test_results_and_predictions_cover_the_split_once() -> None:
    module = make_module(make_teacher())
    trainer = fit(module)
    trainer.test(module, loader(3, 4), verbose=False)
    rows = module.predictions["test"]
    assert [row["id"] for row in rows] == make_batch(3).ids + make_batch(4).ids
    values = module.results["test"].values
    right = [row["truth"] == row["prediction"] for row in rows]
    assert values["wa"] == pytest.approx(sum(right) / len(rows))
    assert {"ua", "f1_macro", "f1_weighted", "teacher_agreement", "ua_gender=f"} <= set(values)
    assert sum(map(sum, module.results["test"].confusion)) == len(rows)
    for row in rows:
        assert row["probability_angry"] + row["probability_sad"] == pytest.approx(1.0, abs=1e-5)


def test_statistics_come_from_training_clips_alone_and_once() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))
            self.is_fitted = False
            self.seen: list[Tensor] = []

        def begin_fit(self) -> None:
            self.seen = []

        def update_fit(self, inputs: ModelInput) -> None:
            self.seen.append(inputs.waveforms)

        def end_fit(self) -> None:
            self.mean.fill_(float(torch.cat(self.seen).mean()))
            self.is_fitted = True

    model = nn.Sequential(Mean())
    assert fit_statistics(model, loader(0, 1)) == 1
    expected = torch.cat([make_batch(0).waveforms, make_batch(1).waveforms]).mean()
    torch.testing.assert_close(model[0].mean, expected)
    assert fit_statistics(model, loader(5)) == 0
    torch.testing.assert_close(model[0].mean, expected)


class Feeling(nn.Module):
    """Answers with dimensions from the level of what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, inputs: ModelInput) -> Outputs:
        return Outputs(dimensions=self.layer(inputs.waveforms.abs().mean(dim=1, keepdim=True)))


def annotated_loader(*numbers: int) -> DataLoader:
    """Batches with annotations for all clips but the first of each."""
    batches = []
    for number in numbers:
        truth = torch.rand(6, 3, generator=torch.Generator().manual_seed(number))
        truth[0] = torch.nan
        batches.append(replace(make_batch(number), classes=None, class_names=(), dimensions=truth, dimension_mask=~truth.isnan()))
    return DataLoader(batches, batch_size=None)


def test_dimensions_are_learned_judged_and_written_down() -> None:
    objective = Objective({"concordance": {"loss": Concordance()}, "dimension_error": {"loss": DimensionError()}})
    module = DistillationModule(Feeling(), objective, [], targets="dimensions")
    batch = next(iter(annotated_loader(0)))
    module.check_answers(batch)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(module, annotated_loader(0, 1), annotated_loader(2))
    trainer.test(module, annotated_loader(3, 4), verbose=False)
    rows = module.predictions["test"]
    assert len(rows) == 12
    assert rows[0]["truth_arousal"] == ""
    truth = next(iter(annotated_loader(3))).dimensions
    assert [rows[1][f"truth_{name}"] for name in ("arousal", "dominance", "valence")] == pytest.approx(truth[1].tolist())
    assert "truth" not in rows[0]
    assert {"ccc_mean", "rmse_valence"} <= set(module.results["test"].values)
    assert module.results["test"].confusion == []


def test_a_silent_head_or_teacher_is_told_before_the_first_step() -> None:
    batch = next(iter(annotated_loader(0)))
    follow = Objective({"concordance": {"loss": Concordance("teacher")}})
    with pytest.raises(ConfigError, match="follows a teacher that does not answer"):
        DistillationModule(Feeling(), follow, [], teacher=make_teacher(), targets="dimensions").check_answers(batch)
    silent = DistillationModule(Toy(), Objective({"c": {"loss": Concordance()}}), [], targets="dimensions")
    with pytest.raises(ConfigError, match="does not answer with dimensions"):
        silent.check_answers(batch)
    with pytest.raises(ConfigError, match="needs classes, and the run learns dimensions"):
        DistillationModule(Feeling(), make_module().objective, [], teacher=make_teacher(), targets="dimensions")
