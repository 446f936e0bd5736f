"""Which blocks of a deeper network fill those of a shallower one, and which hidden states are handed out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

from ser_kd.contracts.errors import ConfigError

LayerMap = Literal["even"] | Sequence[int]
"""``even``, or the other network's blocks, bottom up, counted from 1."""


def choose_layer_map(layer_map: LayerMap, blocks: int, there: int, whose: str) -> tuple[int, ...]:
    """Give the block of a deeper network for each block of ours.

    ``even`` takes every (there / blocks)-th, so that both end with their last: 2, 4, …, 12 of twelve for six.

    Args:
        layer_map: As configured.
        blocks: How many blocks ours has.
        there: How many the other has.
        whose: Whose those are, for messages.

    Raises:
        ConfigError: If the map does not name one block of the other for each of ours, bottom up, or ``even`` does not come out even.

    Example:
        >>> choose_layer_map("even", 6, 12, "teacher")
        (2, 4, 6, 8, 10, 12)
    """
    if isinstance(layer_map, str):
        if layer_map != "even" or blocks == 0 or there % blocks:
            raise ConfigError(
                "The blocks cannot be spread evenly.",
                expected=f"layer_map=even, and a number of blocks that divides the {there} of the {whose}",
                got=f"layer_map={layer_map} for {blocks} blocks",
                remedy=f"name {blocks} of its blocks, such as layer_map={list(range(1, blocks + 1))}",
            )
        return tuple((number + 1) * (there // blocks) for number in range(blocks))
    chosen = tuple(layer_map)
    rises = all(below < above for below, above in pairwise(chosen))
    if len(chosen) != blocks or not rises or not all(1 <= block <= there for block in chosen):
        raise ConfigError(
            "The layer map does not fit both networks.",
            expected=f"{blocks} rising numbers from 1 to {there}, the blocks of the {whose}",
            got=f"layer_map={list(chosen)}",
            remedy="correct layer_map, or set it to even",
        )
    return chosen


def choose_hidden_layers(hidden_layers: str | Sequence[int], blocks: int) -> tuple[int, ...]:
    """Turn "all" or a list into layer numbers.

    Args:
        hidden_layers: As configured.
        blocks: How many transformer blocks there are.

    Raises:
        ConfigError: If a number is out of range.
    """
    if hidden_layers == "all":
        return tuple(range(blocks + 1))
    if isinstance(hidden_layers, str) or not all(0 <= layer <= blocks for layer in hidden_layers):
        raise ConfigError(
            "There is no such hidden state.",
            expected=f"'all', or numbers from 0 (input of the first block) to {blocks} (output of the last)",
            got=f"hidden_layers={hidden_layers if isinstance(hidden_layers, str) else list(hidden_layers)}",
            remedy="correct hidden_layers",
        )
    return tuple(hidden_layers)


def choose_blocks(weights: Mapping[str, Tensor], stem: str, blocks: Sequence[int], there: int, source: str) -> dict[str, Tensor]:
    """Take some transformer blocks of a checkpoint and number them anew from the bottom; what is no block stays.

    Args:
        weights: Tensors by name.
        stem: What a block's name begins with, before its number (from 0).
        blocks: Which blocks, counted from 1, bottom up.
        there: How many the checkpoint has.
        source: Named in errors.

    Raises:
        ConfigError: If the checkpoint has no such block.
    """
    if not all(1 <= block <= there for block in blocks):
        raise ConfigError(
            f"The weights '{source}' have fewer blocks than are asked for.",
            expected=f"blocks from 1 to {there}",
            got=", ".join(map(str, blocks)),
            remedy=f"set the encoder's layers={there} or fewer",
        )
    place = {str(block - 1): str(index) for index, block in enumerate(blocks)}
    chosen = {}
    for name, value in weights.items():
        number, _, rest = name.removeprefix(stem).partition(".")
        if not name.startswith(stem):
            chosen[name] = value
        elif "rel_attn_embed" in rest:  # WavLM's first block keeps the relative positions for all
            chosen[f"{stem}0.{rest}"] = value
        elif number in place:
            chosen[f"{stem}{place[number]}.{rest}"] = value
    return chosen


def check_same_layout(ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    """Check what decides how blocks compute and does not show in the shapes of their weights.

    Args:
        ours: Key of the student's encoder -> value.
        theirs: The same of the teacher's.

    Raises:
        ConfigError: If values differ.
    """
    other = [key for key in ours if ours[key] != theirs[key]]
    if other:
        raise ConfigError(
            "The teacher's blocks would compute something else in this student.",
            expected=", ".join(f"{key}={theirs[key]}" for key in other) + ", as the teacher",
            got=", ".join(f"{key}={ours[key]}" for key in other),
            remedy="; ".join(f"set student.encoder.{key}={theirs[key]}" for key in other) + ", or student.init_from=random",
        )
