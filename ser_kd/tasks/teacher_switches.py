"""Members of a teacher that are switched off take their terms along, and those that stay say how wide the student's projections are."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.embedding_requests import list_widths
from ser_kd.distill.heard_members import list_heard_members
from ser_kd.distill.objective import COMBINED, Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_spec import TeacherSpec

AS_TEACHER = "teacher"
"""The width of a projection that is to be as wide as the embedding of the member it is called after."""


def drop_members(config: DictConfig, spec: TeacherSpec) -> list[str]:
    """Take terms and projections of dropped members out of the configuration.

    A term that listens to all members together stays as long as one is left.

    Args:
        config: Checked configuration; it is changed.
        spec: Its teacher.

    Returns:
        What was done, a line for each member.
    """
    gone = {*spec.dropped, *([] if spec.sources else [COMBINED])}
    terms = {name: term.loss.get("teacher") for name, term in config.objective.terms.items() if term is not None}
    projections = _find_projections(config)
    lines = []
    for member in [*spec.dropped, *(gone - {*spec.dropped})]:
        silent = [name for name, heard in terms.items() if heard == member]
        for name in silent:
            config.objective.terms[name] = None
        taken = [f"objective.terms.{name}" for name in silent]
        if projections is not None and projections.get(member) is not None:
            projections[member] = None
            taken.append(f"student.head.projections.{member}")
        what = f"the teacher {member} is dropped" if member != COMBINED else "no teacher is left"
        if member != COMBINED or taken:
            lines.append(f"{what}{', and with it ' + ', '.join(taken) if taken else ''}")
    return lines


def keep_heard_members(config: DictConfig, objective: Objective, teacher: TeacherEnsemble) -> tuple[TeacherEnsemble | None, list[str]]:
    """Leave those members of a teacher that somebody listens to.

    A student that starts from its teacher is compared with it, whether a term listens or not.

    Args:
        config: Checked configuration.
        objective: Its objective.
        teacher: All members.

    Returns:
        Who is asked, or None, and a line where somebody is not.
    """
    names = [member.name for member in teacher.members]
    heard = names if config.student.get("init_from") == "teacher" else list_heard_members(objective, names)
    silent = [name for name in names if name not in heard]
    lines = [f"no term that counts listens to the teacher {name}: it is not run" for name in silent]
    return teacher.keep(heard), lines


def fill_projection_widths(config: DictConfig, objective: Objective, teacher: TeacherEnsemble | None) -> None:
    """Write into the configuration how wide the student's projections are that follow a teacher.

    A projection is as wide as the embedding which a term brings together with it, else as the member's pooled one.

    Args:
        config: Checked configuration; it is changed.
        objective: Its objective.
        teacher: All members, or None.

    Raises:
        ConfigError: If a projection is called after a member that is not there, or one that does not say how wide its embedding is.
    """
    projections = _find_projections(config)
    if projections is None or teacher is None:
        return
    models = {member.name: member.model for member in teacher.members}
    for name in [str(key) for key, width in projections.items() if width == AS_TEACHER]:
        place = f"student.head.projections.{name}"
        if name not in models:
            raise ConfigError(
                f"The projection '{name}' follows a teacher that is not there.",
                expected=", ".join(models),
                got=f"{place}={AS_TEACHER}",
                remedy=f"{suggest(name, models) or 'name that member'}, or set {place}=null, or to a number",
            )
        widths = list_widths(models[name], f"teacher '{name}'", place)
        wanted = _find_followed(objective, name)
        projections[name] = widths.get(wanted, widths.get(None))


def _find_followed(objective: Objective, member: str) -> str | None:
    """Give which embedding of a member a term compares with the projection called after it."""
    for loss in objective.losses.values():
        if getattr(loss, "student_embedding", None) == member and getattr(loss, "teacher", None) == member:
            return getattr(loss, "teacher_embedding", None)
    return None


def _find_projections(config: DictConfig) -> DictConfig | None:
    head = config.student.get("head")
    found = head.get("projections") if isinstance(head, Mapping) else None
    return found if isinstance(found, DictConfig) else None
