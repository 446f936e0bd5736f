"""What a run never learns is told before it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ser_kd.contracts.emotions import NoClasses
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.objective import Objective
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.dimension_error import DimensionError
from ser_kd.tasks.unlearned_dimensions import check_monitored_dimension, describe_unlearned, find_unlearned

LABELS = Objective({"error": {"loss": DimensionError("labels")}})


def make_fold(arousal: tuple[float | None, ...], valence: tuple[float | None, ...]) -> ProtocolFold:
    """Validation clips have the training clips' annotations."""
    clips = [
        Utterance(str(n), Path("x"), str(n), None, arousal=a, valence=v) for n, (a, v) in enumerate(zip(arousal, valence, strict=True))
    ]
    return ProtocolFold("p", "print", 0, 1, "v", NoClasses(), tuple(clips), tuple(clips), (), targets="dimensions")


def test_what_is_not_annotated_or_never_varies_is_not_learned() -> None:
    fold = make_fold((0.1, 0.9, None), (0.5, 0.5, 0.5))
    assert find_unlearned(fold, LABELS, None) == ["dominance", "valence"]
    dominance, valence = describe_unlearned(fold, ["dominance", "valence"])
    assert "dominance is not learned (annotated in 0 training clips;" in dominance
    assert "valence is not learned (annotated in 3 training clips, always 0.500 there;" in valence
    one_clip = make_fold((0.1, 0.9), (0.2, None))
    assert find_unlearned(one_clip, LABELS, None) == ["dominance", "valence"]
    assert "annotated in 1 training clip;" in describe_unlearned(one_clip, ["valence"])[0]


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to learn") as fault:
        find_unlearned(make_fold((0.5, 0.5), (None, 0.1)), LABELS, None)
    assert "arousal 0.500 ± 0.000, dominance not annotated" in fault.value.got
    with pytest.raises(ConfigError, match="no term of the objective learns them"):
        find_unlearned(replace(make_fold((0.1, 0.9), (0.2, 0.4)), targets="both"), Objective({"ce": {"loss": CrossEntropy()}}), None)


def test_a_concordance_that_is_never_defined_chooses_nothing() -> None:
    fold = make_fold((0.1, 0.9), (0.5, 0.5))
    for monitor in ("validation/ccc_mean", "validation/ccc_arousal", "validation/rmse_valence", "train/loss"):
        check_monitored_dimension(monitor, fold, ["valence"])
    for monitor, unlearned in (
        ("validation/ccc_valence", []),
        ("validation/pearson_arousal", ["arousal"]),
        ("validation/ccc_mean", ["arousal"]),
    ):
        with pytest.raises(ConfigError, match="undefined") as fault:
            check_monitored_dimension(monitor, fold, unlearned)
        assert "2 validation clips: arousal 0.500 ± 0.400" in fault.value.got
