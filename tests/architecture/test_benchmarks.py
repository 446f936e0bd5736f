from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks.measuring import RESULTS, Ratio

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "__main__", "measuring"}


def test_every_benchmark_is_run_described_and_measured() -> None:
    assert set(runner.NAMES) == FILES
    page = runner.PAGE.read_text()
    for name in FILES:
        assert f"| `{name}` |" in page.partition(runner.BEGIN)[0]
        if name in runner.NEEDS_GPU and not (RESULTS / f"{name}.json").is_file():
            assert f"| `{name}` | on a CUDA device" in page
            assert "no result yet: not run" in page
            continue
        content = json.loads((RESULTS / f"{name}.json").read_text())
        assert set(content) >= {"name", "ratios", "sizes", "hardware", "packages"}
        assert content["name"] == name
        assert content["ratios"]


def test_the_table_is_that_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(runner.PAGE.read_text())
    monkeypatch.setattr(runner, "PAGE", copy)
    runner.write_table()
    assert copy.read_text() == (ROOT / "benchmarks" / "README.md").read_text()


def test_no_result_tells_where_it_was_measured_by_name() -> None:
    for path in RESULTS.glob("*.json"):
        assert not re.search(r"/(home|tmp|work|root)/|hostname", path.read_text()), path


def test_a_ratio_knows_what_is_wanted() -> None:
    assert Ratio("a / b", 3.0, at_least=2.0).is_met
    assert not Ratio("a / b", 1.0, at_least=2.0).is_met
    assert not Ratio("a / b", 3.0, at_most=2.0).is_met
    assert Ratio("a / b", 3.0).wanted == ""
    assert Ratio("a / b", 3.0, at_least=2.0).wanted == "at least 2"
