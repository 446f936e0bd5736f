"""Which teacher, which embedding and which temperature a term uses, and what is told where one is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.shapes import check_rank


def listen(teacher: TeacherAnswers | None, name: str, term: str) -> Outputs:
    """Give what a term's teacher says.

    Args:
        teacher: All answers, or None.
        name: ``combined``, or the name of a member.
        term: Name of the term, for messages.

    Raises:
        ConfigError: If there is no teacher, or no member of that name.
    """
    if teacher is None:
        raise ConfigError(
            f"'{term}' needs a teacher.",
            expected="a teacher in the run",
            got="teacher: null",
            remedy=f"choose a teacher, or take {term} out of the objective",
        )
    try:
        return teacher.listen_to(name)
    except KeyError as fault:
        raise ConfigError(
            f"No teacher is called '{name}'.",
            expected=", ".join(["combined", *teacher.members]),
            got=name,
            remedy=f"set {term}.teacher to one of them",
        ) from fault


def take_temperature(temperature: float | None, term: str) -> float:
    """Give a term's temperature.

    Raises:
        ConfigError: If neither the term nor the objective has one.
    """
    if temperature is None:
        raise ConfigError(
            f"'{term}' has no temperature.",
            expected="a temperature of its own or of the objective",
            got="null",
            remedy=f"set objective.temperature, or {term}.temperature",
        )
    return temperature


def take_logits(student: Outputs, answers: Outputs, teacher_name: str, term: str) -> tuple[Tensor, Tensor]:
    """Give the logits of student and teacher, the latter without gradient.

    Raises:
        ConfigError: If one of them has none.
    """
    if student.logits is None or answers.logits is None:
        silent = "student" if student.logits is None else f"teacher '{teacher_name}'"
        raise ConfigError(
            f"'{term}' needs class logits on both sides.",
            expected="student and teacher with a classification head",
            got=f"{silent} without logits",
            remedy=f"choose one that answers with classes, or take {term} out of the objective",
        )
    return student.logits, answers.logits.detach()


def take_embedding(outputs: Outputs, name: str | None, speaker: str, term: str) -> Tensor:
    """Give the pooled embedding or a named one.

    Args:
        outputs: Of the student or a teacher.
        name: Name among ``outputs.embeddings``; None is ``outputs.embedding``.
        speaker: Whose they are, for messages.
        term: Name of the term, for messages.

    Returns:
        (B, D).

    Raises:
        ConfigError: If there is no such embedding.
        ShapeError: If it is not (B, D).
    """
    embedding = outputs.embedding if name is None else outputs.embeddings.get(name)
    if embedding is None:
        there = (["the pooled one (null)"] if outputs.embedding is not None else []) + list(outputs.embeddings)
        raise ConfigError(
            f"'{term}' finds no {'pooled embedding' if name is None else f'embedding {name!r}'} of the {speaker}.",
            expected=", ".join(there) if there else "a model that answers with an embedding",
            got=name or "none",
            remedy=f"name another embedding in {term}, or choose a model that has it",
        )
    check_rank(embedding, 2, f"embedding of the {speaker}", "(B, D)")
    return embedding


def take_teacher_embedding(teacher: TeacherAnswers | None, teacher_name: str, name: str | None, clips: int, term: str) -> Tensor:
    """Give a teacher's embedding without gradient.

    An ensemble whose members differ in width has no combined embedding: then a member must be named.

    Args:
        teacher: All answers, or None.
        teacher_name: ``combined``, or the name of a member.
        name: Name among its ``embeddings``; None is its ``embedding``.
        clips: B of the student.
        term: Name of the term, for messages.

    Returns:
        (B, D).

    Raises:
        ConfigError: If there is no teacher, no such member or no such embedding.
        ShapeError: If it is not of the same clips.
    """
    answers = listen(teacher, teacher_name, term)
    members = teacher.members if teacher is not None else {}
    if teacher_name == "combined" and len(members) > 1 and name is None and answers.embedding is None:
        raise ConfigError(
            f"'{term}' finds no embedding of the combined teacher.",
            expected="members whose embeddings are equally wide, or one of them named",
            got=", ".join(f"{member} {_width(outputs)}" for member, outputs in members.items()),
            remedy=f"set {term}.teacher to one of {', '.join(members)}",
        )
    embedding = take_embedding(answers, name, f"teacher '{teacher_name}'", term).detach()
    check_same_clips(clips, len(embedding))
    return embedding


def take_frames(outputs: Outputs, layer: int | None, speaker: str, term: str, remedy: str) -> tuple[Tensor, Tensor | None]:
    """Give frames of a layer and which of them are valid.

    Args:
        outputs: Of the student or a teacher.
        layer: Number of a hidden state; None is the last ``frames``.
        speaker: Whose they are, for messages.
        term: Name of the term, for messages.
        remedy: What to do where there are none.

    Returns:
        (B, F, D), and (B, F) bool or None where every frame is valid.

    Raises:
        ConfigError: If there are no such frames.
        ShapeError: If they are not (B, F, D), or the mask is of another size.
    """
    frames = outputs.frames if layer is None else outputs.hidden_states.get(layer)
    name = "frames" if layer is None else f"layer {layer}"
    if frames is None:
        layers = f"layers {', '.join(map(str, sorted(outputs.hidden_states)))}" if outputs.hidden_states else "no layers"
        raise ConfigError(
            f"'{term}' finds no {name} of the {speaker}.",
            expected="a model that answers with frames" if layer is None else layers,
            got="an embedding alone" if layer is None else name,
            remedy=remedy,
        )
    check_rank(frames, 3, f"{name} of the {speaker}", "(B, F, D)")
    mask = outputs.mask_of(layer)
    if mask is not None and mask.shape != frames.shape[:2]:
        raise ShapeError(
            f"{name.capitalize()} and mask of the {speaker} differ in size.",
            expected=f"a mask {tuple(frames.shape[:2])}",
            got=f"{tuple(mask.shape)}",
            remedy="choose a layer with the frame rate of the mask, or let the encoder give the layer's own mask (hidden_masks)",
        )
    return frames, mask


def check_same_clips(student_clips: int, teacher_clips: int) -> None:
    """Check that both answer about the same clips.

    Raises:
        ShapeError: If they are not as many.
    """
    if student_clips != teacher_clips:
        raise ShapeError(
            "Student and teacher answer about different numbers of clips.",
            expected=f"{student_clips} clips, as the student",
            got=f"{teacher_clips} clips of the teacher",
            remedy="let both hear views of the same batch",
        )


def check_layers_exist(who: str, wanted: Iterable[int], there: Collection[int], key: str) -> None:
    """Check that a model has the hidden layers that a term wants.

    Args:
        who: ``student`` or ``teacher``.
        wanted: Layers of the term.
        there: Layers of the model.
        key: Where they are configured.

    Raises:
        ConfigError: If one does not exist.
    """
    missing = [layer for layer in wanted if layer not in there]
    if missing:
        raise ConfigError(
            f"The {who} has no such hidden layer.",
            expected=f"layers of the {who} among {', '.join(map(str, there))}",
            got=f"layer {', '.join(map(str, missing))}",
            remedy=f"correct {key}",
        )


def _width(outputs: Outputs) -> str:
    return "without embedding" if outputs.embedding is None else f"of width {outputs.embedding.shape[-1]}"
