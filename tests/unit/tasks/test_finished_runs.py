from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.records import ProtocolRecord, RunRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.evaluation_protocol import ProtocolFold
from ser_kd.runtime.recording import write_record
from ser_kd.tasks.finished_runs import find_teacher_run, read_finished_run

FOLD = ProtocolFold("p", "print", 0, 2, "next_fold", LabelSet("x", ("a", "b")), (Utterance("u", Path("u"), "s"),), (), ())


def write_run(root: Path, identity: str = "one", seed: int = 0, status: str = "finished", fingerprint: str = "print") -> Path:
    protocol = ProtocolRecord("p", fingerprint, 0, 2, "next_fold", "validation", "x", ["a", "b"], {}, {})
    folder = root / "paper" / "teacher" / identity / "fold=0" / f"seed={seed}"
    write_record(folder, RunRecord("paper/teacher", identity, status, seed, "demo", protocol))
    return folder


def find(root: Path, seed: int = 0) -> Path:
    return find_teacher_run(root, "paper/teacher", FOLD, seed, "ser-kd train experiments=paper/teacher")


def test_the_same_seed_is_preferred_else_the_lowest(tmp_path: Path) -> None:
    low, high = write_run(tmp_path, seed=1), write_run(tmp_path, seed=2)
    assert find(tmp_path, seed=2) == high
    assert find(tmp_path, seed=5) == low


def test_only_finished_runs_of_the_same_protocol_count(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0, status="running")
    write_run(tmp_path, seed=1, fingerprint="other")
    with pytest.raises(ConfigError, match="No finished run of the teacher") as fault:
        find(tmp_path)
    assert "1 finished under another protocol" in fault.value.got
    assert "ser-kd train experiments=paper/teacher" in fault.value.remedy


def test_several_configurations_are_not_guessed_between(tmp_path: Path) -> None:
    write_run(tmp_path, "one")
    write_run(tmp_path, "two", seed=1)
    with pytest.raises(ConfigError, match="several configurations") as fault:
        find(tmp_path)
    assert "teacher.run=FOLDER" in fault.value.remedy


def test_an_unfinished_run_is_not_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, status="failed")
    with pytest.raises(DataError, match="no finished run") as fault:
        read_finished_run(folder)
    assert "failed" in fault.value.got
