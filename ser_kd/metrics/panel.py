"""All metrics of one split behind one object."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError, DataError, UndefinedMetricWarning
from ser_kd.contracts.outputs import Outputs
from ser_kd.metrics.agreement import TeacherAgreement
from ser_kd.metrics.calibration import CalibrationError
from ser_kd.metrics.dimensional import Dimensional
from ser_kd.metrics.recalls import Recalls

_SCORES = ("ccc", "pearson", "rmse")
_SUMMARY = ("ua", "wa", "f1_macro", "f1_weighted")


@dataclass
class PanelResult:
    """The metrics of one split as plain numbers, ready for a record.

    Args:
        values: Name -> number: ``ua``, ``wa``, ``f1_macro``, ``f1_weighted``, ``recall_<class>``, ``calibration_error``; with
            a teacher ``teacher_agreement``, ``teacher_divergence`` and its own ``teacher_ua``, …; ``ua_<attribute>=<value>``
            and ``wa_…`` by group; ``ccc_<dimension>``, ``pearson_…``, ``rmse_…`` by dimension and ``ccc_mean`` of the dimensions that
            have one; of it ``ccc_mean_<attribute>=<value>`` by group; with a teacher that answers with dimensions its own
            ``teacher_ccc_…`` and ``teacher_agreement_ccc_…`` between its answers and the student's. NaN where undefined.
        undefined: Name -> why it is NaN.
        confusion: C x C counts, rows true, columns predicted; empty without classes.
        teacher_confusion: The same for the teacher on the same clips; empty without a teacher.
    """

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    teacher_confusion: list[list[int]] = field(default_factory=list)


class _ClassMetrics(nn.Module):
    """The part of the panel that judges classes.

    Each metric is updated with every batch, with no clip where nothing applies, so that all processes gather alike.
    """

    def __init__(self, classes: Sequence[str], groups: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.recalls = Recalls(classes)
        self.calibration = CalibrationError(len(classes))
        self.teacher_recalls = Recalls(classes)
        self.agreement = TeacherAgreement()
        self.group_recalls = nn.ModuleList([Recalls(classes) for _ in groups])

    def _by_group(self) -> Iterator[tuple[tuple[str, str], Recalls]]:
        return zip(self.groups, cast(Iterable[Recalls], self.group_recalls), strict=True)

    def update(self, logits: Tensor, batch: SpeechBatch, teacher_logits: Tensor | None) -> None:
        classes = _need(batch.classes, "class labels in the batch")
        self.recalls.update(logits, classes)
        self.calibration.update(logits, classes)
        if teacher_logits is None:
            self.teacher_recalls.update(logits[:0], classes[:0])
            self.agreement.update(logits[:0], logits[:0])
        else:
            self.teacher_recalls.update(teacher_logits, classes)
            self.agreement.update(logits, teacher_logits)
        for (attribute, value), recalls in self._by_group():
            members = torch.tensor([found == value for found in batch.groups.get(attribute, [""] * len(batch))], device=classes.device)
            recalls.update(logits[members], classes[members])

    def compute_into(self, result: PanelResult) -> None:
        scores = self.recalls.compute()
        result.confusion = scores.pop("confusion").tolist()
        for name, score in scores.items():
            reason = f"no clip of class '{name.removeprefix('recall_')}'" if name.startswith("recall_") else "no clip with a class"
            _tell(result, name, score, reason)
        _tell(result, "calibration_error", self.calibration.compute(), "no clip with a class")
        agreement = self.agreement.compute()
        teacher_scores = self.teacher_recalls.compute()
        if int(agreement["count"]):
            _tell(result, "teacher_agreement", agreement["agreement"], "")
            _tell(result, "teacher_divergence", agreement["divergence"], "")
            result.teacher_confusion = teacher_scores["confusion"].tolist()
            for name in _SUMMARY:
                _tell(result, f"teacher_{name}", teacher_scores[name], "no clip with a class")
        for (attribute, value), recalls in self._by_group():
            group_scores = recalls.compute()
            for name in ("ua", "wa"):
                _tell(result, f"{name}_{attribute}={value}", group_scores[name], f"no clip with a class and {attribute} '{value}'")


class _DimensionMetrics(nn.Module):
    """The part of the panel that judges dimensions; updated with every batch, as the other part is."""

    def __init__(self, groups: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.student = Dimensional()
        self.teacher = Dimensional()
        self.agreement = Dimensional()
        self.group_scores = nn.ModuleList([Dimensional() for _ in groups])

    def _by_group(self) -> Iterator[tuple[tuple[str, str], Dimensional]]:
        return zip(self.groups, cast(Iterable[Dimensional], self.group_scores), strict=True)

    def update(self, prediction: Tensor, batch: SpeechBatch, teacher: Tensor | None) -> None:
        target = torch.full_like(prediction, torch.nan) if batch.dimensions is None else batch.dimensions
        mask = ~target.isnan() if batch.dimension_mask is None else batch.dimension_mask
        self.student.update(prediction, target, mask)
        if teacher is None:
            self.teacher.update(prediction[:0], target[:0], mask[:0])
            self.agreement.update(prediction[:0], prediction[:0])
        else:
            self.teacher.update(teacher, target, mask)
            self.agreement.update(prediction, teacher)
        for (attribute, value), scores in self._by_group():
            members = torch.tensor([found == value for found in batch.groups.get(attribute, [""] * len(batch))], device=target.device)
            scores.update(prediction[members], target[members], mask[members])

    def compute_into(self, result: PanelResult) -> None:
        scores = self.student.compute()
        for name in [f"{score}_{dimension}" for score in _SCORES for dimension in DIMENSIONS]:
            _tell(result, name, scores[name], _explain(scores, name))
        _tell(result, "ccc_mean", scores["ccc_mean"], "no dimension has a CCC")
        agreement, own = self.agreement.compute(), self.teacher.compute()
        reason = "fewer than two clips, the teacher always says the same, or one of both never learned it"
        if any(int(agreement[f"count_{dimension}"]) for dimension in DIMENSIONS):
            for ending in (*DIMENSIONS, "mean"):
                name = f"ccc_{ending}"
                _tell(result, f"teacher_{name}", own[name], _explain(own, name))
                _tell(result, f"teacher_agreement_{name}", agreement[name], reason)
        for (attribute, value), found in self._by_group():
            _tell(result, f"ccc_mean_{attribute}={value}", found.compute()["ccc_mean"], f"no CCC of clips with {attribute} '{value}'")


class MetricPanel(nn.Module):
    """The metrics of one split, computed once over all its clips and right under several processes.

    Call ``update`` for each batch, ``compute`` once at the end (in every process), ``reset`` before the next pass. Clips
    without a class (-1) are skipped by all class metrics; agreement with the teacher counts every clip. What is undefined is
    NaN with a reason, and told in one ``UndefinedMetricWarning`` when it first happens.

    Args:
        classes: Class names in logit order; empty where only dimensions are judged.
        group_values: Attribute of ``batch.groups`` -> all its values. They are declared, not collected, because processes
            that each see a part of the split must compute the same metrics. A clip whose value is empty is in no group.
        dimensions: Judge arousal, dominance and valence.

    Raises:
        ConfigError: If there is nothing to judge.
    """

    def __init__(self, classes: Sequence[str], group_values: Mapping[str, Sequence[str]] | None = None, dimensions: bool = False) -> None:
        super().__init__()
        if not classes and not dimensions:
            raise ConfigError(
                "A metric panel has nothing to judge.",
                expected="classes, or dimensions=True",
                got="neither",
                remedy="hand over the classes of the protocol's label set",
            )
        self.group_values = {attribute: tuple(values) for attribute, values in (group_values or {}).items()}
        self.classes = tuple(classes)
        groups = [(attribute, value) for attribute, values in self.group_values.items() for value in values]
        self.class_metrics = _ClassMetrics(classes, groups) if classes else None
        self.dimension_metrics = _DimensionMetrics(groups) if dimensions else None
        self._told: set[str] = set()

    def update(self, outputs: Outputs, batch: SpeechBatch, teacher: Outputs | None = None) -> None:
        """Take in a batch.

        Args:
            outputs: What the student says; ``logits`` (B, C) and ``dimensions`` (B, 3) as far as they are judged.
            batch: The labels.
            teacher: What the teacher says about the same clips; None, or without logits, where it says nothing.

        Raises:
            ConfigError: If the student does not answer, or the batch does not tell, what is judged.
            DataError: If a clip has a group value that was not declared.
            ShapeError: If numbers of clips or classes differ, or an answer is not finite.
        """
        self._check_groups(batch)
        if self.class_metrics is not None:
            logits = _need(outputs.logits, "class logits of the model")
            self.class_metrics.update(logits, batch, None if teacher is None else teacher.logits)
        if self.dimension_metrics is not None:
            prediction = _need(outputs.dimensions, "dimensions of the model")
            self.dimension_metrics.update(prediction, batch, None if teacher is None else teacher.dimensions)

    def compute(self) -> PanelResult:
        """Compute everything over all clips of all processes; every process must call it.

        Returns:
            Numbers, reasons and confusion matrices, the same in every process.
        """
        result = PanelResult()
        if self.class_metrics is not None:
            self.class_metrics.compute_into(result)
        if self.dimension_metrics is not None:
            self.dimension_metrics.compute_into(result)
        news = {name: reason for name, reason in result.undefined.items() if name not in self._told}
        if news and not _follows_teacher_alone(result):  # of clips without labels the protocol says so already
            self._told.update(news)
            listed = "; ".join(f"{name}: {reason}" for name, reason in news.items())
            rule = ", and a class without a clip is left out of UA" if self.class_metrics is not None else ""
            warnings.warn(f"Undefined metrics are NaN{rule} ({listed}).", UndefinedMetricWarning, stacklevel=2)
        return result

    def list_names(self, has_teacher: bool = False) -> list[str]:
        """List the metrics there are, with those of a teacher that answers with all that is judged."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a panel without a clip all is undefined
            names = list(MetricPanel(self.classes, self.group_values, self.dimension_metrics is not None).compute().values)
        if has_teacher and self.class_metrics is not None:
            names += ["teacher_agreement", "teacher_divergence", *(f"teacher_{name}" for name in _SUMMARY)]
        if has_teacher and self.dimension_metrics is not None:
            names += [f"{kind}_ccc_{name}" for kind in ("teacher", "teacher_agreement") for name in (*DIMENSIONS, "mean")]
        return names

    def reset(self) -> None:
        """Forget all clips."""
        for module in self.modules():
            if isinstance(module, Metric):
                module.reset()

    def _check_groups(self, batch: SpeechBatch) -> None:
        for attribute, values in self.group_values.items():
            strange = sorted(set(batch.groups.get(attribute, ())) - {*values, ""})
            if strange:
                raise DataError(
                    f"Clips have a value of '{attribute}' that the metrics do not know.",
                    expected=", ".join(values),
                    got=", ".join(strange),
                    remedy="declare all values of the attribute in group_values",
                )


def _follows_teacher_alone(result: PanelResult) -> bool:
    """Tell whether agreement with a teacher is all that could be measured: no clip had a label."""
    follows = {name: name.startswith(("teacher_agreement", "teacher_divergence")) for name in result.values}
    return any(follows.values()) and all(follows[name] or math.isnan(value) for name, value in result.values.items())


def _need(tensor: Tensor | None, what: str) -> Tensor:
    if tensor is None:
        raise ConfigError(
            f"The metrics need {what}.",
            expected=what,
            got="none",
            remedy="let model, corpus and metrics agree on classes or dimensions",
        )
    return tensor


def _explain(scores: Mapping[str, Tensor], name: str) -> str:
    """Say why a dimension has no such number."""
    score, _, dimension = name.partition("_")
    if dimension == "mean":
        return "no dimension has a CCC"
    if int(scores[f"count_{dimension}"]) < (1 if score == "rmse" else 2):
        return "fewer than two annotated clips" if score != "rmse" else "no annotated clip"
    if int(scores[f"unlearned_{dimension}"]):
        return "never learned"
    return "constant annotations" if not float(scores[f"spread_{dimension}"]) else "constant predictions"


def _tell(result: PanelResult, name: str, score: Tensor, reason: str) -> None:
    value = float(score)
    result.values[name] = value
    if math.isnan(value):
        result.undefined[name] = reason
