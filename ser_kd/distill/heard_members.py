"""Whom the terms of an objective listen to: a member nobody hears is not run, and one that is not there is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.distill.objective import COMBINED, Objective, heard_by
from ser_kd.distill.teacher_spec import SINGLE, TeacherSpec


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
        name = f"name that member (+teacher.members.{heard}.experiment=NAME)"
        if set(members) == {SINGLE}:  # members cannot stand beside it
            wanted = dict.fromkeys(one for loss in objective.losses.values() if (one := heard_by(loss)) not in (None, COMBINED, SINGLE))
            named = ",".join(f"{one}:{{experiment:NAME}}" for one in wanted)
            name = (
                f"name members in the place of the single teacher (teacher=ensemble 'teacher.members={{{named}}}' "
                "without teacher.experiment and teacher.run)"
            )
        raise ConfigError(
            f"The term '{term}' listens to a teacher that is not there.",
            expected=", ".join([COMBINED, *members]),
            got=f"{place}.loss.teacher={heard}",
            remedy=f"{near + ' Else ' if near else ''}{name}, correct {place}.loss.teacher, or set {place}=null",
        )


def check_weights_heard(objective: Objective, spec: TeacherSpec) -> None:
    """Check that weights of members weigh something that is learned from.

    Weights belong to the combined answer. Terms that listen to members by name do not hear it, unless ``weigh_members`` hands the shares
    on to them.

    Args:
        objective: Its terms.
        spec: Who teaches.

    Raises:
        ConfigError: If weights are chosen and no term would learn otherwise without them.
    """
    heard = {heard_by(objective.losses[name]) for name in objective.terms_needing_teacher()}
    if spec.weights == "uniform" or len(spec.member_names) < 2 or not heard or COMBINED in heard or objective.weigh_members:
        return
    raise ConfigError(
        "The members are weighed, and no term hears of it.",
        expected="objective.weigh_members=true, or a term that listens to all members at once (loss.teacher=combined)",
        got=f"teacher.weights={spec.weights}, and terms that listen to {', '.join(sorted(str(name) for name in heard))} alone",
        remedy="set objective.weigh_members=true, which multiplies each member's terms by its share, or teacher.weights=uniform",
    )
