"""Keys are listed without resolving anything."""

from omegaconf import OmegaConf

from ser_kd.runtime.key_lists import list_keys, list_missing_keys

CONFIG = OmegaConf.create({"a": {"b": 1, "c": "???"}, "d": [{"e": "???"}, "${nowhere}"], "f": "${also.nowhere}"})


def test_list_keys():
    assert list_keys(CONFIG) == ["a", "a.b", "a.c", "d", "d[0]", "d[0].e", "d[1]", "f"]


def test_list_missing_keys():
    assert list_missing_keys(CONFIG) == ["a.c", "d[0].e"]
