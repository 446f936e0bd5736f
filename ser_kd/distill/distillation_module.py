"""The one LightningModule: trains teachers, baselines and distilled students alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal, get_args

import lightning
import torch
from torch import Tensor, distributed, nn

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.emotions import DIMENSIONS, Targets
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import Teacher
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.answer_memory import AnswerMemory
from ser_kd.distill.gathering import Share, gather_audio, gather_whole
from ser_kd.distill.learning_rates import REST, RateGroup, group_by_rate
from ser_kd.distill.objective import Objective
from ser_kd.distill.objective_checks import check_batch_size, check_targets
from ser_kd.distill.running_means import RunningMeans
from ser_kd.distill.schedules import Schedule
from ser_kd.distill.views import Views
from ser_kd.metrics.panel import MetricPanel, PanelResult

BatchScope = Literal["global", "process"]


class DistillationModule(lightning.LightningModule):
    """A student, an optional frozen teacher, and the objective between them.

    Where several processes share a run, each hears its share of every batch, and loss, gradient and metrics are those of one process
    that hears all of it (see ``Objective``); which clips a process holds is told by the batch (``SpeechBatch.global_size``).

    Without a teacher the chair is empty: the same module trains teachers and baselines. The teacher is kept outside the module tree,
    so it is never in the checkpoint, the optimizer or the parameter count. It is asked once about each clip that it hears unchanged:
    validation and test clips, and training clips where no transform stands in the slots ``both`` and ``teacher`` and no term
    listens to frames (see ``AnswerMemory``). ``ask_in_training`` chooses someone else for training clips, such as a ``CachedTeacher``.

    Args:
        student: Model that maps ``ModelInput`` to ``Outputs``.
        objective: Weighted loss terms.
        classes: Class names in logit order; empty where only dimensions are learned.
        teacher: Answers without gradient; None is the empty chair.
        views: What each of the two hears in training.
        optimizer: Parameters, or groups of them, -> optimizer.
        learning_rate_schedule: Factor over training progress; None keeps the learning rate.
        class_counts: Training clips per class, for terms that weigh classes.
        group_values: Attributes to report by and their values.
        batch_scope: What terms that compare clips, and mix-up, see where several processes share a batch: ``global`` is all of it,
            ``process`` this process's share, which needs no exchange but makes the result depend on the number of processes.
        targets: What is learned and judged.
        learning_rates: Part of the student -> its own learning rate (see ``group_by_rate``); the rest has the optimizer's.

    Raises:
        ConfigError: If ``batch_scope`` is something else, a term needs a teacher and there is none, or it needs other targets, or a
            learning rate has no part to go to.
    """

    def __init__(
        self,
        student: nn.Module,
        objective: Objective,
        classes: Sequence[str],
        teacher: Teacher | None = None,
        views: Views | None = None,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer] = torch.optim.AdamW,
        learning_rate_schedule: Schedule | None = None,
        class_counts: Sequence[int] | None = None,
        group_values: Mapping[str, Sequence[str]] | None = None,
        batch_scope: BatchScope = "global",
        targets: Targets = "classes",
        learning_rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if batch_scope not in get_args(BatchScope):
            raise ConfigError(
                "Unknown scope of a batch.",
                expected=" or ".join(get_args(BatchScope)),
                got=str(batch_scope),
                remedy="set batch_scope=global",
            )
        lonely = objective.terms_needing_teacher() if teacher is None else []
        if lonely:
            raise ConfigError(
                f"The term '{lonely[0]}' needs a teacher, and there is none.",
                expected="a teacher, or an objective of terms that do without one",
                got="teacher: null",
                remedy="set teacher.experiment=… or teacher.run=FOLDER, or choose objective=ce",
            )
        check_targets(objective, targets)
        self.student = student
        self.objective = objective
        self.targets: Targets = targets
        self.classes = list(classes)
        self._teacher: tuple[Teacher | None] = (teacher,)  # a tuple hides it from nn.Module's registration
        self._memory = None if teacher is None else AnswerMemory(teacher)
        self._training_teacher: tuple[Teacher | None] = (None,)
        self.views = views or Views()
        self.make_optimizer = optimizer
        self.learning_rate_schedule = learning_rate_schedule
        self.learning_rates = dict(learning_rates or {})
        self.group_parameters()  # a wrong name is told here
        if class_counts is not None:
            objective.set_class_counts(class_counts)
        self.panels = nn.ModuleDict(
            {
                split: MetricPanel(self.classes, group_values=group_values or {}, dimensions=targets != "classes")
                for split in ("validation", "test")
            }
        )
        self.results: dict[str, PanelResult] = {}
        self.predictions: dict[str, list[dict[str, Any]]] = {"validation": [], "test": []}
        self._rows: dict[str, list[list[dict[str, Any]]]] = {"validation": [], "test": []}  # by batch
        self.batch_scope: BatchScope = batch_scope
        self.means = RunningMeans()

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, or None."""
        return self._teacher[0]

    def ask_in_training(self, teacher: Teacher) -> None:
        """Let someone else answer about training clips from now on: the same teacher from its cache, or live in every epoch."""
        self._training_teacher = (teacher,)

    def forward(self, batch: SpeechBatch) -> Outputs:
        """Ask the student about a clean batch."""
        return self.student(batch.model_input())

    @property
    def progress(self) -> float:
        """Share of the planned training (``max_epochs``) that is done, from 0 to 1."""
        return min(self.global_step / max(self.trainer.estimated_stepping_batches, 1), 1.0)

    @torch.no_grad()
    def try_terms(self, batch: SpeechBatch) -> None:
        """Compute the objective once on a few clean clips, so that what cannot be brought together is told before the first step.

        Raises:
            ConfigError: If a term misses frames or layers, or their widths or frame rates differ.
            ShapeError: If a term cannot compare what it gets.
        """
        training = self.training
        self.eval()
        try:
            heard = batch.model_input()
            answers = None if self.teacher is None else self._whom_to_ask().answer(heard, batch.speakers, batch.ids)
            self.objective(self.student(heard), batch, answers)
        finally:
            self.train(training)

    @torch.no_grad()
    def check_answers(self, batch: SpeechBatch) -> None:
        """Check on a few clean clips that student and teacher answer with what is learned, before the first step.

        Raises:
            ConfigError: If the student's head, or a teacher that a term follows, says nothing about the targets.
        """
        training = self.training
        self.eval()
        try:
            outputs = self.student(batch.model_input())
            silent = [
                name
                for name, answer, wanted in (
                    ("classes", outputs.logits, self.targets != "dimensions"),
                    ("dimensions", outputs.dimensions, self.targets != "classes"),
                )
                if wanted and answer is None
            ]
            if silent:
                raise ConfigError(
                    f"The student does not answer with {' and '.join(silent)}.",
                    expected=f"a head for protocol.targets={self.targets}: LinearHead and MlpHead do what the protocol asks for",
                    got=f"{type(getattr(self.student, 'head', self.student)).__name__} without {' and '.join(silent)}",
                    remedy="set student.head._target_=ser_kd.models.heads.LinearHead, or change protocol.targets",
                )
            if self.teacher is not None and self.objective.needs_dimensions_of_teacher():
                self.objective(outputs, batch, self.teacher.answer(batch.model_input(), batch.speakers, batch.ids))
        finally:
            self.train(training)

    def on_train_start(self) -> None:
        """Refuse batches that are too small for a term, as far as the loader tells their size, and tell the members' shares."""
        shares = getattr(self.teacher, "member_shares", None)
        if shares is not None:
            self.objective.set_member_shares(shares)
        batch_size = getattr(getattr(self.trainer.train_dataloader, "batch_sampler", None), "batch_size", None)
        if isinstance(batch_size, int):
            check_batch_size(self.objective, batch_size if self.batch_scope == "global" else batch_size // self.trainer.world_size)

    def training_step(self, batch: SpeechBatch, batch_index: int) -> Tensor:
        """Let both hear their view, and compute the objective."""
        share = self._find_share(batch)
        shared, student_input, teacher_input = self._split_views(batch, share)
        progress = self.progress
        answers: TeacherAnswers | None = None
        if self.teacher is not None and self.objective.listens_to_teacher(progress):
            answers = self._whom_to_ask().answer(teacher_input, batch.speakers, batch.ids)
        outputs = self.student(student_input)
        whole = None
        if share is not None and self.batch_scope == "global" and self.objective.needs_whole_batch(progress):
            whole = gather_whole(outputs, shared, answers, share)
        loss, parts = self.objective(outputs, shared, answers, progress, share, whole)
        heard = {"loss": loss, **parts}
        if answers is not None and answers.combined.logits is not None:
            heard["teacher_confidence"] = answers.combined.logits.softmax(dim=1).amax(dim=1).mean()
        # a batch too small to be shared is heard by every process and counts once
        self.means.add(heard, len(batch) / (self.trainer.world_size if self._is_everywhere(batch) else 1))
        if self.trainer.is_last_batch:
            for name, mean in self.means.finish(self._sum_over_ranks).items():
                self.log(f"train/{name}", mean, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's means so far."""
        checkpoint["epoch_means"] = self.means.state_dict(self._sum_over_ranks)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them."""
        if "epoch_means" in checkpoint:
            self.means.load_state_dict(checkpoint["epoch_means"], is_first=self.trainer.is_global_zero)

    def on_train_epoch_end(self) -> None:
        """Log the learning rate of the epoch's last step, and those of parts with a rate of their own."""
        for group in self.trainer.optimizers[0].param_groups:
            name = group.get("name", REST)
            self.log("learning_rate" if name == REST else f"learning_rate/{name}", group["lr"])

    def validation_step(self, batch: SpeechBatch, batch_index: int) -> None:
        """Judge validation clips."""
        self._judge(batch, "validation")

    def test_step(self, batch: SpeechBatch, batch_index: int) -> None:
        """Judge test clips."""
        self._judge(batch, "test")

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the epoch before."""
        self._begin("validation")

    def on_test_epoch_start(self) -> None:
        """Begin with no predictions."""
        self._begin("test")

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics once over the whole split."""
        self._conclude("validation")

    def on_test_epoch_end(self) -> None:
        """Compute the metrics once over the whole split."""
        self._conclude("test")

    def group_parameters(self) -> list[RateGroup]:
        """Give the groups of parts with a learning rate of their own and of the rest; none where no part has one."""
        return group_by_rate(self.student, self.objective, self.learning_rates) if self.learning_rates else []

    def configure_optimizers(self) -> Any:
        """Make the optimizer over trainable parameters and its schedule by step."""
        groups = [group.to_optimizer() for group in self.group_parameters() if group.parameters]
        alike = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = self.make_optimizer(groups if groups else alike)
        if self.learning_rate_schedule is None:
            return optimizer
        schedule = self.learning_rate_schedule
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: schedule.value(self.progress))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _sum_over_ranks(self, part: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(part, reduce_op="sum")

    def _begin(self, split: str) -> None:
        self._panel(split).reset()
        self.predictions[split], self._rows[split] = [], []

    def _find_share(self, batch: SpeechBatch) -> Share | None:
        """Give which clips of the batch this process holds; None where they are all of it."""
        processes = self.trainer.world_size
        if processes == 1 or batch.global_size is None or self._is_everywhere(batch):
            return None
        return Share(batch.global_size, self.trainer.global_rank, processes)

    def _is_everywhere(self, batch: SpeechBatch) -> bool:
        return batch.global_size is not None and batch.global_size < self.trainer.world_size

    def _split_views(self, batch: SpeechBatch, share: Share | None) -> tuple[SpeechBatch, ModelInput, ModelInput]:
        # a mixture's partner may lie in another process; named features stay at home and let the transform itself refuse them
        if share is None or self.batch_scope != "global" or batch.features or not self.views.mixes_any:
            return self.views.split(batch)
        shared, student_input, teacher_input = self.views.split(gather_audio(batch, share))
        return shared.take(share.rows), student_input.take(share.rows), teacher_input.take(share.rows)

    def _judge(self, batch: SpeechBatch, split: str) -> None:
        outputs = self.student(batch.model_input())
        if self._is_everywhere(batch) and not self.trainer.is_global_zero:
            return  # each clip is judged once
        teacher = None if self._memory is None else self._memory.answer(batch.model_input(), batch.speakers).combined
        self._panel(split).update(outputs, batch, teacher)
        classes = self._tell_classes(outputs, batch)
        dimensions = self._tell_dimensions(outputs, batch)
        self._rows[split].append(
            [
                {
                    "split": split,
                    "id": name,
                    "speaker": speaker,
                    **classes[row],
                    **dimensions[row],
                    **{f"group_{group}": values[row] for group, values in batch.groups.items()},
                }
                for row, (name, speaker) in enumerate(zip(batch.ids, batch.speakers, strict=True))
            ]
        )

    def _tell_classes(self, outputs: Outputs, batch: SpeechBatch) -> list[dict[str, Any]]:
        """Give the columns ``truth``, ``prediction`` and ``probability_<class>`` of each clip; none where there are no classes."""
        if outputs.logits is None or not self.classes:
            return [{}] * len(batch)
        probabilities = outputs.logits.float().softmax(dim=1).cpu()  # (B, C)
        targets = [-1] * len(batch) if batch.classes is None else batch.classes.tolist()
        return [
            {
                "truth": self.classes[target] if target >= 0 else "",
                "prediction": self.classes[int(shares.argmax())],
                **{f"probability_{label}": float(p) for label, p in zip(self.classes, shares, strict=True)},
            }
            for target, shares in zip(targets, probabilities, strict=True)
        ]

    def _tell_dimensions(self, outputs: Outputs, batch: SpeechBatch) -> list[dict[str, Any]]:
        """Give the columns ``truth_<dimension>``, empty where not annotated, and ``prediction_<dimension>``, empty where never learned."""
        if outputs.dimensions is None or self.targets == "classes":
            return [{}] * len(batch)
        truth = torch.full((len(batch), len(DIMENSIONS)), torch.nan) if batch.dimensions is None else batch.dimensions.cpu()
        return [
            {
                f"{side}_{name}": "" if math.isnan(value) else value
                for side, values in (("truth", known), ("prediction", said))
                for name, value in zip(DIMENSIONS, values, strict=True)
            }
            for known, said in zip(truth.tolist(), outputs.dimensions.float().cpu().tolist(), strict=True)
        ]

    def _whom_to_ask(self) -> Teacher:
        if self._training_teacher[0] is not None:
            return self._training_teacher[0]
        unchanged = self.views.both is None and self.views.teacher is None and not self.objective.listens_to_frames()
        asked = self._memory if unchanged else self.teacher
        if asked is None:  # only called where there is a teacher; told to the type checker
            raise RuntimeError("there is no teacher to ask")
        return asked

    def _conclude(self, split: str) -> None:
        result = self._panel(split).compute()
        self.results[split] = result
        self.predictions[split] = self._join_rows(split)
        for name, value in result.values.items():
            # computed over all processes by the panel: the same on every rank
            self.log(f"{split}/{name}", float(value), prog_bar=split == "validation" and name in ("ua", "ccc_mean"), rank_zero_only=False)

    def _join_rows(self, split: str) -> list[dict[str, Any]]:
        """Give the rows of all processes in the order of the clips; during training, where nobody reads them, this process's own."""
        parts = [self._rows[split]]
        if self.trainer.world_size > 1 and self.trainer.state.fn != "fit":
            parts = [[] for _ in range(self.trainer.world_size)]
            distributed.all_gather_object(parts, self._rows[split])
        batches = zip_longest(*parts, fillvalue=[])
        return [row for batch in batches for line in zip_longest(*batch) for row in line if row is not None]

    def _panel(self, split: str) -> MetricPanel:
        return self.panels[split]  # type: ignore[return-value]
