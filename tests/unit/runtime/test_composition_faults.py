"""Hydra's and OmegaConf's faults in our own words."""

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.composition_faults import find_broken_interpolations, translate, unchosen_group


def test_the_group_that_must_be_chosen():
    assert (
        unchosen_group(ConfigCompositionException("You must specify 'corpus', e.g, corpus=<OPTION>\nAvailable options:\n\ta")) == "corpus"
    )
    assert unchosen_group(ConfigCompositionException("Something else")) == ""


def test_only_the_first_line_of_an_unknown_fault_is_shown(place):
    fault = translate(ConfigCompositionException("In 'student/large': odd\nhelp\nmore help"), "train", Catalog(place / "conf", []))
    assert fault.got == "In 'student/large': odd"
    assert "student/large.yaml" in fault.remedy


def test_every_broken_interpolation_once_with_its_cause():
    config = OmegaConf.create(
        {
            "fold": 0,
            "good": "${fold}",
            "a": "${fodl}",
            "again": ["${a}/x"],
            "deep": [{"b": "${oc.env:SER_KD_TEST_NOWHERE}"}],
            "waits": "${later}",
            "later": "???",
            "odd": "${no_such_resolver:1}",
        }
    )
    faults = find_broken_interpolations(config)
    assert [fault.problem.split("'")[1] for fault in faults] == ["a", "deep[0].b", "odd"]
    assert faults[0].remedy == "did you mean 'fold'?"
    assert faults[1].expected == "the environment variable SER_KD_TEST_NOWHERE"


@pytest.mark.parametrize("word", ["frontend", "student"])
def test_a_hint_of_hydra_is_kept(place, word):
    message = f"Could not override '{word}'.\nDid you mean to override frontend@student.frontend?\nTo append to your default list use +x"
    fault = translate(ConfigCompositionException(message), "train", Catalog(place / "conf", []))
    assert fault.remedy == "write frontend@student.frontend=…"
