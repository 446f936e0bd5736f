"""Whom the terms of an objective listen to: a member nobody hears is not run, and one that is not there is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.objective import COMBINED, Objective, heard_by


def list_heard_members(objective: Objective, members: Sequence[str]) -> list[str]:
    """List the members that a term listens to which is not switched off; ``combined`` is all of them.

    Args:
        objective: Its terms.
        members: Names of all members, in their order.
    """
    heard = {heard_by(objective.losses[name]) for name in objective.terms_needing_teacher()}
    return [name for name in members if COMBINED in heard or name in heard]


def check_members_exist(objective: Objective, members: Collection[str]) -> None:
    """Check that every term that listens to a member by its name finds one, be it switched off or not.

    Args:
        objective: Its terms.
        members: Names of all members.

    Raises:
        ConfigError: If one listens to nobody.
    """
    for term, loss in objective.losses.items():
        heard = heard_by(loss)
        if heard is None or heard == COMBINED or heard in members:
            continue
        place = f"objective.terms.{term}"
        near = suggest(heard, [COMBINED, *members])
        raise ConfigError(
            f"The term '{term}' listens to a teacher that is not there.",
            expected=", ".join([COMBINED, *members]),
            got=f"{place}.loss.teacher={heard}",
            remedy=f"{near + ' Else ' if near else ''}name that member (+teacher.members.{heard}.experiment=NAME), "
            f"correct {place}.loss.teacher, or set {place}=null",
        )
