"""Terms that compare embeddings are told how wide those of student and teachers are, and make the projections that are missing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.objective import COMBINED, Objective, heard_by


def connect_embeddings(objective: Objective, student: nn.Module, teachers: Mapping[str, nn.Module]) -> None:
    """Connect the terms of an objective that bring embeddings together, before the first step.

    Terms that are switched off are left alone: what only they would read would never learn.

    Args:
        objective: Its terms.
        student: A ``SpeechModel``.
        teachers: Member name -> a ``SpeechModel``; empty without a teacher.

    Raises:
        ConfigError: If a model does not tell its embeddings, or a term cannot bring them together.
    """
    for name, loss in objective.losses.items():
        connect = getattr(loss, "connect_embeddings", None)
        if not callable(connect) or not teachers or objective.is_switched_off(name):
            continue
        heard = heard_by(loss) or COMBINED
        told = [list_widths(model, f"teacher '{member}'", name) for member, model in teachers.items() if heard in (COMBINED, member)]
        # several members as one: their pooled embeddings side by side
        widths = told[0] if len(told) == 1 else {None: sum(each[None] for each in told)}
        connect(list_widths(student, "student", name), widths)


def list_widths(model: nn.Module, who: str, asking: str) -> Mapping[str | None, int]:
    """List the embeddings a model answers with.

    Args:
        model: A ``SpeechModel``, or another that has ``embedding_widths``.
        who: Whose it is, for messages.
        asking: Who wants to know, for messages.

    Returns:
        Name -> width; None is the pooled one.

    Raises:
        ConfigError: If it does not say.
    """
    widths = getattr(model, "embedding_widths", None)
    if not isinstance(widths, Mapping):
        raise ConfigError(
            f"'{asking}' asks how wide the embeddings of the {who} are, and it does not say.",
            expected="a model with 'embedding_widths', as SpeechModel has",
            got=type(model).__name__,
            remedy=f"choose such a model, or leave {asking} out",
        )
    return widths
