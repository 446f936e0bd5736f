from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _load_fake_runs():
    # pytest's importlib mode puts no test folder on the path
    if "fake_runs" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules["fake_runs"] = module
        spec.loader.exec_module(module)
    return sys.modules["fake_runs"]


fake_runs = _load_fake_runs()


@pytest.fixture
def runs_root(tmp_path):
    """Teacher, student alone and distilled student on one fold."""
    root = tmp_path / "runs"
    for run in fake_runs.TRIO:
        fake_runs.write_run(root, run)
    return root
