"""What of arousal, dominance and valence a run never learns, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.protocols.annotated_dimensions import count_dimensions, describe_dimensions, list_varying
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.learned_dimensions import list_learned_dimensions
from ser_kd.distill.objective import Objective
from ser_kd.distill.objective_checks import check_targets
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.models.unlearned_dimensions import list_known_dimensions


def find_unlearned(fold: ProtocolFold, objective: Objective, teacher: TeacherEnsemble | None) -> list[str]:
    """Find the dimensions that neither labels nor a teacher teach.

    Args:
        fold: The fold; its training annotations count.
        objective: The terms.
        teacher: Those that are asked.

    Returns:
        Names; none where dimensions are not learned at all.

    Raises:
        ConfigError: If no term learns dimensions.
        DataError: If there is nothing to learn of any.
    """
    if not fold.learns_dimensions:
        return []
    check_targets(objective, fold.targets)
    if teacher is None and objective.terms_needing_teacher():
        return []  # which is refused in words of its own
    members = {member.name: list_known_dimensions(member.model) for member in (teacher.members if teacher else ())}
    learned = list_learned_dimensions(objective, list_varying(count_dimensions(fold.train)), members)
    if learned:
        return [name for name in DIMENSIONS if name not in learned]
    if not list_learned_dimensions(objective, DIMENSIONS, dict.fromkeys(members, DIMENSIONS)):
        raise ConfigError(
            "Arousal, dominance and valence are to be learned, and no term of the objective learns them.",
            expected="a term for dimensions, such as those of objective=ccc, ccc_kd or ccc_teacher",
            got=f"protocol.targets={fold.targets} with {', '.join(f'objective.terms.{name}' for name in objective.losses)}",
            remedy="choose such an objective, or set protocol.targets=classes",
        )
    raise DataError(
        "Of arousal, dominance and valence there is nothing to learn.",
        expected="a dimension that is annotated in two training clips at least, and not always alike, or a teacher that knows one",
        got=f"{len(fold.train)} training clips: {describe_dimensions(count_dimensions(fold.train), len(fold.train))}",
        remedy="correct the annotations, or set protocol.targets=classes",
    )


def describe_unlearned(fold: ProtocolFold, unlearned: Sequence[str]) -> list[str]:
    """Tell each dimension that is not learned, and why."""
    counts = count_dimensions(fold.train)
    lines = []
    for name in unlearned:
        clips, value = int(counts[name]["clips"]), counts[name].get("mean", 0.0)
        many = f"always {value:.3f} there" if clips >= 2 and name not in list_varying(counts) else "which no term follows"
        found = f"annotated in {clips} training clip{'' if clips == 1 else 's'}{f', {many}' if clips >= 2 else ''}"
        lines.append(f"{name} is not learned ({found}; no teacher knows it): the model gives no number for it")
    return lines


def check_monitored_dimension(monitor: str, fold: ProtocolFold, unlearned: Sequence[str]) -> None:
    """Check that a monitored concordance can be measured on the validation clips at all.

    Raises:
        ConfigError: If it would be undefined in every epoch.
    """
    split, _, name = monitor.partition("/")
    score, _, dimension = name.partition("_")
    if split != "validation" or score not in ("ccc", "pearson") or not fold.validation_set:
        return
    counts = count_dimensions(fold.validation_set)
    judged = [name for name in list_varying(counts) if name not in unlearned]
    if (dimension == "mean" and judged) or dimension in judged or dimension not in (*DIMENSIONS, "mean"):
        return
    raise ConfigError(
        f"The best checkpoint is chosen by {monitor}, which is undefined (NaN) in every epoch.",
        expected="two validation clips at least in which a learned dimension differs",
        got=f"{len(fold.validation_set)} validation clips: {describe_dimensions(counts, len(fold.validation_set))}"
        + (f"; not learned: {', '.join(unlearned)}" if unlearned else ""),
        remedy="hold out other validation clips (protocol.validation=…), or choose by another metric, such as monitor=train/loss "
        "monitor_mode=min",
    )
