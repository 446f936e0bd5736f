"""In which order a model made elsewhere answers with arousal, dominance and valence: read from its names, never from positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError

_SPELLINGS: Mapping[str, str] = {
    "activation": "arousal",
    "act": "arousal",
    "aro": "arousal",
    "emoact": "arousal",
    "dom": "dominance",
    "emodom": "dominance",
    "val": "valence",
    "emoval": "valence",
}


def read_head_order(config: Mapping[str, Any], given: Sequence[str] | None, source: str) -> tuple[int, int, int]:
    """Find which output of a model is which dimension.

    Args:
        config: The model's ``config.json``; ``id2label`` or ``label2id`` names its outputs.
        given: Names in the order of its outputs, where its configuration does not tell.
        source: Named in errors.

    Returns:
        The positions of arousal, dominance and valence among its outputs.

    Raises:
        ConfigError: If nobody says, the names are not the three dimensions, or both say and differ.

    Example:
        >>> read_head_order({"id2label": {"0": "valence", "1": "arousal", "2": "dominance"}}, None, "mine")
        (1, 2, 0)
    """
    told = _read_names(config)
    known = None if told is None else [_SPELLINGS.get(name.strip().lower(), name.strip().lower()) for name in told]
    is_known = known is not None and sorted(known) == sorted(DIMENSIONS)
    if given is None and not is_known:
        raise ConfigError(
            f"Which output of '{source}' is which dimension is unknown.",
            expected=f"id2label of its config.json with the names {', '.join(DIMENSIONS)}, each once",
            got="no names" if told is None else ", ".join(told),
            remedy=f"give the order of its outputs, as its makers state it: dimensions: [{', '.join(DIMENSIONS)}] (for a teacher: "
            "teacher.members.NAME.dimensions)",
        )
    names = list(given) if given is not None else known or []
    if sorted(names) != sorted(DIMENSIONS):
        raise ConfigError(
            f"The order of the outputs of '{source}' does not name the three dimensions.",
            expected=f"{', '.join(DIMENSIONS)}, each once, in the order of its outputs",
            got=", ".join(names) or "an empty list",
            remedy="correct dimensions",
        )
    if is_known and names != known:
        raise ConfigError(
            f"The outputs of '{source}' stand in another order than the one given.",
            expected=f"{', '.join(known or [])} (id2label of its config.json)",
            got=f"dimensions: {', '.join(names)}",
            remedy="leave dimensions out, or correct the one that is wrong",
        )
    arousal, dominance, valence = (names.index(name) for name in DIMENSIONS)
    return arousal, dominance, valence


def _read_names(config: Mapping[str, Any]) -> list[str] | None:
    """Give the names of the outputs in their order, or None where the configuration has none."""
    by_position = config.get("id2label")
    if not isinstance(by_position, Mapping) or not by_position:
        by_name = config.get("label2id")
        if not isinstance(by_name, Mapping) or not by_name:
            return None
        by_position = {position: name for name, position in by_name.items()}
    try:
        numbered = {int(position): str(name) for position, name in by_position.items()}
    except (TypeError, ValueError):
        return None
    return [numbered[position] for position in sorted(numbered)]
