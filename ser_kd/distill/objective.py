"""The weighted sum of loss terms that is minimised."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import LossTerm
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.gathering import Share, WholeBatch
from ser_kd.distill.schedules import Schedule

_COMPLEMENT = re.compile(r"1\s*-\s*(\w+)")
COEFFICIENTS = ("alpha", "beta", "gamma")
COMBINED = "combined"
"""What a term's ``teacher`` is called that listens to all members as one."""


class Term(TypedDict):
    """One entry of an objective: the loss, and its weight as a number or in coefficients (1 where it is left out).

    A term that may stand in several places of the sum gives a weight for each, of which ``placement`` names one.
    """

    loss: LossTerm
    weight: NotRequired[float | str | Mapping[str, float | str]]
    placement: NotRequired[str]


class Objective(nn.Module):
    """Sum of weight x term; every weight is a plain factor, never a share of gradient.

    A term's weight is a number, the name of a coefficient, ``1 - <coefficient>``, or a product of two coefficients, so that
    alpha (KL + beta ML) + (1 - alpha) CE is written as ``alpha``, ``alpha * beta`` and ``1 - alpha``. Nothing here multiplies by
    T^2: that is the term's own key (``scale_by_temperature_squared``). A term whose weight is 0 is not computed, and a teacher that
    no remaining term listens to is not run. One whose weight is 0 for good, by a number and no schedule, counts as switched off.

    With ``weigh_members`` a term that listens to one member by name is multiplied by M w_m besides, w_m that member's share by
    ``teacher.weights`` (such as its confidence on validation clips) and M the number of members: uniform weights change nothing.

    Where several processes share a batch, terms with ``needs_whole_batch`` (see ``LossTerm``) are computed over all its clips, the
    others over each process's and averaged by clips: loss and gradient are those of one process.

    Args:
        terms: Name -> ``{"loss": LossTerm, "weight": number or name}``; None switches a term off.
        alpha: Balance between labels and teacher, in [0, 1] wherever ``1 - alpha`` is used.
        beta: Weight of relational or embedding terms.
        gamma: A further weight.
        temperature: Given to every term that has a ``temperature`` of None.
        schedules: ``alpha``, ``beta``, ``gamma`` or ``temperature`` -> a schedule that replaces the number.
        weigh_members: See above.

    Raises:
        ConfigError: If a weight or schedule names something unknown or unset, or no term is left.

    Source: system 000, alpha CE + (1 - alpha) KL + beta (RKD_D + RKD_A).
    """

    def __init__(
        self,
        terms: Mapping[str, Term | None],
        alpha: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        temperature: float | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        weigh_members: bool = False,
    ) -> None:
        super().__init__()
        self.weigh_members = weigh_members
        self._member_factors: dict[str, float] = {}
        self.numbers: dict[str, float | None] = {"alpha": alpha, "beta": beta, "gamma": gamma, "temperature": temperature}
        self.schedules = dict(schedules or {})
        unknown = sorted(set(self.schedules) - set(self.numbers))
        if unknown:
            raise ConfigError(
                "A schedule names nothing that can change.",
                expected=f"one of {', '.join(self.numbers)}",
                got=", ".join(unknown),
                remedy="rename the schedule",
            )
        if temperature is not None and not 0 < temperature < math.inf:
            raise ConfigError("Temperature must be positive.", expected="a number above 0", got=f"{temperature:g}", remedy="try 1 to 8")
        chosen = {name: term for name, term in terms.items() if term is not None}
        if not chosen:
            raise ConfigError("The objective has no term.", expected="at least one loss", got="none", remedy="try objective=ce")
        self.losses = nn.ModuleDict({name: _as_module(term["loss"]) for name, term in chosen.items()})
        self.weights: dict[str, float | str] = {name: _place(name, term) for name, term in chosen.items()}
        self._warm: set[str] = {name for name, loss in self.losses.items() if getattr(loss, "temperature", 1.0) is None}
        if self._warm and temperature is None and "temperature" not in self.schedules:
            raise ConfigError(
                f"The term '{min(self._warm)}' has no temperature.",
                expected="a temperature of its own or of the objective",
                got="null",
                remedy="set objective.temperature=4",
            )
        for name in self.losses:
            weight = self.weight_of(name, 0.0)
            if not 0 <= weight < math.inf:
                raise ConfigError(
                    f"The weight of '{name}' is {'negative' if weight < 0 else 'no number'}.",
                    expected="a number of 0 or more",
                    got=f"{self.weights[name]} = {weight:g}",
                    remedy="correct what it is made of: objective.alpha lies in [0, 1], objective.beta and objective.gamma from 0 upward",
                )

    def number(self, name: str, progress: float) -> float:
        """Give a coefficient or the temperature at ``progress``.

        Raises:
            ConfigError: If it is not set.
        """
        if name in self.schedules:
            return self.schedules[name].value(progress)
        number = self.numbers.get(name)
        if number is None:
            raise ConfigError(
                f"The objective uses '{name}', which has no value.",
                expected=f"objective.{name} as a number",
                got="null" if name in self.numbers else f"no such coefficient; there are {', '.join(COEFFICIENTS)}",
                remedy=f"set objective.{name}=…" if name in self.numbers else "name one of them as the term's weight",
            )
        return float(number)

    def weight_of(self, term: str, progress: float) -> float:
        """Give a term's weight at ``progress``."""
        return self._member_factors.get(heard_by(self.losses[term]) or "", 1.0) * self._own_weight(term, progress)

    def _own_weight(self, term: str, progress: float) -> float:
        weight = self.weights[term]
        if not isinstance(weight, str):
            return float(weight)
        complement = _COMPLEMENT.fullmatch(weight.strip())
        if complement:
            return 1.0 - self.number(complement[1], progress)
        factors = [self.number(factor.strip(), progress) for factor in weight.split("*")]
        return math.prod(factors)

    def is_switched_off(self, term: str) -> bool:
        """Tell whether a term's weight is 0 at all times."""
        weight = self.weights[term]
        if not isinstance(weight, str):
            return float(weight) == 0
        complement = _COMPLEMENT.fullmatch(weight.strip())
        if complement:
            return complement[1] not in self.schedules and self.number(complement[1], 0.0) == 1
        factors = [factor.strip() for factor in weight.split("*")]
        return any(factor not in self.schedules and self.number(factor, 0.0) == 0 for factor in factors)

    def set_member_shares(self, shares: Mapping[str, float]) -> None:
        """Tell each member's share of the combined answer to an objective that weighs members; others forget it.

        Args:
            shares: Member name -> share; all of them make 1.
        """
        self._member_factors = {name: len(shares) * share for name, share in shares.items()} if self.weigh_members else {}

    def terms_needing_teacher(self) -> list[str]:
        """List the terms that cannot be computed without a teacher, those that are switched off not among them."""
        return [name for name, loss in self.losses.items() if _as_term(loss).needs_teacher and not self.is_switched_off(name)]

    def listens_to_teacher(self, progress: float) -> bool:
        """Tell whether a term with a weight above 0 needs the teacher at ``progress``."""
        return any(self.weight_of(name, progress) != 0 for name in self.terms_needing_teacher())

    def needs_dimensions_of_teacher(self) -> bool:
        """Tell whether a term follows the teacher's arousal, dominance and valence."""
        return any(_as_term(loss).needs_teacher and getattr(loss, "needs_targets", None) == "dimensions" for loss in self.losses.values())

    def listens_to_frames(self) -> bool:
        """Tell whether a term needs the teacher's frames or hidden states."""
        return any(getattr(loss, "needs_teacher_frames", False) for loss in self.losses.values())

    def teacher_layers(self) -> list[int | None] | None:
        """List the teacher's layers that terms listen to, None among them for its last frames; None alone where a term does not tell."""
        found: list[int | None] = []
        for loss in self.losses.values():
            if getattr(loss, "needs_teacher_frames", False):
                told = getattr(loss, "teacher_layers", None)
                if told is None:
                    return None
                found += [layer for layer in told if layer not in found]
        return found

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Tell the training clips per class to the terms that weigh classes."""
        for loss in self.losses.values():
            tell = getattr(loss, "set_class_counts", None)
            if callable(tell):
                tell(counts)

    def needs_whole_batch(self, progress: float) -> bool:
        """Tell whether a term with a weight above 0 needs the clips of all processes at ``progress``."""
        return any(self.weight_of(name, progress) != 0 and _sees_whole(loss) for name, loss in self.losses.items())

    def forward(
        self,
        student: Outputs,
        batch: SpeechBatch,
        teacher: TeacherAnswers | None,
        progress: float = 0.0,
        share: Share | None = None,
        whole: WholeBatch | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the objective.

        Args:
            student: Outputs with gradient.
            batch: Targets.
            teacher: Answers without gradient, or None.
            progress: Training progress from 0 to 1, for schedules.
            share: Which clips of the batch of all processes these are; None where they are all of it.
            whole: The batch of all processes, for terms that need it; None lets them see this process's clips alone.

        Returns:
            The weighted sum (a scalar with gradient to the student) and each term before weighting, detached, with the parts it
            tells of itself (``sizes``). With a ``share`` the
            gradient is scaled so that its mean over the processes is that of one process with the whole batch.
        """
        total: Tensor | None = None
        parts: dict[str, Tensor] = {}
        for name, loss in self.losses.items():
            weight = self.weight_of(name, progress)
            if weight == 0:
                continue
            if name in self._warm:
                loss.temperature = self.number("temperature", progress)  # type: ignore[assignment]
            sees_whole = whole is not None and _sees_whole(loss)
            heard = (whole.student, whole.batch, whole.teacher) if whole is not None and sees_whole else (student, batch, teacher)
            value = _as_term(loss)(*heard)
            parts[name] = value.detach()
            parts |= {f"{name}_{part}": size for part, size in getattr(loss, "sizes", {}).items()}
            if share is not None:
                value = _scale_gradient(value, share.processes * (1.0 if sees_whole else share.part))
            total = weight * value if total is None else total + weight * value
        if total is None:
            raise ConfigError("Every term of the objective has weight 0.", expected="a weight above 0", got="0", remedy="set alpha or beta")
        return total, parts

    def describe(self) -> dict[str, Any]:
        """Give weights, coefficients and schedules as plain data for the record."""
        return {
            "terms": dict(self.weights),
            **{name: number for name, number in self.numbers.items() if number is not None},
            **({"schedules": sorted(self.schedules)} if self.schedules else {}),
            **({"weigh_members": True} if self.weigh_members else {}),
            "needs_teacher": self.terms_needing_teacher(),
        }


def heard_by(loss: nn.Module) -> str | None:
    """Give whom a term listens to: a member's name, ``combined``, or None where it needs no teacher."""
    return str(getattr(loss, "teacher", COMBINED)) if getattr(loss, "needs_teacher", False) else None


def _place(name: str, term: Term) -> float | str:
    """Give the weight of a term where ``placement`` puts it."""
    weight, placement = term.get("weight", 1.0), term.get("placement")
    places = weight if isinstance(weight, Mapping) else {}
    if isinstance(weight, Mapping) != (placement is not None) or (placement is not None and placement not in places):
        raise ConfigError(
            f"The weight of '{name}' is not clear.",
            expected=f"placement as one of {', '.join(places)}" if places else "one weight and no placement",
            got=f"placement={placement}",
            remedy=f"set objective.terms.{name}.placement={next(iter(places), 'null')}",
        )
    return weight if placement is None else places[placement]  # type: ignore[return-value]


def _sees_whole(loss: nn.Module) -> bool:
    return getattr(loss, "needs_whole_batch", False)


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    return value + (factor - 1.0) * (value - value.detach())


def _as_module(loss: LossTerm) -> nn.Module:
    return loss  # type: ignore[return-value]


def _as_term(loss: nn.Module) -> LossTerm:
    return loss  # type: ignore[return-value]
