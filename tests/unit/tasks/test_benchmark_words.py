from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.engines import ENGINES
from ser_kd.tasks.benchmark_words import read_benchmark_words

RUN = "runs/wav_to_mfcc/ce_kl/d98f54ab4be1/fold=0/seed=0"


def test_run_folders_files_and_experiments_are_systems_whatever_stands_in_their_names():
    asked = read_benchmark_words([RUN, "/models/a=b.onnx", "wav_to_mfcc/student", "teacher=wav_to_mfcc/teacher"], cores=2)
    assert asked.systems == (RUN, "/models/a=b.onnx", "wav_to_mfcc/student")
    assert asked.teacher == "wav_to_mfcc/teacher"
    assert asked.names == (*asked.systems, "wav_to_mfcc/teacher")


def test_a_run_folder_may_be_named_from_within_its_identity_and_a_teacher_by_its_folder(tmp_path, monkeypatch):
    (tmp_path / "fold=0" / "seed=1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    asked = read_benchmark_words(["fold=0/seed=1", f"teacher={RUN}"], cores=2)
    assert asked.systems == ("fold=0/seed=1",)
    assert asked.teacher == RUN


def test_what_nothing_says():
    asked = read_benchmark_words(["a/b"], cores=4)
    assert asked.seconds == (1.0, 3.0, 5.27, 10.0)
    assert asked.threads == (1, 4)
    assert asked.engines == tuple(ENGINES)
    assert (asked.rounds, asked.budget_s, asked.scale, asked.out) == (20, 5.0, "paper", Path("reports"))


def test_one_core_is_measured_once():
    assert read_benchmark_words(["a/b"], cores=1).threads == (1,)


def test_lists_are_sorted_and_each_value_stands_once():
    asked = read_benchmark_words(["a/b", "seconds=10, 1,1.0", "threads=2,1", "engines=onnx_int8,eager"], cores=2)
    assert asked.seconds == (1.0, 10.0)
    assert asked.threads == (1, 2)
    assert asked.engines == ("eager", "onnx_int8")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("engines=onx_fp32", "did you mean 'onnx_fp32'?"),
        ("engines=", "Unknown engine ''"),
        ("threads=0", "thread counts from 1 to 2"),
        ("threads=3", "thread counts from 1 to 2"),
        ("threads=many", "'threads' cannot be read"),
        ("seconds=0", "'seconds' cannot be read"),
        ("seconds=-1", "'seconds' cannot be read"),
        ("seconds=nan", "'seconds' cannot be read"),
        ("seconds=inf", "'seconds' cannot be read"),
        ("seconds=1;3", "'seconds' cannot be read"),
        ("seconds=", "'seconds' cannot be read"),
        ("rounds=0", "'rounds' cannot be read"),
        ("rounds=1,2", "one whole number"),
        ("rounds=²", "'rounds' cannot be read"),
        ("budget=no", "'budget' cannot be read"),
        ("second=1", "did you mean 'seconds'?"),
        ("teacher=a/b", "more than once"),
    ],
)
def test_what_cannot_be_is_told(word, told):
    with pytest.raises(ConfigError) as fault:
        read_benchmark_words(["a/b", word], cores=2)
    assert told in str(fault.value)


def test_all_faults_are_told_together():
    with pytest.raises(ConfigError) as fault:
        read_benchmark_words(["engines=egaer", "threads=x", "sekonds=1"], cores=2)
    for told in ("4 faults", "did you mean 'eager'?", "'threads' cannot be read", "did you mean 'seconds'?", "nothing to measure"):
        assert told in str(fault.value)
