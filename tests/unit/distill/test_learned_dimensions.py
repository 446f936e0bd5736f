"""What a run can learn of arousal, dominance and valence: from labels that vary, from teachers that know."""

from __future__ import annotations

import pytest

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.distill.learned_dimensions import list_learned_dimensions
from ser_kd.distill.objective import Objective
from ser_kd.losses.concordance import Concordance
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.dimension_error import DimensionError

TEACHERS = {"speech": ["arousal"], "text": ["arousal", "valence"]}
LABELS = {"loss": DimensionError("labels")}


@pytest.mark.parametrize(
    ("terms", "annotated", "learned"),
    [
        ({"labels": LABELS}, ["dominance"], ["dominance"]),
        ({"labels": LABELS}, [], []),
        ({"all": {"loss": Concordance("teacher")}}, DIMENSIONS, ["arousal", "valence"]),
        ({"one": {"loss": Concordance("teacher", "speech")}}, DIMENSIONS, ["arousal"]),
        ({"one": {"loss": Concordance("teacher", "gone")}}, DIMENSIONS, []),
        ({"one": {"loss": Concordance("teacher", "speech")}, "labels": LABELS}, ["dominance"], ["arousal", "dominance"]),
        ({"labels": {"loss": DimensionError("labels", weights=[1, 0, 1])}}, DIMENSIONS, ["arousal", "valence"]),
        ({"labels": {"loss": DimensionError("labels"), "weight": 0.0}, "classes": {"loss": CrossEntropy()}}, DIMENSIONS, []),
    ],
)
def test_a_dimension_is_learned_where_somebody_tells_it(terms, annotated, learned) -> None:
    assert list_learned_dimensions(Objective(terms), annotated, TEACHERS) == learned
