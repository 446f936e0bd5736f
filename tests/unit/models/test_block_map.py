import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.block_map import choose_layer_map


@pytest.mark.parametrize(
    ("layer_map", "blocks", "there", "chosen"),
    [("even", 6, 12, (2, 4, 6, 8, 10, 12)), ("even", 4, 12, (3, 6, 9, 12)), ("even", 2, 4, (2, 4)), ([1, 12], 2, 12, (1, 12))],
)
def test_the_map(layer_map, blocks, there, chosen):
    assert choose_layer_map(layer_map, blocks, there, "teacher") == chosen


@pytest.mark.parametrize(
    ("layer_map", "match"),
    [
        ("even", "spread evenly"),
        ("odd", "spread evenly"),
        ([1, 2], "5 rising"),
        ([0, 1, 2, 3, 4], "from 1 to 12"),
        ([1, 2, 4, 3, 5], "rising"),
        ([1, 2, 3, 4, 13], "from 1 to 12"),
        ([1, 2, 2, 3, 4], "rising"),
    ],
)
def test_maps_that_do_not_fit_are_refused(layer_map, match):
    with pytest.raises(ConfigError, match=match):
        choose_layer_map(layer_map, 5, 12, "teacher")
