"""Which audio a run has heard, kept beside it as hashes, so that the same sound under another name is found wherever it is judged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ser_kd.contracts.errors import LeakageError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.storage.atomic import write_text

HEARD_AUDIO = "heard_audio.txt"
_LENGTH = 16
"""Hexadecimal digits that are kept of a hash: among a million clips the chance of two alike is one in forty million."""


def write_heard_audio(folder: Path, data: SpeechDataModule, others: Iterable[frozenset[str]] = ()) -> None:
    """Write the hashes of all audio that a run is trained and selected with, and of what its teachers and upstreams were.

    Args:
        folder: Run folder.
        data: Its clips.
        others: What each teacher and upstream has heard.
    """
    clips = (*data.fold.train, *data.fold.validation_set)
    heard = {data.audio.audio_hashes[u.id][:_LENGTH] for u in clips}.union(*others)
    lines = [f"# decoded at {data.sample_rate_hz} Hz", *sorted(heard)]
    write_text(folder / HEARD_AUDIO, "\n".join(lines) + "\n")


def read_heard_audio(folder: Path) -> frozenset[str]:
    """Read the hashes of what a run has heard; none where it is older than this file."""
    path = folder / HEARD_AUDIO
    return frozenset(path.read_text(encoding="utf-8").split("\n")[1:]) - {""} if path.is_file() else frozenset()


def find_heard(data: SpeechDataModule, heard: frozenset[str]) -> list[str]:
    """Find the test clips whose very samples are among what was heard; sounds of other sample rates are other samples.

    Args:
        data: Whose test split.
        heard: Hashes.

    Returns:
        Utterance ids, sorted.
    """
    return sorted(u.id for u in data.fold.test if data.audio.audio_hashes[u.id][:_LENGTH] in heard)


def check_run_unheard(folder: Path, experiment: str, data: SpeechDataModule) -> list[str]:
    """Check that a run is not judged on audio that it, or a teacher of its, was trained or selected with.

    Args:
        folder: Run folder.
        experiment: Its experiment, for the message.
        data: What it is judged on.

    Returns:
        What a reader must know.

    Raises:
        LeakageError: If there is such audio.
    """
    heard = read_heard_audio(folder)
    if not heard:
        return ["audio was not compared with that of training: the run is of an earlier version and kept no hashes of it"]
    known = find_heard(data, heard)
    if known:
        raise LeakageError(
            "The corpus holds audio that the run was trained or selected with, under whatever name.",
            expected=f"clips that {experiment} has not heard",
            got=f"{len(known)} of {len(data.fold.test)} clips with the very samples, such as {', '.join(known[:3])}",
            remedy="take these clips out of the corpus, or judge the run on its own test split (leave corpus=… out)",
        )
    return []


def check_teachers_unheard(data: SpeechDataModule, teachers: Iterable[TeacherMember]) -> None:
    """Check that no teacher was trained or selected with audio of the test split; errors as ``check_other_unheard``."""
    for teacher in teachers:
        check_other_unheard(data, "teacher", teacher.name, teacher.heard_audio)


def check_other_unheard(data: SpeechDataModule, role: str, name: str, heard: frozenset[str]) -> None:
    """Check that a run that a student learns from was not trained or selected with audio of the student's test split.

    A protocol that validates on its test split chose so for others too; they are left alone there, as speakers are. Test clips without
    labels judge nobody: how well a student follows its teacher may be told on clips that the teacher knows.

    Args:
        data: The student's clips.
        role: What the run is to the student, for the message.
        name: Its name.
        heard: Hashes of what it has heard.

    Raises:
        LeakageError: If it was.
    """
    if data.fold.selection == "test" or not data.fold.is_labelled("test"):
        return
    known = find_heard(data, heard)
    if known:
        raise LeakageError(
            f"The {role} '{name}' was trained or selected with audio of the test split.",
            expected=f"a run as {role} that has not heard the test clips of this fold, under whatever name",
            got=f"{len(known)} of {len(data.fold.test)} test clips with the very samples, such as {', '.join(known[:3])}",
            remedy=f"train the {role} on the same corpus and fold (fold={data.fold.fold}) under the same protocol",
        )
