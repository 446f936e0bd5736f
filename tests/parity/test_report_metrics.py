"""The report's numpy metrics against scikit-learn and against the tensor form that training uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from ser_kd.functional import recalls
from ser_kd.reports.confusion_metrics import METRICS


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.filterwarnings("ignore")
def test_metrics_equal_scikit_learn_and_the_tensor_form(seed):
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 9))
    # few clips, so that classes without a clip or without an answer occur
    truth, prediction = random.integers(classes, size=(2, int(random.integers(3, 60))))
    matrix = confusion_matrix(truth, prediction, labels=range(classes))
    expected = {
        "ua": balanced_accuracy_score(truth, prediction),
        "wa": accuracy_score(truth, prediction),
        "f1_macro": f1_score(truth, prediction, average="macro"),
        "f1_weighted": f1_score(truth, prediction, average="weighted"),
    }
    tensor_form = {
        "ua": recalls.unweighted_accuracy,
        "wa": recalls.weighted_accuracy,
        "f1_macro": recalls.f1_macro,
        "f1_weighted": recalls.f1_weighted,
    }
    for name, metric in METRICS.items():
        assert float(metric(matrix)) == pytest.approx(expected[name], abs=1e-12)
        assert float(metric(matrix)) == pytest.approx(float(tensor_form[name](torch.tensor(matrix))), abs=1e-12)
