from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ser_kd.__main__ import main
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.reports.ledger import find_runs
from ser_kd.tasks import compare


def _load_fake_runs():
    # pytest's importlib mode puts no test folder on the path
    if "fake_runs" not in sys.modules:
        spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).parents[1] / "reports" / "fake_runs.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["fake_runs"] = module
        spec.loader.exec_module(module)
    return sys.modules["fake_runs"]


fake_runs = _load_fake_runs()
STUDENT, DISTILLED = fake_runs.TRIO[1:]
NAMES = ["wav_to_mfcc/student", "wav_to_mfcc/ce_kl"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SER_KD_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def runs(home):
    for run in (STUDENT, DISTILLED):
        fake_runs.write_run(home / "runs", run)
    return home / "runs"


def test_the_comparison_is_printed_and_written(runs, home, capsys):
    (fake_runs.write_run(runs, replace(STUDENT, fold=1)) / "record.json").write_text("{")
    (fake_runs.write_run(runs, fake_runs.FakeRun("torn")) / "record.json").write_text("{")
    assert main(["compare", *NAMES]) == 0
    out, err = capsys.readouterr()
    written = (home / "reports" / "comparison.md").read_text()
    assert written in out
    assert written.startswith("# ce_kl against student\n")
    assert "no p below 0.5000 is possible" in out
    assert "reports/comparison.tex" in out
    assert "fold=1/seed=0/record.json" in err
    assert "torn" not in err
    assert compare.run([*NAMES, f"out={home / 'made'}", "metric=wa"]) == 0
    assert sorted(path.name for path in (home / "made").iterdir()) == ["comparison.csv", "comparison.md", "comparison.tex"]
    assert "points WA" in capsys.readouterr().out


def test_only_the_chosen_folds_and_seeds(runs, capsys):
    for run in (STUDENT, DISTILLED):
        fake_runs.write_run(runs, replace(run, fold=1, seed=3, test_speakers=("f09", "m09")))
    assert compare.run([*NAMES, "folds=1", "seeds=3,4"]) == 0
    out = capsys.readouterr().out
    assert "McNemar, exact, seed 3" in out
    assert "left out: 1 more pair of runs by folds=1 seeds=3,4." in out
    assert "seed 4 was asked for" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Two systems make a comparison"),
        (["a"], "Two systems make a comparison"),
        (["a", "b", "experiment=x"], "Unknown key 'experiment'"),
        (["a", "b", "metirc=ua"], "did you mean 'metric'"),
        (["a", "b", "metric=f1_marco"], "did you mean 'f1_macro'"),
        (["a", "b", "split=train"], "one of test, validation"),
        (["a", "b", "folds=0-4"], "folds=0,1"),
        (["a", "b", "seeds=one"], "no list of whole numbers"),
        (["a", "b", "out=x", "out=y"], "given twice"),
        (["a", "metric=x", "folds=x"], "3 faults"),
    ],
)
def test_wrong_words(home, words, told):
    start = time.process_time()
    with pytest.raises(ConfigError, match=told):
        compare.run(words)
    assert time.process_time() - start < 0.5


def test_words_are_read(home, monkeypatch):
    asked = compare.read_arguments(["a", "folds=2, 0,2", "b", "c@12", "runs=x=y"])
    assert (asked.names, asked.folds, asked.seeds, asked.runs) == (("a", "b", "c@12"), (2, 0), (), Path("x=y"))
    assert (asked.split, asked.metric, asked.out) == ("test", "", Path("reports"))
    monkeypatch.setenv("SER_KD_RUNS", "/far/away")
    assert compare.read_arguments(["a", "b"]).runs == Path("/far/away")


def test_an_unknown_experiment_is_told_with_the_nearest(runs, capsys):
    assert main(["compare", "wav_to_mfcc/student", "wav_to_mfcc/ce_lk"]) == 2
    assert "did you mean 'wav_to_mfcc/ce_kl'?" in capsys.readouterr().err
    with pytest.raises(DataError, match="runs=FOLDER"):
        compare.run(["zebra", "wav_to_mfcc/student"])


def test_no_folder(home):
    with pytest.raises(DataError, match="no such folder"):
        compare.run(NAMES)


def test_an_ambiguous_name_is_refused_with_what_tells_the_trainings_apart(runs):
    other = fake_runs.write_run(runs, replace(DISTILLED, identity="77e1aaaa", fold=2))
    fake_runs.change_record(other, command="ser-kd train experiments=wav_to_mfcc/ce_kl corpus=demo fold=2 seed=0 objective.alpha=0.3")
    with pytest.raises(DataError, match="names 2 trainings") as caught:
        compare.run(NAMES)
    told = caught.value.got.splitlines()
    assert told[1].strip() == "77e0d1f2: finished (fold/seed) 0/0; demo_sessions5 d3m0a71c; teachers wav_to_mfcc/teacher_scratch"
    assert told[2].strip().startswith("77e1aaaa: finished (fold/seed) 2/0; ")
    assert told[2].endswith("; objective.alpha=0.3")
    assert caught.value.remedy == "name it, such as wav_to_mfcc/ce_kl@77e0"
    assert compare.run([NAMES[0], "wav_to_mfcc/ce_kl@77e0"]) == 0
    with pytest.raises(DataError, match="names 2 trainings"):
        compare.run([NAMES[0], "wav_to_mfcc/ce_kl@77e"])
    with pytest.raises(DataError, match="begins with '9'"):
        compare.run([NAMES[0], "wav_to_mfcc/ce_kl@9"])


def test_trials_of_sweeps_make_no_name_ambiguous(runs):
    trial = fake_runs.write_run(runs, replace(STUDENT, identity="beef0001"))
    fake_runs.change_record(trial, sweep="a/sweep")
    (entry,) = compare.find_system(find_runs(runs), STUDENT.experiment)
    assert entry.record.identity == STUDENT.identity
    (entry,) = compare.find_system(find_runs(runs), f"{STUDENT.experiment}@beef")
    assert entry.record.sweep == "a/sweep"


def test_only_finished_trainings_make_a_name_ambiguous(runs):
    fake_runs.write_run(runs, replace(DISTILLED, identity="99", status="failed"))
    assert {entry.record.identity for entry in compare.find_system(find_runs(runs), NAMES[1])} == {"77e0d1f2"}
    with pytest.raises(DataError, match="has no finished run"):
        compare.find_system(find_runs(runs), "wav_to_mfcc/ce_kl@99")


def test_one_training_against_another_of_the_same_experiment(runs, capsys):
    fake_runs.write_run(runs, replace(DISTILLED, identity="99aabbccdd", skill=0.5))
    assert compare.run(["wav_to_mfcc/ce_kl@77", "wav_to_mfcc/ce_kl@99"]) == 0
    assert "# ce_kl 99aabb against ce_kl 77e0d1" in capsys.readouterr().out


def test_a_system_is_not_compared_with_itself(runs):
    with pytest.raises(ConfigError, match="not compared with itself"):
        compare.run([NAMES[0], NAMES[1], "wav_to_mfcc/ce_kl@77"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fingerprint": "0ther"}, "never compared"),
        ({"status": "failed"}, "no finished run"),
        ({"fold": 1}, "no run in common"),
    ],
)
def test_what_cannot_be_compared_ends_with_2(home, capsys, change, told):
    for run in (STUDENT, replace(DISTILLED, **change)):
        fake_runs.write_run(home / "runs", run)
    assert main(["compare", *NAMES]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "to do:" in err
    assert not (home / "reports").exists()


def test_overlapping_folds_end_with_2(runs, capsys):
    for run in (STUDENT, DISTILLED):
        fake_runs.write_run(runs, replace(run, fold=1))
    assert main(["compare", *NAMES]) == 2
    assert "overlap" in capsys.readouterr().err


def test_the_shortest_clear_identity():
    assert compare.shorten_identity("abcd1234", ["abcd1234"]) == "abcd"
    assert compare.shorten_identity("abcd1234", ["abcd1234", "abcd19"]) == "abcd12"


def test_the_choices_are_those_of_the_tests():
    from ser_kd.reports.comparison_tables import METRIC_NAMES
    from ser_kd.reports.confusion_metrics import METRICS
    from ser_kd.reports.dimension_metrics import SCORES

    assert tuple(SCORES) == tuple(METRIC_NAMES)
    assert compare.CHOICES["metric"] == (*METRICS, *(name for name in SCORES if name.startswith("ccc_")))


def test_without_torch_hydra_and_lightning(runs, home):
    code = """
        import sys

        class Blocker:  # scipy looks for torch among the loaded modules, so a None there would not do
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "lightning", "hydra", "omegaconf", "transformers", "matplotlib", "jinja2"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Blocker())
        from ser_kd.tasks import compare
        assert not {"pandas", "scipy"} & set(sys.modules), "heavy before a typo is told"
        assert compare.run(["wav_to_mfcc/student", "wav_to_mfcc/ce_kl"]) == 0
    """
    package = Path(compare.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(package), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert (home / "reports" / "comparison.md").is_file()
