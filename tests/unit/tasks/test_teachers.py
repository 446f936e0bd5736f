from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch import nn

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.contracts.records import ProtocolRecord, RunRecord, TeacherRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.runtime.recording import write_record
from ser_kd.tasks.finished_runs import read_finished_run
from ser_kd.tasks.teachers import find_teacher_run, hash_start, list_twins, load_member

FOLD = ProtocolFold("p", "print", 0, 2, "next_fold", LabelSet("x", ("a", "b")), (Utterance("u", Path("u"), "s"),), (), ())


def write_run(
    root: Path,
    identity: str = "one",
    seed: int = 0,
    status: str = "finished",
    fingerprint: str = "print",
    withheld: tuple[str, ...] = (),
    classes: tuple[str, ...] = ("a", "b"),
    validation: tuple[str, ...] = ("v",),
    sweep: str = "",
) -> Path:
    speakers = {"train": ["s"], "validation": list(validation), "test": ["t"]}
    protocol = ProtocolRecord("p", fingerprint, 0, 2, "next_fold", "validation", "x", list(classes), {}, speakers, withheld=list(withheld))
    folder = root / "paper" / "teacher" / identity / "fold=0" / f"seed={seed}"
    write_record(folder, RunRecord("paper/teacher", identity, status, seed, "demo", protocol, sweep=sweep))
    return folder


def fold_of(train: str = "s w", test: str = "t") -> ProtocolFold:
    def clips(names: str) -> tuple[Utterance, ...]:
        return tuple(Utterance(f"u{name}", Path("u"), name) for name in names.split())

    return ProtocolFold("p", "print", 0, 2, "next_fold", LabelSet("x", ("a", "b")), clips(train), clips("v"), clips(test))


def find(root: Path, seed: int = 0) -> Path:
    return find_teacher_run(root, "paper/teacher", FOLD, seed, lambda: "train it: ser-kd train experiments=paper/teacher")


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


def test_trials_of_sweeps_teach_nobody_unless_they_are_named(tmp_path: Path) -> None:
    trials = [write_run(tmp_path, f"trial{number}", sweep="a/sweep") for number in range(3)]
    with pytest.raises(ConfigError, match="No finished run of the teacher") as fault:
        find(tmp_path)
    assert "3 finished as trials of sweeps" in fault.value.got
    ordinary = write_run(tmp_path, "one")
    assert find(tmp_path) == ordinary
    assert read_finished_run(trials[0]).sweep == "a/sweep"


def test_an_unfinished_run_is_not_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, status="failed")
    with pytest.raises(DataError, match="no finished run") as fault:
        read_finished_run(folder)
    assert "failed" in fault.value.got


def test_a_run_with_other_speakers_withheld_is_another_run(tmp_path: Path) -> None:
    part = fold_of().withhold(2, 2)
    assert part.to_record().withheld == ["w"]
    whole = write_run(tmp_path, "whole")
    with pytest.raises(ConfigError, match="without speakers w") as fault:
        find_teacher_run(tmp_path, "paper/teacher", part, 0)
    assert "other speakers withheld" in fault.value.got
    without = write_run(tmp_path, "part", withheld=("w",))
    assert find_teacher_run(tmp_path, "paper/teacher", part, 0) == without
    assert find(tmp_path) == whole


def test_a_named_seed_is_taken_exactly(tmp_path: Path) -> None:
    write_run(tmp_path, seed=1)
    with pytest.raises(ConfigError, match="No finished run"):
        find_teacher_run(tmp_path, "paper/teacher", FOLD, 2, exact_seed=True)


@pytest.mark.parametrize("test", ["s", "v"])
def test_a_teacher_that_has_heard_test_speakers_is_refused(tmp_path: Path, test: str) -> None:
    folder = write_run(tmp_path)
    with pytest.raises(LeakageError, match="has seen test speakers") as fault:
        load_member(folder, fold_of(train="x", test=test), "demo", "teacher")
    assert f"on {test}" in fault.value.got
    # the same names in another corpus are other people: only the weights are missing then
    with pytest.raises(DataError, match=r"no usable config\.yaml"):
        load_member(folder, fold_of(train="x", test=test), "another", "teacher")


def test_a_member_with_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The teacher 'm' has other classes"):
        load_member(write_run(tmp_path, classes=("a", "c")), fold_of(), "demo", "m")


def test_a_student_that_begins_as_its_teacher_did_is_told() -> None:
    config = OmegaConf.create({"student": {"encoder": {"filters": 6}, "init_from": None}, "seed": 1})
    other = OmegaConf.create({"student": {"encoder": {"filters": 7}, "init_from": None}})
    starts = {"twin": hash_start(config, 1), "seed": hash_start(config, 2), "size": hash_start(other, 1), "unknown": ""}
    record = TeacherRecord("", None, None, None, [], 0)
    members = [TeacherMember(nn.Identity(), replace(record, name=name), start=start) for name, start in starts.items()]
    (told,) = list_twins(config, TeacherEnsemble(members, ("a", "b")))
    assert "of the teacher twin" in told
    config.student.init_from = "teacher"  # which says so itself
    assert list_twins(config, TeacherEnsemble(members, ("a", "b"))) == []
