"""Which finished runs teach, and how their answers become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.teacher_ensemble import Answers, Combination, Weights


class MemberSource(TypedDict, total=False):
    """Where one member comes from.

    ``experiment`` finds the finished run of the student's own protocol and fold; ``run`` names a folder, in which ``{fold}`` and
    ``{seed}`` are filled in. ``seed`` is the member's own seed; without it the student's is looked for first.
    """

    experiment: str | None
    run: str | None
    seed: int | None


@dataclass
class TeacherSpec:
    """One teacher (``experiment`` or ``run``) or several (``members``), and how they are combined.

    Args:
        experiment: Experiment of a single teacher.
        run: Run folder of a single teacher.
        members: Member name -> where it comes from.
        weights: See ``TeacherEnsemble``.
        combine: See ``TeacherEnsemble``.
        calibrate: See ``TeacherEnsemble``.
        answers: See ``TeacherEnsemble``. With ``cross_fitted`` each member that is named by its experiment stands for ``groups`` runs,
            one for each group of training speakers that was withheld from it.
        groups: N of ``datamodule.withhold=K/N``, for cross-fitted answers.
        cache: How answers to training clips are kept. ``memory``: those to clips it hears unchanged, without frames, within the run (see
            ``AnswerMemory``). ``auto``: on disk, for all runs (see ``CacheSpec``). ``off``: not at all.

    Raises:
        ConfigError: If nobody is named, or a single teacher and members are.
    """

    experiment: str | None = None
    run: str | None = None
    members: Mapping[str, MemberSource] = field(default_factory=dict)
    weights: Weights = "uniform"
    combine: Combination = "probabilities"
    calibrate: bool = False
    answers: Answers = "all"
    groups: int = 3
    cache: Literal["memory", "auto", "off"] = "memory"

    def __post_init__(self) -> None:
        single = self.experiment is not None or self.run is not None
        if single == bool(self.members):
            raise ConfigError(
                "The teacher is named twice." if single else "The teacher is not named.",
                expected="teacher.experiment=NAME, teacher.run=FOLDER, or teacher.members",
                got="a single teacher and members" if single else "none of them",
                remedy="set teacher.experiment=null where members teach" if single else "name one, or set teacher=null",
            )
        for name, source in self.sources.items():
            named = [key for key in ("experiment", "run") if source.get(key) is not None]
            if len(named) != 1:
                raise ConfigError(
                    f"The teacher '{name}' is named {'twice' if named else 'nowhere'}.",
                    expected="its experiment or its run folder",
                    got=" and ".join(named) or "neither",
                    remedy=f"give teacher.members.{name} one of the two"
                    if self.members
                    else "set teacher.experiment=null beside teacher.run=FOLDER",
                )

    @property
    def sources(self) -> dict[str, MemberSource]:
        """Member name -> where it comes from; a single teacher is called ``teacher``."""
        if self.members:
            return dict(self.members)
        return {"teacher": {"experiment": self.experiment, "run": self.run}}
