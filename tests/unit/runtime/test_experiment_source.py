"""Any folder of experiments, or one file, stands in the group ``experiments``."""

import pytest
from hydra.plugins.config_source import ConfigLoadError

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.experiment_source import ExperimentSource, find_wrong_choices


def source_of(path, mode="full"):
    return ExperimentSource("here", f"experiments://{mode}:{path}")


def test_a_root_lists_and_serves_its_experiments(place):
    source = source_of(place / "experiments")
    assert source.list("experiments", None) == ["paper/one", "paper/two"]
    assert source.list("student", None) == []
    assert source.is_config("experiments/paper/one")
    assert not source.is_config("paper/one")
    assert not source.is_config("experiments/paper/three")
    assert source.is_group("experiments")
    assert source.is_group("experiments/paper")
    assert not source.is_group("student")
    assert source.load_config("experiments/paper/two").config.fold == 3
    assert source.load_config("experiments/paper/two").header["package"] == "_global_"


def test_choices_alone_leave_the_values_out(place):
    config = source_of(place / "experiments", "choices").load_config("experiments/paper/two").config
    assert list(config) == ["defaults"]


def test_one_file_is_a_group_of_one(place):
    source = source_of(place / "experiments/paper/one.yaml")
    assert source.list("experiments", None) == ["paper/one"]
    assert source.load_config("experiments/paper/one").config.student.width == 9
    with pytest.raises(ConfigLoadError):
        source.load_config("experiments/paper/two")


def test_a_folder_that_is_not_there_is_not_available(tmp_path):
    assert not source_of(tmp_path / "nothing").available()


def test_wrong_choices_of_a_file(place, write):
    catalog = Catalog(place / "conf", [place / "experiments"])
    assert find_wrong_choices(place / "experiments/paper/one.yaml", catalog) == []
    text = "defaults:\n  - override /corpus: dmo\n  - override /studnt: large\n  - override /teacher: null\n  - _self_\n"
    faults = find_wrong_choices(write(place, {"experiments/paper/bad.yaml": text}) / "experiments/paper/bad.yaml", catalog)
    assert [fault.remedy for fault in faults] == ["did you mean 'demo'?", "did you mean 'student'?"]
    write(place, {"experiments/paper/bad.yaml": "- a\n"})
    with pytest.raises(ConfigError, match="no readable YAML"):
        find_wrong_choices(place / "experiments/paper/bad.yaml", catalog)
