from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from ser_kd.reports.content import gather_content
from ser_kd.reports.ledger import find_runs


def _load(name: str):
    # pytest's importlib mode puts no test folder on the path
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


fake_runs = _load("fake_runs")
_load("fake_benchmark")
_load("fake_sweeps")
_load("fake_robustness")


@pytest.fixture(scope="session")
def trio_root(tmp_path_factory):
    """Teacher, student alone and distilled student on one fold; to be read, never changed."""
    root = tmp_path_factory.mktemp("trio") / "runs"
    for run in fake_runs.TRIO:
        fake_runs.write_run(root, run)
    return root


@pytest.fixture
def runs_root(trio_root, tmp_path):
    """The same runs, to be changed."""
    return shutil.copytree(trio_root, tmp_path / "runs")


@pytest.fixture(scope="session")
def trio_content(trio_root):
    """The gathered report of the trio; drawn once, as figures take their time."""
    return gather_content(find_runs(trio_root), resamples=200)
