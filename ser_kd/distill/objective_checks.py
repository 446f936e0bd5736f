"""What an objective asks of a run before the first step: labels, targets, clips in a batch."""

from __future__ import annotations

from ser_kd.contracts.emotions import Targets
from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.objective import Objective


def check_without_labels(objective: Objective) -> None:
    """Check that no term asks for the label of a clip: there are none.

    Args:
        objective: The terms.

    Raises:
        ConfigError: If one does.
    """
    asking = [
        name for name, loss in objective.losses.items() if getattr(loss, "needs_labels", False) and not objective.is_switched_off(name)
    ]
    if asking:
        raise ConfigError(
            f"No training clip has a label, and {', '.join(asking)} would learn from labels.",
            expected="an objective of terms that follow the teacher alone",
            got=", ".join(f"objective.terms.{name}" for name in asking),
            remedy="choose objective=kl (classes) or objective=ccc_teacher (dimensions), with a teacher; or a corpus with labels",
        )


def check_targets(objective: Objective, targets: Targets) -> None:
    """Check that every term hears of what is learned.

    Args:
        objective: The terms.
        targets: What is learned.

    Raises:
        ConfigError: If a term needs classes and only dimensions are learned, or the other way round.
    """
    for name, loss in objective.losses.items():
        needed = getattr(loss, "needs_targets", None)
        if needed is not None and targets not in (needed, "both") and not objective.is_switched_off(name):
            own = "ce" if targets == "classes" else "ccc"
            raise ConfigError(
                f"The term '{name}' needs {needed}, and the run learns {targets} alone.",
                expected=f"an objective of terms for {targets}, such as objective={own}",
                got=f"protocol.targets={targets} and objective.terms.{name}",
                remedy=f"choose objective={own}, set objective.terms.{name}=null, or set protocol.targets={needed} (or both)",
            )


def check_batch_size(objective: Objective, batch_size: int) -> None:
    """Check that every term that compares clips of a batch gets enough of them.

    An epoch's last batch may be smaller: those terms give zero for it.

    Args:
        objective: The terms.
        batch_size: Clips of a batch.

    Raises:
        ConfigError: If batches of this size would leave a term at zero for the whole training.
    """
    for name, loss in objective.losses.items():
        minimum = getattr(loss, "minimum_batch", 1)
        if batch_size < minimum:
            raise ConfigError(
                f"The term '{name}' compares the clips of a batch, and batches are too small for it.",
                expected=f"at least {minimum} clips in a batch",
                got=f"datamodule.batch_size={batch_size}",
                remedy=f"set datamodule.batch_size=64, or at least {minimum}, or objective.terms.{name}=null",
            )
