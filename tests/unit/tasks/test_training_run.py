"""What chooses the best checkpoint where nobody names it, and what cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from ser_kd.contracts.emotions import LabelSet, NoClasses, Targets
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.objective import Objective
from ser_kd.losses.dimension_error import DimensionError
from ser_kd.tasks.training_run import _check_monitor, choose_monitor


def make_fold(targets: Targets, labelled: bool, refitted: bool = False) -> ProtocolFold:
    clips = tuple(Utterance(str(n), Path("x"), str(n), "angry" if labelled else None, arousal=0.5 if labelled else None) for n in range(3))
    labels = NoClasses() if targets == "dimensions" else LabelSet("two", ("angry", "sad"))
    validation = () if refitted else clips[1:2]
    return ProtocolFold("p", "print", 0, 1, "v", labels, clips[:1], validation, clips[2:], targets=targets)


@pytest.mark.parametrize(
    ("targets", "labelled", "monitor"),
    [
        ("classes", True, "ua"), ("classes", False, "teacher_agreement"),
        ("dimensions", True, "ccc_mean"), ("dimensions", False, "teacher_agreement_ccc_mean"),
        ("both", True, "ua"), ("both", False, "teacher_agreement"),
    ],
)  # fmt: skip
def test_agreement_chooses_where_there_are_no_labels(targets: Targets, labelled: bool, monitor: str) -> None:
    assert choose_monitor(make_fold(targets, labelled)) == f"validation/{monitor}"


def test_a_refitted_fold_has_nothing_to_choose_by() -> None:
    assert choose_monitor(make_fold("classes", labelled=True, refitted=True)) == "validation/ua"


def test_a_metric_of_labels_is_refused_without_labels() -> None:
    objective = Objective({"error": {"loss": DimensionError("labels")}})
    module = DistillationModule(nn.Identity(), objective, (), targets="dimensions")
    with pytest.raises(ConfigError, match="only agreement with the teacher can choose") as fault:
        _check_monitor("validation/ccc_mean", module, make_fold("dimensions", labelled=False))
    assert fault.value.expected.startswith("monitor=validation/teacher_agreement_ccc_mean")
    _check_monitor("validation/ccc_mean", module, make_fold("dimensions", labelled=True))
    _check_monitor("train/loss", module, make_fold("dimensions", labelled=False))
