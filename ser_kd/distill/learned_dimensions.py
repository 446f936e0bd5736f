"""Which of arousal, dominance and valence a run can learn at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.distill.objective import COMBINED, Objective, heard_by


def list_learned_dimensions(
    objective: Objective, annotated: Collection[str], members: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """List the dimensions that a term of the objective learns, from labels or from a teacher that knows them.

    A term that is switched off teaches nothing, nor does one that gives a dimension the weight 0.

    Args:
        objective: The terms.
        annotated: Dimensions whose annotations vary within the training split.
        members: Teacher -> the dimensions it learned.

    Returns:
        Names, in the order arousal, dominance, valence.
    """
    members = members or {}
    known = {COMBINED: {name for learned in members.values() for name in learned}} | {name: set(of) for name, of in members.items()}
    found: set[str] = set()
    for term, loss in objective.losses.items():
        if getattr(loss, "needs_targets", None) != "dimensions" or objective.is_switched_off(term):
            continue
        weights = zip(DIMENSIONS, getattr(loss, "weights", (1.0,) * len(DIMENSIONS)), strict=True)
        heard = heard_by(loss)
        found |= {name for name, weight in weights if weight} & (set(annotated) if heard is None else known.get(heard, set()))
    return [name for name in DIMENSIONS if name in found]
