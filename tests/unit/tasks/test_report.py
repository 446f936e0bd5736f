from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.tasks import report


def _load_fake_runs():
    # pytest's importlib mode puts no test folder on the path
    if "fake_runs" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).parents[1] / "reports" / "fake_runs.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["fake_runs"] = module
        spec.loader.exec_module(module)
    return sys.modules["fake_runs"]


fake_runs = _load_fake_runs()


def write_few_files(root: Path, *runs) -> None:
    """Runs without predictions and curves, which have few figures to draw."""
    for run in runs:
        folder = fake_runs.write_run(root, run)
        (folder / "predictions.csv").unlink()
        (folder / "logs" / "metrics.csv").unlink()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SER_KD_RUNS", raising=False)
    monkeypatch.setattr(report, "find_experiment_roots", lambda: [tmp_path / "experiments"])
    monkeypatch.setenv("COLUMNS", "90")
    return tmp_path


def test_the_report_is_made_and_told(home, capsys):
    for run in fake_runs.TRIO:
        (fake_runs.write_run(home / "runs", run) / "logs" / "metrics.csv").unlink()
    (home / "experiments" / "wav_to_mfcc").mkdir(parents=True)
    (home / "experiments" / "wav_to_mfcc" / "published.csv").write_text(
        "model,variant,metric,value,unit,source,note\nStudent,student,wa,78.67,%,slides,\n"
    )
    (fake_runs.write_run(home / "runs", fake_runs.FakeRun("torn")) / "record.json").write_text("{")
    assert report.run(["resamples=200"]) == 0
    out, err = capsys.readouterr()
    assert "teacher_scratch" in out
    assert "student distilled" in out
    assert "0.143" in out
    assert "gain in" in out
    assert "reports/report.md" in out
    assert "reports/report.html" in out
    assert max(map(len, out.splitlines())) <= 90
    assert "torn/4f1c09ab" in err
    assert "78.67 %" in (home / "reports" / "report.md").read_text()
    assert "78.67 %" in (home / "reports" / "report.html").read_text()


def test_only_the_chosen_experiments(home, capsys):
    write_few_files(home / "elsewhere", *(replace(run, teacher=None) for run in fake_runs.TRIO[1:]))
    assert report.run([str(home / "elsewhere"), "experiments=*/student", f"out={home / 'made'}", "resamples=200"]) == 0
    assert "ce_kl" not in capsys.readouterr().out
    assert (home / "made" / "leaderboard.csv").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["experiment=x"], "did you mean 'experiments'"),
        (["ruins=x"], "did you mean 'runs'"),
        (["zebra=1"], "--help"),
        (["out=a", "out=b"], "given twice"),
        (["a", "runs=b"], "given twice"),
        (["resamples=many"], "whole number"),
        (["resamples=3"], "whole number"),
        (["otu=x", "resamples=0"], "2 faults"),
    ],
)
def test_wrong_words(home, words, told):
    with pytest.raises(ConfigError, match=told):
        report.run(words)


def test_words_are_read(home, monkeypatch):
    asked = report.read_arguments(["my runs", "experiments=a/*, b ,", "out=x=y"])
    assert (asked.runs, asked.out, asked.experiments, asked.resamples) == (Path("my runs"), Path("x=y"), ("a/*", "b"), 2000)
    assert report.read_arguments([]).runs == Path("runs")
    monkeypatch.setenv("SER_KD_RUNS", "/far/away")
    assert report.read_arguments([]).runs == Path("/far/away")
    (home / "fold=0").mkdir()
    assert report.read_arguments(["fold=0"]).runs == Path("fold=0")


def test_no_folder(home):
    with pytest.raises(DataError, match="no such folder"):
        report.run([])


def test_no_run_and_no_finished_run(home):
    (home / "runs").mkdir()
    with pytest.raises(DataError, match="0 failed, 0 unfinished, 0 unreadable"):
        report.run([])
    fake_runs.write_run(home / "runs", fake_runs.FakeRun(status="failed", failure="The loss became NaN.\nmore"))
    fake_runs.write_run(home / "runs", fake_runs.FakeRun(seed=1, status="running"))
    with pytest.raises(DataError, match=r"1 failed, 1 unfinished, 0 unreadable; .*: The loss became NaN\.\n"):
        report.run([])
    assert not (home / "reports").exists()


def test_a_pattern_that_fits_nothing(home):
    fake_runs.write_run(home / "runs", fake_runs.TRIO[1])
    with pytest.raises(DataError, match="did you mean 'wav_to_mfcc/student'"):
        report.run(["experiments=wav_to_mfcc/studnet"])


def test_without_torch_hydra_and_lightning(home):
    write_few_files(home / "runs", fake_runs.TRIO[1])
    code = """
        import sys
        for name in ("torch", "lightning", "hydra", "omegaconf", "transformers", "torchmetrics"):
            sys.modules[name] = None
        from ser_kd.tasks import report
        assert not {"pandas", "matplotlib"} & set(sys.modules), "heavy before a typo is told"
        assert report.run(["resamples=200"]) == 0
        assert "matplotlib.pyplot" not in sys.modules
    """
    package = Path(report.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(package), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert (home / "reports" / "report.html").is_file()


def test_a_typo_is_told_at_once(home):
    start = time.process_time()
    with pytest.raises(ConfigError):
        report.run(["experiment=x"])
    assert time.process_time() - start < 0.5
