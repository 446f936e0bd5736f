"""Who teaches, finished runs or models made elsewhere, and how their answers become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.teacher_ensemble import Answers, Combination, Weights


class MemberSource(TypedDict, total=False):
    """Where one member comes from.

    ``experiment`` finds the finished run of the student's own protocol and fold; ``run`` names a folder, in which ``{fold}`` and
    ``{seed}`` are filled in. ``seed`` is the member's own seed; without it the student's is looked for first.

    ``path`` names a published model of arousal, dominance and valence, a folder or a name on the hub, in one of the layouts of
    ``models.published_layouts``. ``seen`` says what it was trained on: corpus -> its parts (``{msp_podcast: [train, validation]}``), or
    ``unknown``, which must be written. ``licence`` travels into every record and exported model. ``weights``, ``dimensions``, ``settings``,
    ``layers``, ``width`` and ``conv_width`` are those of ``PublishedDimensions``.
    """

    experiment: str | None
    run: str | None
    seed: int | None
    path: str | None
    layout: Literal["wav2vec2", "odyssey_wavlm"] | None
    seen: dict[str, list[str]] | Literal["unknown"] | None
    licence: str | None
    weights: Literal["pretrained", "random"] | None
    dimensions: list[str] | None
    settings: dict[str, Any] | None
    layers: int | None
    width: int | None
    conv_width: int | None


SINGLE = "teacher"
"""What a single teacher is called."""

_OF_RUNS = ("seed",)
_OF_PUBLISHED = ("layout", "seen", "licence", "weights", "dimensions", "settings", "layers", "width", "conv_width")


@dataclass
class TeacherSpec:
    """One teacher (``experiment`` or ``run``) or several (``members``), and how they are combined.

    A member of None (``teacher.members.NAME=null``, ``~teacher.members.NAME``) is dropped: it is neither looked for nor run, and terms that
    listen to it are dropped with it.

    Args:
        experiment: Experiment of a single teacher.
        run: Run folder of a single teacher.
        members: Member name -> where it comes from; None for one that is dropped.
        weights: See ``TeacherEnsemble``.
        combine: See ``TeacherEnsemble``.
        calibrate: See ``TeacherEnsemble``.
        answers: See ``TeacherEnsemble``. With ``cross_fitted`` each member that is named by its experiment stands for ``groups`` runs,
            one for each group of training speakers that was withheld from it.
        groups: N of ``datamodule.withhold=K/N``, for cross-fitted answers.
        cache: How answers to training clips are kept. ``memory``: those to clips it hears unchanged, without frames, within the run (see
            ``AnswerMemory``). ``auto``: on disk, for all runs (see ``CacheSpec``). ``off``: not at all.

    Raises:
        ConfigError: If nobody is named, or a single teacher and members are, or a published model lacks what cannot be guessed.
    """

    experiment: str | None = None
    run: str | None = None
    members: Mapping[str, MemberSource | None] = field(default_factory=dict)
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
            _check_source(name, source)

    @property
    def sources(self) -> dict[str, MemberSource]:
        """Member name -> where it comes from, of those that are not dropped; a single teacher is called ``teacher``."""
        if self.members:
            return {name: source for name, source in self.members.items() if source is not None}
        return {SINGLE: {"experiment": self.experiment, "run": self.run}}

    @property
    def dropped(self) -> list[str]:
        """The members that were named and are dropped."""
        return [name for name, source in self.members.items() if source is None]

    @property
    def member_names(self) -> list[str]:
        """What the members are called of whom terms can hear; with cross-fitted answers one named by its experiment stands for several."""
        if self.answers == "all":
            return list(self.sources)
        groups = range(1, self.groups + 1)
        return [
            member
            for name, source in self.sources.items()
            for member in ([name] if source.get("experiment") is None else [f"{name}_{group}" for group in groups])
        ]

    @property
    def kept_weights(self) -> Weights:
        """The weights, given ones without those of dropped members."""
        if isinstance(self.weights, str):
            return self.weights
        return {name: weight for name, weight in self.weights.items() if name not in self.dropped}  # type: ignore[return-value]

    @property
    def needs_validation(self) -> bool:
        """Whether how members are combined depends on the clips of a fold."""
        return self.calibrate or self.weights in ("validation_confidence", "per_class") or self.answers != "all"

    @property
    def published(self) -> dict[str, MemberSource]:
        """The members that are models made elsewhere."""
        return {name: source for name, source in self.sources.items() if source.get("path") is not None}


def _check_source(name: str, source: MemberSource) -> None:
    named = [key for key in ("experiment", "run", "path") if source.get(key) is not None]
    if len(named) != 1:
        raise ConfigError(
            f"The teacher '{name}' is named {'twice' if named else 'nowhere'}.",
            expected="its experiment, its run folder, or the path of a published model",
            got=" and ".join(named) or "neither",
            remedy=f"give teacher.members.{name} one of the three; a teacher alone: teacher.experiment=null beside teacher.run=FOLDER",
        )
    kind, foreign = ("a published model", _OF_RUNS) if named == ["path"] else ("a finished run", _OF_PUBLISHED)
    idle = [key for key in foreign if source.get(key) is not None]
    if idle:
        raise ConfigError(
            f"The teacher '{name}' is {kind} and has keys that say nothing about one.",
            expected=", ".join(_OF_PUBLISHED if named == ["path"] else _OF_RUNS),
            got=", ".join(f"{key}={source.get(key)}" for key in idle),
            remedy=f"take them out of teacher.members.{name}",
        )
    if named == ["path"]:
        _check_published(name, source)


def _check_published(name: str, source: MemberSource) -> None:
    if source.get("layout") is None:
        raise ConfigError(
            f"How the model of the teacher '{name}' is laid out is not said.",
            expected="wav2vec2 (audeering's) or odyssey_wavlm (3loi's)",
            got="no layout",
            remedy=f"set teacher.members.{name}.layout",
        )
    seen: object = source.get("seen")
    if seen == "unknown":
        return
    if not isinstance(seen, Mapping) or not all(_is_list_of_names(parts) for parts in seen.values()):
        raise ConfigError(
            f"What the teacher '{name}' was trained on is not said.",
            expected="corpus -> its parts, such as {msp_podcast: [train, validation]}, or the word unknown",
            got="nothing" if seen is None else str(seen),
            remedy=f"set teacher.members.{name}.seen as its makers state it; [unknown] where the parts of a corpus are not known",
        )


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(isinstance(part, str) for part in value)
