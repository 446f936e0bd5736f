"""Several faults become one error."""

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.faults import join_names, raise_faults


def test_no_fault_raises_nothing():
    raise_faults([])


def test_one_fault_is_raised_as_it_is():
    fault = ConfigError("One.")
    with pytest.raises(ConfigError) as caught:
        raise_faults([fault])
    assert caught.value is fault


def test_several_faults_are_numbered():
    with pytest.raises(ConfigError) as caught:
        raise_faults([ConfigError("First.", got="a"), ConfigError("Second.", remedy="b")])
    lines = str(caught.value).splitlines()
    assert lines[0] == "The configuration has 2 faults."
    assert lines[1] == "  1. First."
    assert lines[2].strip() == "got:      a"
    assert lines[3] == "  2. Second."


def test_join_names_sorts_and_cuts():
    assert join_names(["b", "a"]) == "a, b"
    assert join_names([]) == "none"
    assert join_names("dcba", most=2) == "a, b, … (4 in all)"
