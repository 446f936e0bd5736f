"""The same samples are found again, whatever they are called; what a teacher heard its student has heard too."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ser_kd.contracts.errors import LeakageError
from ser_kd.contracts.utterance import Utterance
from ser_kd.tasks.heard_audio import HEARD_AUDIO, check_run_unheard, check_teachers_unheard, read_heard_audio, write_heard_audio


def make_data(train: str = "", validation: str = "", test: str = "", selection: str = "validation", labelled: bool = True) -> Any:
    """Clips are called after their sound, in capitals where they are another clip with the same one."""
    splits = [tuple(Utterance(name, Path(name), "s") for name in names) for names in (train, validation, test)]
    fold = SimpleNamespace(
        train=splits[0], validation_set=splits[1], test=splits[2], selection=selection, fold=0, is_labelled=lambda name: labelled
    )
    hashes = {name: name.lower() * 32 for name in train + validation + test}
    return SimpleNamespace(fold=fold, audio=SimpleNamespace(audio_hashes=hashes), sample_rate_hz=8000)


def make_teacher(folder: Path) -> Any:
    return SimpleNamespace(name="t", heard_audio=read_heard_audio(folder))


def test_training_and_validation_are_heard_and_test_is_not(tmp_path: Path) -> None:
    write_heard_audio(tmp_path, make_data("ba", "c", "d"))
    assert (tmp_path / HEARD_AUDIO).read_text().splitlines() == ["# decoded at 8000 Hz", "a" * 16, "b" * 16, "c" * 16]
    assert check_run_unheard(tmp_path, "e", make_data(test="DEF")) == []
    with pytest.raises(LeakageError, match="trained or selected with") as fault:
        check_run_unheard(tmp_path, "e", make_data(test="CDEB"))
    assert "2 of 4 clips with the very samples, such as B, C" in fault.value.got


def test_a_student_has_heard_what_its_teacher_heard(tmp_path: Path) -> None:
    write_heard_audio(tmp_path / "teacher", make_data("a", "", "b"))
    teacher = make_teacher(tmp_path / "teacher")
    write_heard_audio(tmp_path / "student", make_data("c", "", "b"), [teacher.heard_audio])
    with pytest.raises(LeakageError):
        check_run_unheard(tmp_path / "student", "e", make_data(test="A"))


def test_a_teacher_that_heard_test_clips_is_refused(tmp_path: Path) -> None:
    write_heard_audio(tmp_path, make_data("a", "", "b"))
    teacher = make_teacher(tmp_path)
    check_teachers_unheard(make_data("A", "", "b"), [teacher])
    with pytest.raises(LeakageError, match="teacher 't'"):
        check_teachers_unheard(make_data("b", "", "A"), [teacher])
    check_teachers_unheard(make_data("b", "", "A", selection="test"), [teacher])  # said by the protocol itself
    check_teachers_unheard(make_data("b", "", "A", labelled=False), [teacher])  # nobody is judged


def test_a_run_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    assert read_heard_audio(tmp_path) == frozenset()
    assert "earlier version" in check_run_unheard(tmp_path, "e", make_data(test="a"))[0]
