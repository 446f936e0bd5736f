import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.losses.labels import strongest_classes


def test_hard_classes_stay(make_batch):
    assert strongest_classes(make_batch([2, -1, 0]), "term").tolist() == [2, -1, 0]


def test_a_mixture_counts_as_its_larger_part_and_an_empty_row_as_no_class(make_batch):
    batch = make_batch([0, 0, 0], [[0.3, 0.7], [0.5, 0.5], [0.0, 0.0]])
    assert strongest_classes(batch, "term").tolist() == [1, 0, -1]


def test_no_classes_are_told(make_batch):
    with pytest.raises(ConfigError, match="'term' needs class labels"):
        strongest_classes(make_batch(clips=2), "term")
