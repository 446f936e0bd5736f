import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import DataError
from ser_kd.frontends.precomputed import Precomputed


def inputs(**features):
    return ModelInput(torch.zeros(2, 10), torch.tensor([10, 10]), features=features)


def test_the_named_feature_is_handed_on():
    frames, lengths = torch.randn(2, 7, 25), torch.tensor([7, 3])
    features = Precomputed("egemaps", 25)(inputs(egemaps=(frames, lengths)))
    assert features.frames is frames
    assert features.lengths is lengths


def test_a_missing_feature_is_told_with_those_that_are_there():
    with pytest.raises(DataError, match=r"no feature 'egemaps'(.|\n)*got:\s+pitch, energy"):
        Precomputed("egemaps", 25)(inputs(pitch=(torch.zeros(2, 1, 1), None), energy=(torch.zeros(2, 1, 1), None)))


def test_another_width_is_told():
    with pytest.raises(DataError, match=r"expected: width 25\n.*width 23"):
        Precomputed("egemaps", 25)(inputs(egemaps=(torch.zeros(2, 7, 23), torch.tensor([7, 7]))))
