"""Several frozen teachers, or one, that answer as one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.functional.calibration import fit_temperature

Weights = Literal["uniform", "validation_confidence", "per_class"] | Mapping[str, float] | Mapping[str, Mapping[str, float]]
Combination = Literal["probabilities", "logits"]
Answers = Literal["all", "cross_fitted"]


class TeacherEnsemble:
    """Frozen members whose answers are combined by weights; a single member answers for itself.

    Combined logits are log sum_m w_mc p_mc with ``combine=probabilities`` (p of member m for class c, the sum taken before the
    logarithm) and sum_m w_mc z_mc with ``combine=logits`` (z the logits). Weights are normalised over members for each class.

    Members without class logits have no part in them; arousal, dominance and valence are the weighted mean of the members that
    answer with dimensions.

    * ``uniform``: 1 / M.
    * ``{member: weight}``, ``{member: {class: weight}}``: as given.
    * ``validation_confidence``: proportional to the mean probability that a member gives to the true class of validation clips.
    * ``per_class``: proportional to a member's recall of the class on validation clips.

    ``combined.embedding`` of several members is the concatenation of their embeddings, each of length one and times sqrt(w_m), so
    that a squared distance in it is the weighted mean of the members' own (what relational terms listen to).

    With ``answers=cross_fitted`` a clip's combined answer comes from the members that were not trained on its speaker: a model
    trained from scratch is over-confident on its own training clips, and an over-confident teacher says little more than the
    label. The members' own answers and the embedding, where spaces of members cannot be exchanged, stay those of all members.
    Mix-up keeps the louder clip's speaker, so a mixture is answered by members that may have heard the quieter one.

    Args:
        members: At least one.
        classes: The student's classes, in logit order; empty where it has none.
        weights: See above.
        combine: See above.
        calibrate: Fit a temperature for each member on validation clips and divide its logits by it.
        answers: ``all`` members, or ``cross_fitted``.

    Raises:
        ConfigError: If there is no member, two have one name, or weights name other members or classes, are negative or all 0.
    """

    def __init__(
        self,
        members: Sequence[TeacherMember],
        classes: Sequence[str],
        weights: Weights = "uniform",
        combine: Combination = "probabilities",
        calibrate: bool = False,
        answers: Answers = "all",
    ) -> None:
        names = [member.name for member in members]
        if not members or len(set(names)) != len(names):
            raise ConfigError(
                "An ensemble needs members with different names.",
                expected="one member or more",
                got=", ".join(names) or "none",
                remedy="give teacher.members, each under its own name",
            )
        self.members = tuple(members)
        self.classes = tuple(classes)
        self.weights = weights
        self.combine = combine
        self.calibrate = calibrate
        self.answers = answers
        self._table = self._given_table(weights)

    @property
    def parameter_count(self) -> int:
        """Parameters of all members, running statistics included."""
        return sum(member.record.parameters for member in self.members)

    @property
    def needs_fit(self) -> bool:
        """Whether weights or temperatures wait for validation clips."""
        return self.calibrate or self.weights in ("validation_confidence", "per_class")

    @property
    def _width(self) -> int:
        return max(len(self.classes), 1)  # where there are no classes a weight holds for the dimensions

    @property
    def member_shares(self) -> dict[str, float]:
        """Member name -> its share of the combined answer; the mean over classes where it differs by class."""
        return dict(zip((member.name for member in self.members), self._table.mean(dim=1).tolist(), strict=True))

    def keep(self, names: Collection[str]) -> TeacherEnsemble | None:
        """Give an ensemble of some of the members, which are then the only ones that are ever asked; None where there are none.

        Given weights keep their proportions. Whoever is left out has a share of 0 in its record.

        Args:
            names: Members to keep, in whatever order.
        """
        kept = [member for member in self.members if member.name in names]
        for member in self.members:
            if member not in kept:
                member.record.weight, member.record.class_weights = 0.0, {}
        if len(kept) == len(self.members):
            return self
        weights = self.weights if isinstance(self.weights, str) else {m.name: self.weights[m.name] for m in kept}
        return TeacherEnsemble(kept, self.classes, weights, self.combine, self.calibrate, self.answers) if kept else None  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Give how answers are combined as plain data for the record."""
        weights = self.weights if isinstance(self.weights, str) else {name: _plain(part) for name, part in self.weights.items()}
        return {"weights": weights, "combine": self.combine, "calibrate": self.calibrate, "answers": self.answers}

    def check_speakers(self, training_speakers: Iterable[str]) -> None:
        """Check that every training speaker has a member that was not trained on it.

        Raises:
            ConfigError: If ``answers=cross_fitted`` and a speaker has none.
        """
        if self.answers != "cross_fitted":
            return
        lonely = [speaker for speaker in training_speakers if not any(self._may_answer(speaker))]
        if lonely:
            raise ConfigError(
                "Nobody can answer for some training speakers: every member was trained on them.",
                expected="for each training speaker a member that was not trained on it",
                got=f"none for {', '.join(lonely)}",
                remedy="train members with datamodule.withhold=1/3, 2/3, 3/3, or set teacher.answers=all",
            )

    @torch.no_grad()
    def fit(self, validation_batches: Iterable[SpeechBatch], device: torch.device | str = "cpu") -> None:
        """Fit calibration temperatures and weights to validation clips; does nothing where none is wanted.

        What is found goes into the members' records; of several processes one fits, and the others take it over.

        Args:
            validation_batches: All validation clips, unchanged.
            device: Where the members listen.

        Raises:
            ConfigError: If there are no validation clips.
            DataError: If none of them has a class.
        """
        if not self.needs_fit:
            return
        logits: list[list[Tensor]] = [[] for _ in self.members]
        targets: list[Tensor] = []
        for batch in validation_batches:
            inputs = batch.to(device).model_input()
            targets.append(torch.full((len(batch),), -1) if batch.classes is None else batch.classes.cpu())
            for heard, member in zip(logits, self.members, strict=True):
                heard.append(_need_logits(member.hear(inputs), member.name).cpu())
        if not targets:
            raise ConfigError(
                "The teachers' weights need validation clips, and there are none.",
                expected="a fold with validation clips",
                got="no validation split",
                remedy="set teacher.weights=uniform and teacher.calibrate=false",
            )
        truth = torch.cat(targets)
        known = truth >= 0
        rows = []
        for heard, member in zip(logits, self.members, strict=True):
            answers = torch.cat(heard)
            if self.calibrate:
                member.record.calibration_temperature = fit_temperature(answers, truth)
                answers = answers / member.record.calibration_temperature
            if self.weights == "validation_confidence":
                given = answers[known].double().softmax(dim=1).gather(1, truth[known, None])
                rows.append([float(given.mean())] * len(self.classes))
            elif self.weights == "per_class":
                right = answers.argmax(dim=1) == truth
                rows.append([float(right[truth == index].double().mean()) for index in range(len(self.classes))])
        if rows:
            # a class that no member ever recalls (or that validation lacks) says nothing about whom to trust
            table = torch.tensor(rows, dtype=torch.float64).nan_to_num(nan=0.0)
            table[:, table.sum(dim=0) == 0] = 1.0
            self._set_table(table)

    def give_fit(self) -> dict[str, Any]:
        """Give what ``fit`` found as plain data."""
        return {"table": self._table.tolist(), "temperatures": [member.record.calibration_temperature for member in self.members]}

    def take_fit(self, found: Mapping[str, Any]) -> None:
        """Take over what ``fit`` found in another process."""
        for member, temperature in zip(self.members, found["temperatures"], strict=True):
            member.record.calibration_temperature = temperature
        self._set_table(torch.tensor(found["table"], dtype=torch.float64), normalised=True)

    @torch.no_grad()
    def answer(self, inputs: ModelInput, speakers: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> TeacherAnswers:
        """Ask all members.

        Args:
            inputs: What they hear.
            speakers: B speakers; needed for cross-fitted answers only.
            ids: Not used.

        Returns:
            The members' answers and the combined one; no tensor requires a gradient.

        Raises:
            ConfigError: If answers are cross-fitted and speakers are not told.
        """
        return self.combine_members(self.hear(inputs), speakers)

    def hear(self, inputs: ModelInput) -> dict[str, Outputs]:
        """Ask each member by itself: name -> its answers."""
        return {member.name: member.hear(inputs) for member in self.members}

    def combine_members(self, answers: Mapping[str, Outputs], speakers: Sequence[str] | None = None) -> TeacherAnswers:
        """Combine answers that the members gave, now or at another time.

        Args:
            answers: Member name -> its answers, of all members.
            speakers: As for ``answer``.

        Raises:
            ConfigError: If answers are cross-fitted and speakers are not told.
        """
        if len(self.members) == 1 and self.answers == "all":
            return TeacherAnswers(dict(answers), next(iter(answers.values())))
        return TeacherAnswers(dict(answers), self._combine(answers, speakers))

    def _combine(self, answers: Mapping[str, Outputs], speakers: Sequence[str] | None) -> Outputs:
        weights = self._weights_of_clips(speakers)  # (M, 1 or B, C)
        return Outputs(
            logits=self._combine_logits(answers, weights),
            dimensions=self._combine_dimensions(answers, weights),
            embedding=self._join_embeddings(answers),
        )

    def _weights_of_clips(self, speakers: Sequence[str] | None) -> Tensor:
        weights = self._table[:, None, :]
        if self.answers == "all":
            return weights
        if speakers is None:
            raise ConfigError(
                "Cross-fitted answers need to know who speaks.",
                expected="one speaker per clip",
                got="None",
                remedy="hand over the batch's speakers",
            )
        may = torch.tensor([self._may_answer(speaker) for speaker in speakers], dtype=weights.dtype).T[:, :, None]  # (M, B, 1)
        weights = weights * may
        # a weight of 0 for the only members that may answer must not silence the clip
        return torch.where(weights.sum(dim=0, keepdim=True) > 0, weights, may)

    def _combine_logits(self, answers: Mapping[str, Outputs], weights: Tensor) -> Tensor | None:
        rows = [row for row, outputs in enumerate(answers.values()) if outputs.logits is not None]
        if not rows:
            return None
        logits = torch.stack([outputs.logits.float() for outputs in answers.values() if outputs.logits is not None])  # (M', B, C)
        shares = _normalise(weights[rows]).to(logits.device, logits.dtype)
        if self.combine == "logits":
            return (shares * logits).sum(dim=0)
        return torch.logsumexp(shares.log() + logits.log_softmax(dim=2), dim=0)

    def _combine_dimensions(self, answers: Mapping[str, Outputs], weights: Tensor) -> Tensor | None:
        rows = [row for row, outputs in enumerate(answers.values()) if outputs.dimensions is not None]
        if not rows:
            return None
        values = torch.stack([outputs.dimensions.float() for outputs in answers.values() if outputs.dimensions is not None])  # (M', B, 3)
        # a member that never learned a dimension has no say in it; where nobody has, NaN stays
        knows = ~values.isnan().all(dim=1, keepdim=True)  # (M', 1, 3)
        shares = weights[rows].mean(dim=2, keepdim=True).to(values.device) * knows  # (M', 1 or B, 3)
        shares = _normalise(torch.where(shares.sum(dim=0, keepdim=True) > 0, shares, knows.to(shares.dtype))).to(values.dtype)
        return (shares * values.masked_fill(~knows, 0.0)).sum(dim=0).masked_fill(~knows.any(dim=0), torch.nan)

    def _join_embeddings(self, answers: Mapping[str, Outputs]) -> Tensor | None:
        embeddings = [outputs.embedding for outputs in answers.values()]
        shares = self._table.mean(dim=1).tolist()  # over classes
        known = [(share, embedding) for share, embedding in zip(shares, embeddings, strict=True) if embedding is not None]
        if len(known) < len(embeddings):
            return None
        return torch.cat([math.sqrt(share) * torch.nn.functional.normalize(embedding.float(), dim=1) for share, embedding in known], dim=1)

    def _may_answer(self, speaker: str) -> list[bool]:
        return [speaker not in member.record.trained_on for member in self.members]

    def _given_table(self, weights: Weights) -> Tensor:
        if isinstance(weights, str):
            table = torch.ones(len(self.members), self._width, dtype=torch.float64)
        else:
            names = [member.name for member in self.members]
            _check_names("members", weights, names)
            rows = []
            for name in names:
                row = weights[name]
                if isinstance(row, Mapping):
                    _check_names("classes", row, self.classes)
                    rows.append([float(row[label]) for label in self.classes])
                else:
                    rows.append([float(row)] * self._width)
            table = torch.tensor(rows, dtype=torch.float64)
            if not bool(table.isfinite().all()) or bool((table < 0).any()) or bool((table.sum(dim=0) <= 0).any()):
                raise ConfigError(
                    "The teachers' weights cannot be normalised.",
                    expected="numbers of 0 or more, not all 0 for a class",
                    got=str(dict(weights)),
                    remedy="correct teacher.weights, or set it to uniform",
                )
        return self._set_table(table)

    def _set_table(self, table: Tensor, normalised: bool = False) -> Tensor:
        self._table = table if normalised else table / table.sum(dim=0, keepdim=True)  # (M, C)
        for member, row in zip(self.members, self._table.tolist(), strict=True):
            member.record.weight = row[0] if len(set(row)) == 1 else None
            member.record.class_weights = {} if len(set(row)) == 1 else dict(zip(self.classes, row, strict=True))
        return self._table


def _plain(weight: float | Mapping[str, float]) -> float | dict[str, float]:
    return dict(weight) if isinstance(weight, Mapping) else weight


def _check_names(kind: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    if set(given) != set(names):
        raise ConfigError(
            f"The teachers' weights name other {kind} than there are.",
            expected=", ".join(names),
            got=", ".join(given) or "none",
            remedy=f"give one weight for each of the {kind}, 0 where it shall say nothing",
        )


def _normalise(weights: Tensor) -> Tensor:
    # where the members that answer weigh nothing they share alike
    total = weights.sum(dim=0, keepdim=True)
    return torch.where(total > 0, weights, torch.ones_like(weights)) / torch.where(total > 0, total, float(len(weights)))


def _need_logits(outputs: Outputs, name: str) -> Tensor:
    if outputs.logits is None:
        raise ConfigError(
            f"The teacher '{name}' does not answer with classes.",
            expected="class logits, by which members are weighed and calibrated",
            got="none",
            remedy="set teacher.weights=uniform and teacher.calibrate=false, or take it out of the ensemble",
        )
    return outputs.logits
