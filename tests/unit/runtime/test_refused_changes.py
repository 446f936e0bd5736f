"""What a configuration may not change beside its files."""

import pytest
from omegaconf import OmegaConf

from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.refused_changes import find_refused_changes

PLAIN = {
    "fold": 0,
    "rate": 0.5,
    "name": "x",
    "flag": False,
    "list": [1],
    "any": None,
    "free": {},
    "later": "???",
    "other": "${fold}",
    "paths": {"runs": "runs"},
    "part": {"_target_": "T", "size": 1, "inner": {"a": 1}},
    "student": None,
}


@pytest.fixture
def problems(place):
    def find(**changes):
        full = OmegaConf.create({**PLAIN, **changes})
        faults = find_refused_changes(full, OmegaConf.create(PLAIN), [], {}, Catalog(place / "conf", []))
        return [fault.problem for fault in faults]

    return find


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fold": 3, "rate": 1, "name": 7, "flag": True, "list": [], "paths": {"runs": "x"}},
        {"any": "x", "free": {"a": {"b": 1}}, "later": 3, "other": "text", "fold": "${rate}"},
        {"any": {"a": 1}, "name": None, "paths": None},
        {"part": {"_target_": "T", "size": "judged by the signature", "new": 1, "inner": {"b": 2}}},
    ],
)
def test_what_may_change(problems, changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"new": 1}, "Unknown key 'new'."),
        ({"paths": {"runs": "runs", "run": 1}}, "Unknown key 'paths.run'."),
        ({"paths": "here"}, "'paths' holds keys and cannot become one value."),
        ({"part": "big"}, "'part' holds keys and cannot become one value."),
        ({"part": {"_target_": "T", "size": 1, "inner": 3}}, "'part.inner' holds keys and cannot become one value."),
        ({"student": {"width": 3}}, "'student' is empty, so its keys cannot be set."),
        ({"fold": "x"}, "'fold' has a value of the wrong type."),
        ({"fold": 0.5}, "'fold' has a value of the wrong type."),
        ({"fold": True}, "'fold' has a value of the wrong type."),
        ({"rate": "x"}, "'rate' has a value of the wrong type."),
        ({"flag": 1}, "'flag' has a value of the wrong type."),
        ({"name": [1]}, "'name' has a value of the wrong type."),
        ({"list": 1}, "'list' has a value of the wrong type."),
        ({"fold": {"a": 1}}, "'fold' has a value of the wrong type."),
    ],
)
def test_what_is_refused(problems, changes, problem):
    assert problems(**changes) == [problem]
