import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm
from torchmetrics.functional.regression import pearson_corrcoef

from ser_kd.functional.concordance import correlate, measure_concordance, measure_moments
from ser_kd.metrics.calibration import CalibrationError
from ser_kd.metrics.recalls import Recalls

CLASSES = ("neutral", "angry", "sad", "happy", "fear")


def make_split(seed, lacking=()):
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, size=200, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    truth[np.isin(truth, lacking)] = 0
    scores = rng.normal(size=(200, 5))
    scores[np.arange(200), truth] += 1.0
    return torch.tensor(scores), torch.tensor(truth)


@pytest.mark.parametrize(("seed", "lacking"), [(0, ()), (1, ()), (2, (4,)), (3, (1, 3))])
@pytest.mark.filterwarnings("ignore:y_pred contains classes:UserWarning")
def test_recalls_equal_scikit_learn(seed, lacking):
    scores, truth = make_split(seed, lacking)
    metric = Recalls(CLASSES)
    for part in (slice(0, 70), slice(70, 200)):
        metric.update(scores[part], truth[part])
    found = metric.compute()
    predicted, true = scores.argmax(dim=1).numpy(), truth.numpy()
    assert found["confusion"].tolist() == sk.confusion_matrix(true, predicted, labels=range(5)).tolist()
    assert found["wa"].item() == pytest.approx(sk.accuracy_score(true, predicted))
    assert found["ua"].item() == pytest.approx(sk.balanced_accuracy_score(true, predicted))
    assert found["f1_macro"].item() == pytest.approx(sk.f1_score(true, predicted, average="macro"))
    assert found["f1_weighted"].item() == pytest.approx(sk.f1_score(true, predicted, average="weighted"))
    recalls = sk.recall_score(true, predicted, labels=range(5), average=None, zero_division=np.nan)
    np.testing.assert_allclose([found[f"recall_{name}"].item() for name in CLASSES], recalls)


@pytest.mark.parametrize("seed", [0, 1])
def test_recalls_and_calibration_equal_torchmetrics(seed):
    scores, truth = make_split(seed)
    metric, calibration = Recalls(CLASSES), CalibrationError(5)
    metric.update(scores, truth)
    calibration.update(scores[:90], truth[:90])
    calibration.update(scores[90:], truth[90:])
    found = metric.compute()
    assert found["ua"].item() == pytest.approx(tm.multiclass_recall(scores, truth, 5, average="macro").item(), abs=1e-6)
    assert found["wa"].item() == pytest.approx(tm.multiclass_accuracy(scores, truth, 5, average="micro").item(), abs=1e-6)
    assert found["f1_macro"].item() == pytest.approx(tm.multiclass_f1_score(scores, truth, 5, average="macro").item(), abs=1e-6)
    expected = tm.multiclass_calibration_error(scores.softmax(dim=1), truth, 5, n_bins=15, norm="l1").item()
    assert calibration.compute().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_correlations_equal_libraries_and_the_plain_loop(seed):
    rng = np.random.default_rng(seed)
    target = rng.uniform(size=(50, 2))
    prediction = 0.5 * target + 0.4 * rng.uniform(size=(50, 2))
    moments = measure_moments(torch.tensor(prediction), torch.tensor(target))
    for column in range(2):
        x, y = prediction[:, column], target[:, column]
        found = correlate(moments)[column].item()
        assert found == pytest.approx(pearsonr(x, y).statistic)
        assert found == pytest.approx(pearson_corrcoef(torch.tensor(x), torch.tensor(y)).item())
        assert measure_concordance(moments)[column].item() == pytest.approx(plain_concordance(x, y))


def plain_concordance(x, y):
    count = len(x)
    mean_x, mean_y = sum(x) / count, sum(y) / count
    variance_x = sum((value - mean_x) ** 2 for value in x) / count
    variance_y = sum((value - mean_y) ** 2 for value in y) / count
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / count
    return 2 * covariance / (variance_x + variance_y + (mean_x - mean_y) ** 2)
