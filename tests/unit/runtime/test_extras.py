"""Missing packages are told with what to install; versions are compared by their numbers."""

import importlib.util

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import extras


@pytest.fixture
def without(monkeypatch):
    """Makes some modules look as if they were not installed."""

    def hide(*names):
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in names else real(name, package))

    return hide


def test_a_verb_without_its_packages_says_what_to_install(without):
    without("torch", "espeakng_loader")
    with pytest.raises(ConfigError, match="The verb 'demo' needs packages that are not installed") as caught:
        extras.check_extra("train", "demo", verb="demo")
    assert "torch, espeakng_loader" in caught.value.got
    assert caught.value.remedy == 'pip install "ser-kd[train,demo]"'


def test_only_what_the_verb_imports_counts(without):
    without("torch")
    extras.check_extra("train", verb="report", modules=("json", "pandas"))
    without("pandas")
    with pytest.raises(ConfigError, match="'report'") as caught:
        extras.check_extra("train", verb="report", modules=("pandas",))
    assert caught.value.got == "missing: pandas"


def test_what_is_installed_passes():
    extras.check_extra("train", verb="train")


def test_every_extra_of_pyproject_but_dev_has_its_modules():
    assert set(extras.read_requirements()) - {"", "dev"} == set(extras.EXTRA_MODULES)


def test_requirements_of_a_checkout_and_of_a_wheel_agree(monkeypatch):
    lines = [
        'torch>=2.11; extra == "train"',
        'onnxruntime>=1.23; (sys_platform != "linux" or platform_machine != "x86_64") and extra == "train"',
        'ray[default]>=2.50; extra == "ray"',
        "numpy>=1.26",
        "soundfile",
    ]
    monkeypatch.setattr(extras, "find_checkout", lambda: None)
    monkeypatch.setattr(extras, "_installed_requirements", lambda: lines)
    assert extras.read_requirements() == {
        "": {"numpy": "1.26", "soundfile": ""},
        "train": {"torch": "2.11", "onnxruntime": "1.23"},
        "ray": {"ray": "2.50"},
    }


@pytest.mark.parametrize(
    ("version", "lowest", "enough"),
    [("2.11.0", "2.11", True), ("2.9", "2.11", False), ("2.12.0+cu128", "2.11", True), ("3", "2.11", True), ("2.6.4", "2.6.4", True)],
)
def test_is_at_least(version, lowest, enough):
    assert extras.is_at_least(version, lowest) is enough
