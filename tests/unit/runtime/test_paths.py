"""Where configuration, experiments, runs and the cache are found."""

import os
from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import paths


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The package as a wheel installs it: conf and experiments inside, no checkout around."""
    package = tmp_path / "site-packages" / "ser_kd"
    (package / "conf").mkdir(parents=True)
    (package / "experiments").mkdir()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SER_KD_EXPERIMENTS", raising=False)
    return package


def test_the_checkout_comes_before_the_copy_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "checkout" / "ser_kd"
    (package / "conf").mkdir(parents=True)
    (tmp_path / "checkout" / "conf").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").touch()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert paths.find_checkout() == tmp_path / "checkout"
    assert paths.find_conf_dir() == tmp_path / "checkout" / "conf"


def test_a_wheel_uses_its_own_copy_even_beside_a_stray_conf(wheel):
    (wheel.parent / "conf").mkdir()
    assert paths.find_checkout() is None
    assert paths.find_conf_dir() == wheel / "conf"
    assert paths.find_experiment_roots() == [wheel / "experiments"]


def test_missing_configuration_says_where_it_was_looked_for(wheel):
    (wheel / "conf").rmdir()
    with pytest.raises(ConfigError, match="configuration files are missing") as caught:
        paths.find_conf_dir()
    assert str(wheel / "conf") in caught.value.expected


def test_experiment_roots_stand_in_order_once_and_only_where_they_exist(wheel, tmp_path, monkeypatch):
    for name in ("experiments", "mine", "yours"):
        (tmp_path / name).mkdir()
    named = [tmp_path / "mine", tmp_path / "nowhere", tmp_path / "experiments", tmp_path / "yours"]
    monkeypatch.setenv("SER_KD_EXPERIMENTS", os.pathsep.join(map(str, named)))
    assert paths.find_experiment_roots() == [wheel / "experiments", tmp_path / "experiments", tmp_path / "mine", tmp_path / "yours"]


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x"])
def test_a_run_folder_stays_below_the_runs(name):
    with pytest.raises(ConfigError, match="cannot name a folder"):
        paths.run_folder(Path("runs"), name, "abc", 0, 0)


def test_environment_moves_runs_and_cache(monkeypatch):
    monkeypatch.delenv("SER_KD_RUNS", raising=False)
    monkeypatch.setenv("SER_KD_CACHE", "/big/disk")
    assert paths.default_runs_dir() == Path("runs")
    assert paths.default_cache_dir() == Path("/big/disk")
